// `Primus` as it is known outside: to be called with and without `new`, and to be extended.

function Primus(url, options) {
  return Reflect.construct(Client, [url, options], new.target || Primus);
}

Primus.prototype = Client.prototype;
Primus.prototype.constructor = Primus;
Object.assign(Primus, {
  OPENING: 1,
  CLOSED: 2,
  OPEN: 3,
  EventEmitter,
  connect: (url, options) => new Primus(url, options),
  /** A module by name, where there are modules: in Node.js. */
  requires: (name) => (typeof require === 'function' ? require(name) : undefined),
});
Primus.require = Primus.requires;

Object.assign(Primus.prototype, {
  ark: Object.create(null), // plug-ins by name: functions (primus, options)
  version: CONFIG.version,
  pathname: CONFIG.servers[0].pathname,
  client: wires[CONFIG.servers[0].wire],
});

Primus.prototype.reserved.events = Object.create(null);
[
  'open', 'data', 'error', 'close', 'end', 'timeout', 'destroy', 'online', 'offline', 'readyStateChange', 'reconnect',
  'reconnect scheduled', 'reconnect timeout', 'reconnect failed', 'reconnected',
  'refused', 'stale', 'dropped', 'transport',
].forEach((event) => { Primus.prototype.reserved.events[event] = 1; });
