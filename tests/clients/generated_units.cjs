'use strict';
// The generated client alone, piece by piece, with a clock and WebSockets that the test holds.
//
//   node generated_units.cjs FILE [WIRE]
//
// FILE is a client that was made for the transformer "websockets", or for another whose WIRE is "socketio". Prints {"passed": name} for each test, {"all": count} last.

const assert = require('node:assert/strict');
const { record, main } = require('./tape.cjs');
const { Clock, FakeWebSocket, page, load, settle } = require('./generated_fakes.cjs');

const [file, wire] = process.argv.slice(2);

/** Everything that a test needs, made anew for each. */
function world({ inPage = false, answer, random = 0 } = {}) {
  FakeWebSocket.all = [];
  const clock = new Clock();
  const place = inPage ? page() : { globals: {} };
  const asked = [];
  const fetch = answer && (async (url, options) => {
    asked.push({ url, options });
    return answer(url, options);
  });
  const exports = load(file, { ...clock.globals, ...place.globals, Math: Object.assign(Object.create(Math), { random: () => random }) });
  const { Primus } = exports;
  const events = [];
  const connect = (options = {}, url = 'http://server.example:8080') => {
    const client = new Primus(url, { WebSocket: FakeWebSocket, fetch: fetch || (() => Promise.reject(new Error('down'))), ...options });
    for (const event of Object.keys(client.reserved.events)) {
      client.on(event, (...args) => events.push([event, ...args]));
    }
    return client;
  };
  const opened = async (options, url) => {
    const client = connect(options, url);
    await clock.advance(0);
    FakeWebSocket.last.accept();
    names(); // forget what was told so far
    return client;
  };
  /** The names of the events since the last call. */
  const names = () => events.splice(0).map(([event, state]) => (event === 'readyStateChange' ? `${event} ${state}` : event));
  /** The same, without the states. */
  const plain = () => names().filter((name) => !name.startsWith('readyStateChange'));
  return { clock, ...place, asked, Primus, exports, events, connect, opened, names, plain };
}

const socket = () => FakeWebSocket.last;

const TESTS = {};
const test = (name, run) => { TESTS[name] = run; };

module.exports = { world, socket, test, assert };
(wire ? [wire] : ['core', 'clocks', 'life', 'refused', 'flow', 'actionhero']).forEach((name) => require(`./generated_units_${name}.cjs`));

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
  record({ all: Object.keys(TESTS).length });
});
