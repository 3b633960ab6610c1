'use strict';
// Drives one wire of the generated client, by itself, through one scenario and records what it saw.
//
//   node generated_wires.cjs SOURCES WIRE MODE SCENARIO URL OPTIONS
//
// SOURCES: a file with JavaScript that fills `wires` and `parsers`. MODE: "polling", "websocket", "upgrade" (polling
// first) or "never" (the option websockets: false). OPTIONS: the wire's, as JSON. The server is an oracle or ours, with
// the same application. Ids, times and codes that only differ in how a close without trouble is told stay out.

const fs = require('node:fs');
const vm = require('node:vm');
const { WebSocket } = require('ws');
const { record, sleep, next, main } = require('./tape.cjs');
const { EventEmitter } = require('node:events');

const [sources, name, mode, scenario, url, given = '{}'] = process.argv.slice(2);
const wires = Object.create(null);
vm.compileFunction(fs.readFileSync(sources, 'utf8'), ['wires', 'parsers'], { filename: sources })(wires, Object.create(null));
const Wire = wires[name];
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'], never: ['websocket'] };

/** What came, with bytes as text, to be compared. */
const show = (value) => {
  if (value instanceof Uint8Array) return `<${Buffer.from(value).toString('hex')}>`;
  if (Array.isArray(value)) return value.map(show);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, show(item)]));
  return value;
};

/** A wire, as an emitter of its events; Engine.IO's messages are JSON or bytes. */
function connect({ query = '', pathname = Wire.values ? '/socket.io' : '/primus', ...rest } = {}) {
  const client = new EventEmitter();
  client.messages = [];
  client.log = []; // the names of events, as they came
  client.requests = { GET: 0, POST: 0 }; // under way
  client.most = { GET: 0, POST: 0 }; // at once
  client.sizes = []; // of POSTs
  const events = {};
  ['open', 'message', 'transport', 'heartbeat', 'event', 'closed'].forEach((event) => {
    events[event] = (...args) => {
      client.log.push(event);
      if (event === 'message') {
        const [data] = args;
        args[0] = Wire.values || typeof data !== 'string' ? data : JSON.parse(data);
        client.messages.push(args[0]);
      }
      if (event === 'closed') client.isClosed = true;
      client.emit(event, ...args);
    };
  });
  client.closed = new Promise((done) => {
    client.once('closed', ({ code, refused, final, error }) => {
      done({ orderly: code === 1000 || code === 1005, refused: refused || null, final, error: error ? error.message : null });
    });
  });
  const counted = async (address, options) => {
    const { method, body } = options;
    client.requests[method] += 1;
    client.most[method] = Math.max(client.most[method], client.requests[method]);
    if (method === 'POST') client.sizes.push(Buffer.byteLength(body));
    try {
      const answer = await fetch(address, options);
      await answer.clone().text();
      return answer;
    } finally {
      client.requests[method] -= 1;
    }
  };
  const options = { transports: TRANSPORTS[mode], ...JSON.parse(given), ...rest };
  client.wire = new Wire({ origin: url, pathname, query, options, websockets: mode !== 'never', WebSocket, fetch: counted }, events);
  client.write = (message) => client.wire.send(Wire.values || message instanceof Uint8Array ? message : JSON.stringify(message));
  return client;
}

/** A wire that is open and, where it is to be, upgraded. */
async function open(options) {
  const client = connect(options);
  await next(client, 'open');
  await until(() => mode !== 'upgrade' || client.wire.transport === 'websocket');
  return client;
}

async function ask(client, message) {
  const answer = next(client, 'message');
  client.write(message);
  return (await answer)[0];
}

async function until(holds) {
  for (let waited = 0; !holds(); waited += 1) {
    if (waited > 10_000) throw new Error(`not within 10 s: ${holds}`);
    await sleep(1);
  }
}

const counted = (numbers) => ({ count: numbers.length, inOrder: numbers.every((number, i) => number === i) });

const TEXTS = ['', 'text', 'wörld', '\u2028 and \u2029', '🦩 \u0000\u001e\u007f " \\ /', 'b', '4', '\ufeff'];
const VALUES = [...TEXTS, 0, -1.5, 1e21, true, false, null, [], {}, { a: [{ b: null }] }];
const BYTES = Uint8Array.from({ length: 256 }, (_, i) => i);

const bytesOf = (size) => Uint8Array.from({ length: size }, (_, i) => BYTES[i % 256]);

const SCENARIOS = {
  async echo() {
    const client = await open();
    for (const value of VALUES) record({ sent: value, got: await ask(client, value) });
    record({ transport: client.wire.transport, log: [...new Set(client.log)] });
  },

  async binary() {
    const client = await open();
    for (const size of [0, 1, 2, 3, 4, 255, 256, 70_000]) {
      const sent = bytesOf(size);
      const got = await ask(client, sent);
      record({ size, plain: Object.getPrototypeOf(got) === Uint8Array.prototype, same: Buffer.compare(got, sent) === 0 });
    }
    const reused = new Uint8Array(1);
    for (let i = 0; i < 20; i += 1) {
      reused[0] = i; // what was sent does not change with it
      client.write(i % 2 ? reused : i);
    }
    await until(() => client.messages.length === 28);
    record({ mixed: client.messages.slice(8).map((message) => (message instanceof Uint8Array ? message[0] : message)) });
  },

  async heartbeat() {
    const client = await open();
    await until(() => client.log.filter((event) => event === 'heartbeat').length >= 4);
    record({ got: await ask(client, 'still here') });
  },

  /** The server hangs for longer than the client waits for a heartbeat. */
  async freeze() {
    const client = await open();
    client.write({ do: 'freeze' });
    record(await client.closed);
  },

  async last() {
    const client = await open();
    client.write({ do: 'last' });
    const end = await client.closed;
    await sleep(20);
    record({ messages: client.messages, end, last: client.log[client.log.length - 1] });
  },

  /** The client leaves: the server gets what was sent before, and hears of the end once. */
  async leave() {
    const watcher = await open();
    const client = await open();
    await ask(client, 'here');
    client.write({ do: 'broadcast', message: 'a last word' });
    client.wire.close(1000, 'enough');
    const heard = client.log.length;
    let answer;
    do answer = await ask(watcher, { do: 'ended' }); while (answer.ended === 0);
    await sleep(100);
    record({ ...await ask(watcher, { do: 'ended' }), silent: client.log.length === heard, left: client.requests });
  },

  /** Closed at any time from the beginning on, and again. */
  async leaveEarly() {
    for (let delay = 0; delay < 12; delay += 1) {
      const client = connect();
      if (delay) await sleep((delay - 1) * 2);
      client.wire.close();
      client.wire.close();
      client.write('too late');
      const heard = client.log.length;
      await sleep(10);
      if (client.log.length !== heard) throw new Error(`${client.log} after ${delay}`);
    }
    record({ got: await ask(await open(), 'still here') });
  },

  async again() {
    for (let i = 0; i < 25; i += 1) {
      const client = i % 2 ? connect() : await open();
      if (i % 2) await next(client, 'open');
      if (await ask(client, i) !== i) throw new Error('another answer');
      client.wire.close();
    }
    const client = await open();
    let answer;
    do answer = await ask(client, { do: 'ended' }); while (answer.ended < 25);
    record(answer);
  },

  async refused() {
    for (const token of ['none', 'wrong', 'right']) {
      const client = connect({ query: `token=${token}` });
      const opened = await Promise.race([next(client, 'open').then(() => true), client.closed.then(() => false)]);
      if (opened) record({ got: await ask(client, 'welcome') });
      else record({ end: await client.closed, log: client.log });
    }
  },

  async failed() {
    const client = connect();
    const { error, ...end } = await client.closed;
    record({ ...end, error: typeof error, log: client.log });
  },

  /** A client that would upgrade finds that it cannot. */
  async stay() {
    const client = connect();
    await next(client, 'open');
    await sleep(200);
    record({ transport: client.wire.transport, got: await ask(client, 'still here'), log: client.log });
  },

  /** No body is larger than the server takes, no two requests of a kind are under way at once. */
  async big() {
    const client = connect();
    await next(client, 'open');
    for (let i = 0; i < 100; i += 1) client.write(`${i} ${'é'.repeat(400)}`);
    client.write(bytesOf(7000));
    client.write(bytesOf(100));
    for (const length of [9996, 1, 4000, 5994, 3]) client.write('x'.repeat(length));
    await until(() => client.messages.length === 107);
    const numbers = client.messages.slice(0, 100).map((message) => parseInt(message, 10));
    record({ ...counted(numbers), lengths: client.messages.slice(100).map(({ length }) => length) });
    record({ large: client.sizes.some((size) => size > 10_000), full: client.sizes.some((size) => size > 9_000), most: client.most });
  },

  /** Both sides send numbers while the transport changes: none is lost, doubled or out of its order. */
  async fire() {
    for (let round = 0; round < 5; round += 1) {
      const client = connect();
      await next(client, 'open');
      client.write({ do: 'count', to: 150 });
      for (let i = 0; i < 150; i += 1) {
        client.write(i);
        if (Math.random() < 0.3) await sleep(Math.random() * 3);
      }
      await until(() => client.messages.length >= 300);
      await sleep(20);
      const echoes = client.messages.filter((message) => typeof message === 'number');
      const own = client.messages.map((message) => message.number).filter((number) => number !== undefined);
      const moves = client.log.filter((event) => event === 'transport').length;
      record({ moves, transport: client.wire.transport, echoes: counted(echoes), own: counted(own), most: client.most });
      client.wire.close();
    }
  },

  /** Both sides have much to say from the beginning on: more than fits anywhere, so that each has to listen meanwhile. */
  async much() {
    const client = connect();
    await next(client, 'open');
    const text = 'y'.repeat(200_000);
    for (let i = 0; i < 100; i += 1) client.write(text);
    await until(() => client.messages.length === 100);
    record({ same: client.messages.every((message) => message === text), transport: client.wire.transport, most: client.most });
    client.wire.close();
  },

  /** The server says a last word and closes, at any time of an upgrade. */
  async bow() {
    for (let delay = 0; delay < 16; delay += 1) {
      const client = connect();
      await next(client, 'open');
      if (delay >= 4) await sleep((delay - 4) / 2);
      client.write({ do: 'last' });
      record({ end: await client.closed, messages: client.messages });
    }
  },

  /** A listener that throws stops nothing; what it threw is not lost either. */
  async thrower() {
    const thrown = [];
    process.on('uncaughtException', (error) => thrown.push(error.message));
    const client = await open();
    client.on('message', (message) => { throw new Error(`threw at ${message}`); });
    for (let i = 0; i < 3; i += 1) client.write(i);
    await until(() => client.messages.length === 3);
    await until(() => thrown.length === 3);
    record({ thrown: thrown.sort(), open: !client.isClosed });
  },

  // -- Socket.IO's

  /** What the server answers: acknowledged, as an event, and as a message. */
  async events() {
    const client = await open();
    const call = (event, ...args) => new Promise((done) => { client.wire.emit(event, args, (...answer) => done(answer)); });
    record({ transport: client.wire.transport, three: await call('return', 1, 'two', { three: [null] }) });
    record({ none: await call('nothing'), two: await call('two'), sum: await call('add', 2, 3) });
    const binary = { deep: [{ deeper: BYTES }, BYTES.buffer, new Uint8Array(0)], view: new DataView(BYTES.buffer, 1, 2) };
    record({ binary: show(await call('return', binary, BYTES)), bytes: show(await call('bytes')) });
    const strange = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 1, "_placeholder": false, "num": 0}');
    for (const bytes of [undefined, BYTES]) {
      const [got] = await call('return', { ...strange, bytes });
      // (npm's parsers lose the key "__proto__".)
      record({ own: Object.keys(got).filter((key) => key !== '__proto__').sort(), polluted: got.polluted ?? null });
    }
    record({ date: await call('return', new Date(0), undefined) });
  },

  async asked() {
    const client = await open();
    client.on('event', (event, args, reply) => {
      if (event === 'question') {
        reply(args[0] * args[1], BYTES.subarray(1, 3));
        reply('a second answer is none');
      } else if (event !== 'primus::stale') record({ event, args: show(args), reply: typeof reply });
    });
    client.wire.emit('ask', []);
    await next(client, 'event', (event) => event === 'answered');
    client.wire.emit('blobs', []);
    await next(client, 'event', (event) => event === 'blobs');
    client.wire.emit('echo', ['many', { values: [1, BYTES.subarray(0, 2)] }]);
    await next(client, 'event', (event) => event === 'echo');
    for (const reserved of ['connect', 'disconnect']) {
      try {
        client.wire.emit(reserved, []);
      } catch (error) {
        record({ reserved, error: error.name });
      }
    }
  },

  async namespaces() {
    for (const [namespace, auth] of [['/other'], ['/admin', { token: 'right' }], ['dynamic-7', { a: 1 }]]) {
      const client = await open({ namespace, auth: auth && ((tell) => setTimeout(tell, 5, auth)) });
      client.wire.emit('auth', []);
      record({ namespace, auth: (await next(client, 'event'))[1] });
      client.wire.close();
    }
    for (const [namespace, auth] of [['/admin'], ['/admin', { token: 'wrong', why: true }], ['/nowhere']]) {
      const client = connect({ namespace, auth });
      record({ namespace, end: await client.closed, log: client.log.filter((event) => event !== 'heartbeat') });
    }
  },

  /** The server lets the client go: it is not to come back. */
  async sentAway() {
    const client = await open();
    client.wire.emit('leave', []);
    record({ end: await client.closed });
  },

  /** Messages are the event "message"; the oracle gives back other events than it knows as "any". */
  async messages() {
    const client = await open();
    for (const value of ['text', { a: [1, null] }, [1, 2], BYTES.subarray(0, 3)]) {
      client.write(value);
      const [event, args] = await next(client, 'event');
      record({ event, args: show(args) });
    }
    client.wire.emit('echo', []);
    record({ empty: (await next(client, 'event'))[1] });
  },
};

main(() => SCENARIOS[scenario]());
