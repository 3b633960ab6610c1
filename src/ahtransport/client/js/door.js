// `Primus` as it is known outside: to be called with and without `new`, and to be extended.

function Primus(url, options) {
  return Reflect.construct(Client, [url, options], new.target || Primus);
}

/**
 * A module by name, in Node.js: seen from this file, which may lie among those that a server gives to pages, or else
 * from the program that runs. Undefined in a page.
 */
function requires(name) {
  let failure;
  try {
    if (typeof require === 'function') return require(name);
  } catch (error) {
    failure = error;
  }
  const { getBuiltinModule, argv = [] } = typeof process === 'object' && process ? process : {};
  if (getBuiltinModule && argv[1]) return getBuiltinModule('module').createRequire(argv[1])(name);
  if (failure) throw failure;
  return undefined;
}

Primus.prototype = Client.prototype;
Primus.prototype.constructor = Primus;
Object.assign(Primus, {
  OPENING: 1,
  CLOSED: 2,
  OPEN: 3,
  EventEmitter,
  connect: (url, options) => new Primus(url, options),
  requires,
});
Primus.require = Primus.requires;

Object.assign(Primus.prototype, {
  ark: Object.create(null), // plug-ins by name: functions (primus, options)
  version: CONFIG.version,
  pathname: CONFIG.servers[0].pathname,
  client: wires[CONFIG.servers[0].wire],
});

Client.prototype.reserved.events = Object.create(null);
[
  'open', 'data', 'error', 'close', 'end', 'timeout', 'destroy', 'online', 'offline', 'readyStateChange', 'reconnect',
  'reconnect scheduled', 'reconnect timeout', 'reconnect failed', 'reconnected',
  'refused', 'stale', 'dropped', 'transport',
].forEach((event) => { Client.prototype.reserved.events[event] = 1; });
