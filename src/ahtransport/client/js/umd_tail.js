// What this file gives: require() gets the class itself with everything else on it, a page gets globals.
const door = typeof ActionheroWebsocketClient === 'function' ? ActionheroWebsocketClient : Primus;
const define = (owner, name, value) => {
  Object.defineProperty(owner, name, { value, configurable: true, enumerable: true, writable: true });
};
// A name of one's own must not take the place of something that is there already, such as window.name. When this file
// was loaded before, what is there is ours.
const isFree = (owner, name) => {
  const there = Object.prototype.hasOwnProperty.call(owner, name) ? owner[name] : undefined;
  return there === undefined || (typeof there === 'function' && there.Primus !== undefined);
};

define(door, 'Primus', Primus);
define(door, 'default', door);
if (door !== Primus) define(door, 'ActionheroWebsocketClient', door);
if (CONFIG.name && isFree(door, CONFIG.name)) define(door, CONFIG.name, door);

if (typeof module === 'object' && module && module.exports) {
  module.exports = door;
} else {
  define(scope, 'Primus', Primus);
  if (door !== Primus) {
    if (CONFIG.name && isFree(scope, CONFIG.name)) define(scope, CONFIG.name, door);
    define(scope, 'ActionheroWebsocketClient', door);
  }
}
})(typeof globalThis === 'object' ? globalThis : self);
