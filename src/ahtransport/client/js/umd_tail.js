// What this file gives: require() gets the class itself with everything else on it, a page gets globals.
const door = typeof ActionheroWebsocketClient === 'function' ? ActionheroWebsocketClient : Primus;
const define = (owner, name, value) => {
  Object.defineProperty(owner, name, { value, configurable: true, enumerable: true, writable: true });
};
// A name of one's own must not take the place of something that is there already, such as window.name. When this file
// was loaded before, what is there is ours.
const defineOwn = (owner) => {
  const { name } = CONFIG;
  const there = name && Object.prototype.hasOwnProperty.call(owner, name) ? owner[name] : undefined;
  if (name && (there === undefined || (typeof there === 'function' && there.Primus !== undefined))) define(owner, name, door);
};

define(door, 'Primus', Primus);
define(door, 'default', door);
if (door !== Primus) define(door, 'ActionheroWebsocketClient', door);
defineOwn(door);

if (typeof module === 'object' && module && module.exports) {
  module.exports = door;
} else {
  define(scope, 'Primus', Primus);
  if (door !== Primus) {
    defineOwn(scope);
    define(scope, 'ActionheroWebsocketClient', door);
  }
}
})(typeof globalThis === 'object' ? globalThis : self);
