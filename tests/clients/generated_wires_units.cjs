'use strict';
// The wires and the parser of the generated client alone, with a clock, WebSockets and a network that the test holds.
//
//   node generated_wires_units.cjs SOURCES
//
// SOURCES: a file with JavaScript that fills `wires` and `parsers`. Prints {"passed": name} for each test.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const vm = require('node:vm');
const { record, main } = require('./tape.cjs');
const { Clock, FakeWebSocket, settle } = require('./generated_fakes.cjs');

const [sources] = process.argv.slice(2);

/** Requests whose other end is the test. */
class Network {
  constructor() {
    this.all = [];
    this.fetch = (url, options) => new Promise((done, fail) => {
      const request = {
        url,
        ...options,
        over: false,
        answer: (text, status = 200) => {
          request.over = true;
          done({ ok: status < 300, status, text: async () => text });
          return settle();
        },
        fail: (message = 'down') => {
          request.over = true;
          fail(new TypeError(message));
          return settle();
        },
      };
      options.signal.addEventListener('abort', () => request.over || request.fail('aborted'));
      this.all.push(request);
    });
  }

  /** The requests of a method that are under way. */
  open(method) {
    return this.all.filter((request) => request.method === method && !request.over);
  }

  /** The one that is. */
  get get() {
    assert.equal(this.open('GET').length, 1, 'one GET is under way');
    return this.open('GET')[0];
  }

  get post() {
    assert.equal(this.open('POST').length, 1, 'one POST is under way');
    return this.open('POST')[0];
  }
}

const HANDSHAKE = { sid: 'S', upgrades: ['websocket'], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000 };

/** Everything that a test needs, made anew for each. */
function world() {
  FakeWebSocket.all = [];
  const clock = new Clock();
  const network = new Network();
  const listeners = new Map();
  const globals = {
    ...clock.globals,
    addEventListener: (name, listener) => listeners.set(name, listener),
    removeEventListener: (name, listener) => listeners.get(name) === listener && listeners.delete(name),
    wires: Object.create(null),
    parsers: Object.create(null),
  };
  vm.compileFunction(fs.readFileSync(sources, 'utf8'), Object.keys(globals), { filename: sources })(...Object.values(globals));
  const { wires, parsers } = globals;

  /** A wire, with its events in `log`. */
  const connect = (name, options = {}, target = {}) => {
    const log = [];
    const events = {};
    for (const event of ['open', 'message', 'transport', 'heartbeat', 'event', 'closed']) {
      events[event] = (...args) => log.push([event, ...args]);
    }
    const wire = new wires[name]({
      origin: 'http://server', pathname: '/primus', query: 'a=b', options, websockets: true, WebSocket: FakeWebSocket, fetch: network.fetch, ...target,
    }, events);
    return { wire, log, names: () => log.splice(0).map(([event]) => event), end: () => log.find(([event]) => event === 'closed')?.[1] };
  };

  /** An Engine.IO wire that is open, by polling. */
  const polling = async (options, handshake = {}, target = {}) => {
    const client = connect('engine.io', options, target);
    await settle();
    await network.get.answer(`0${JSON.stringify({ ...HANDSHAKE, ...handshake })}`);
    return client;
  };

  /** An Engine.IO wire that is open, by WebSocket. */
  const socket = async (options = {}, handshake = {}) => {
    const client = connect('engine.io', { transports: ['websocket'], ...options });
    await settle();
    FakeWebSocket.last.accept();
    FakeWebSocket.last.say(`0${JSON.stringify({ ...HANDSHAKE, ...handshake })}`);
    return client;
  };

  return { clock, network, wires, parsers, listeners, connect, polling, socket };
}

const last = () => FakeWebSocket.last;

const TESTS = {};
const test = (name, run) => { TESTS[name] = run; };

module.exports = { assert, world, last, sockets: () => FakeWebSocket.all, settle, test, HANDSHAKE };
require('./generated_wires_engineio.cjs');
require('./generated_wires_upgrade.cjs');
require('./generated_wires_socketio.cjs');
require('./generated_wires_msgpack.cjs');

main(async () => {
  for (const [name, run] of Object.entries(TESTS)) {
    try {
      await run();
    } catch (error) {
      error.stack = `${name}: ${error.stack}`;
      throw error;
    }
    record({ passed: name });
  }
  await settle();
});
