'use strict';
// The generated client in a world of its own: a clock that the test turns, and WebSockets whose other end is the test.

const fs = require('node:fs');
const vm = require('node:vm');

/** Timers and the time of day. Nothing happens but in `advance`. */
class Clock {
  constructor() {
    this.now = 1_000_000;
    this.timers = new Map();
    this.last = 0;
    const clock = this;
    this.globals = {
      setTimeout: (callback, ms = 0) => {
        // As a browser does: what is too long for it fires at once.
        const wait = ms > 2 ** 31 - 1 || !(ms > 0) ? 0 : ms;
        clock.last += 1;
        clock.timers.set(clock.last, { at: clock.now + wait, callback });
        return clock.last;
      },
      clearTimeout: (id) => clock.timers.delete(id),
      Date: class extends Date {
        static now() { return clock.now; }
      },
    };
  }

  /** Let time pass, timers being punctual; and whatever promises there are. */
  async advance(ms) {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const next = [...this.timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!next) break;
      this.timers.delete(next[0]);
      this.now = Math.max(this.now, next[1].at);
      next[1].callback();
    }
    this.now = end;
    await settle();
  }

  /** Let time pass without a timer: the machine sleeps, or the tab is hidden. */
  sleep(ms) {
    this.now += ms;
  }
}

const settle = () => new Promise((done) => { setImmediate(done); });

/** A WebSocket's client side; the test is the server. */
class FakeWebSocket {
  constructor(url, protocols, options) {
    Object.assign(this, { url, protocols, options, readyState: 0, sent: [], closed: undefined });
    FakeWebSocket.all.push(this);
  }

  static get last() {
    return FakeWebSocket.all[FakeWebSocket.all.length - 1];
  }

  send(data) {
    if (this.readyState === 0) throw new Error('not open yet');
    this.sent.push(data);
  }

  close(code, reason) {
    this.readyState = 3;
    this.closed = { code, reason };
  }

  // -- the server's side

  accept() {
    this.readyState = 1;
    this.onopen({});
  }

  say(value) {
    this.onmessage({ data: typeof value === 'string' || value instanceof ArrayBuffer ? value : JSON.stringify(value) });
  }

  control(text) {
    this.onmessage({ data: JSON.stringify(text) });
  }

  hangUp(code = 1006, reason = '') {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  fail(message) {
    this.onerror(message ? { message } : {});
    this.hangUp();
  }

  /** What the client said, decoded. */
  get heard() {
    return this.sent.map((text) => JSON.parse(text));
  }
}
FakeWebSocket.all = [];

/** What a page has and Node.js has not, with functions to make things happen. */
function page() {
  const targets = { window: new Map(), document: new Map() };
  const adder = (listeners) => (event, listener) => listeners.set(event, [...(listeners.get(event) || []), listener]);
  const remover = (listeners) => (event, listener) => {
    listeners.set(event, (listeners.get(event) || []).filter((other) => other !== listener));
  };
  const navigator = { onLine: true };
  const document = {
    visibilityState: 'visible',
    addEventListener: adder(targets.document),
    removeEventListener: remover(targets.document),
  };
  return {
    globals: {
      navigator,
      document,
      addEventListener: adder(targets.window),
      removeEventListener: remover(targets.window),
      self: { addEventListener: adder(targets.window), removeEventListener: remover(targets.window) },
      location: { origin: 'https://page.example', href: 'https://page.example/some/where.html' },
    },
    fire: (target, event) => (targets[target].get(event) || []).slice().forEach((listener) => listener({ type: event })),
    count: () => [...targets.window.values(), ...targets.document.values()].reduce((sum, list) => sum + list.length, 0),
    navigator,
    document,
  };
}

// What the file may find around it; what a test does not give is not there.
const SURROUNDINGS = [
  'setTimeout', 'clearTimeout', 'Date', 'Math', 'fetch', 'WebSocket', 'require', 'process', 'self', 'addEventListener', 'removeEventListener',
  'navigator', 'document', 'location',
];

/** Run the file with these surroundings; gives what `require` would give. */
function load(file, globals = {}) {
  const module = { exports: {} };
  const names = ['module', ...SURROUNDINGS];
  const run = vm.compileFunction(fs.readFileSync(file, 'utf8'), names, { filename: file });
  run(module, ...SURROUNDINGS.map((name) => globals[name]));
  return module.exports;
}

/** Run the file as a page does; gives the page's globals. */
function loadScript(file) {
  const scope = vm.createContext({ URL });
  vm.runInContext(fs.readFileSync(file, 'utf8'), scope, { filename: file });
  return scope;
}

module.exports = { Clock, FakeWebSocket, page, load, loadScript, settle };
