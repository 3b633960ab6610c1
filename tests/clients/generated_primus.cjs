'use strict';
// Drives the generated client's Primus through one scenario and records what it saw.
//
//   node generated_primus.cjs FILE SCENARIO URL OPTIONS
//
// OPTIONS (JSON) are the client's, `transformer` and `websockets` among them. The server is a real Primus (oracle_primus.cjs)
// or ours (app.py): both run the same application, so both must leave the same record. Ids and times never enter it.

const { createHash } = require('node:crypto');
const net = require('node:net');
const path = require('node:path');
const WebSocket = require('ws');
const { record, sleep, next, called, main } = require('./tape.cjs');

const [file, scenario, url, json] = process.argv.slice(2);
const options = JSON.parse(json);
const { Primus } = require(path.resolve(file));

const EVENTS = ['open', 'close', 'end', 'timeout', 'offline', 'online', 'reconnected', 'reconnect failed', 'refused', 'stale', 'destroy'];

/** A client whose events are recorded. */
function connect(clientOptions = {}, query = '', address = url) {
  const client = new Primus(address + query, { WebSocket, reconnect: { min: 20, max: 200, retries: 100 }, ...options, ...clientOptions });
  let retrying = false; // how often a client tries before the server is back is a matter of luck: once is recorded
  EVENTS.forEach((event) => client.on(event, () => { retrying = false; record({ event }); }));
  client.on('reconnect scheduled', () => {
    if (!retrying) record({ event: 'reconnect scheduled' });
    retrying = true;
  });
  client.on('error', (error) => record({ event: 'error', status: error.status, message: error.status && error.message }));
  return client;
}

async function open(...args) {
  const client = connect(...args);
  await next(client, 'open');
  return client;
}

/** Write a message and give back the message that comes next. */
async function ask(client, message) {
  const answer = next(client, 'data');
  client.write(message);
  return (await answer)[0];
}

const digest = (text) => createHash('sha256').update(text).digest('hex');

const VALUES = [
  '', 'text', 'wörld', '\u2028 and \u2029', '🦩 \u0000\u001f\u007f\u0080 " \\ /', '\ufeffmark', '\ud800 alone',
  'primus', 'primus::', 'primus::unknown::x', '__proto__',
  0, 1, -1, 1.5, 0.1, -0.001, 1e21, 1e-7, 1.7976931348623157e308, 5e-324, 2 ** 53 - 1, -(2 ** 53), 12345678901234567890,
  true, false, null,
  [], {}, [[]], [null, [1, [2, [3]]]], { a: { b: { c: [{ d: null }] } } },
  { '': 0, 'key with \u2028': '\u2029', ключ: 'значение', constructor: 1 }, { b: 1, a: 2, 10: 3, 9: 4 },
];

const SCENARIOS = {
  async echo() {
    const client = await open();
    for (const value of VALUES) record({ sent: value, got: await ask(client, value) });
    let deep = 'bottom';
    for (let i = 0; i < 50; i += 1) deep = i % 2 ? [deep] : { deep };
    record({ deep: JSON.stringify(await ask(client, deep)) === JSON.stringify(deep) });
    record({ transport: ['websocket', 'polling'].includes(client.transport), transformer: client.transformer });
  },

  /** What is written before the connection is open waits, and arrives in order. */
  async queue() {
    const client = connect();
    const answers = [];
    client.on('data', (message) => answers.push(message));
    for (let i = 0; i < 100; i += 1) client.write(i);
    await next(client, 'data', (message) => message === 99);
    record({ answers });
  },

  /** What is written while there is no connection, too. */
  async away() {
    const client = await open();
    client.on('data', (message) => record({ got: message }));
    client.once('close', () => ['first', 'second'].forEach((text) => client.write(text)));
    client.write({ do: 'bounce' });
    await next(client, 'data', (message) => message === 'second');
  },

  async id() {
    const client = connect();
    const other = await open();
    const [first] = await called((done) => client.id(done));
    const [again] = await called((done) => client.id(done));
    const [another] = await called((done) => other.id(done));
    record({ type: typeof first, filled: first.length > 0, stable: first === again, own: first !== another });
  },

  async big() {
    const client = await open();
    for (const size of [125, 126, 65535, 65536, 1 << 20]) {
      const message = '0123456789abcdeé'.repeat(size / 16 + 1).slice(0, size);
      const answer = await ask(client, message);
      record({ size, length: answer.length, same: digest(answer) === digest(message) });
    }
  },

  /** Heartbeats, over a time in which a silent connection would have been given up. */
  async heartbeat() {
    const client = await open();
    const strayed = [];
    client.on('data', (message) => strayed.push(message));
    const since = Date.now();
    for (let beats = 0; beats < 3 || Date.now() - since < 2000; beats += 1) {
      const [time] = await next(client, 'incoming::ping');
      if (beats < 3) record({ beat: Math.abs(Date.now() - time) < 5000 });
    }
    record({ strayed: [...strayed], got: await ask(client, 'still here') });
  },

  /** The client asks first, as up to Primus 6. */
  async ping() {
    const client = await open();
    const strayed = [];
    client.on('data', (message) => strayed.push(message));
    for (let beats = 0; beats < 3; beats += 1) {
      const [time] = await next(client, 'incoming::pong');
      record({ beat: Math.abs(Date.now() - time) < 5000, latency: client.latency >= 0 && client.latency < 5000 });
    }
    record({ strayed: [...strayed], got: await ask(client, 'still here') });
  },

  async restart() {
    const client = await open();
    client.write({ do: 'restart' });
    await next(client, 'open');
    record({ got: await ask(client, 'back') });
  },

  /** The server is destroyed, and takes its clients with it. */
  async destroyed() {
    const client = await open();
    client.write({ do: 'destroy' });
    await next(client, 'end');
    await sleep(300);
    record({ state: client.readyState, reconnecting: client.recovery.reconnecting() });
  },

  async end() {
    const client = await open();
    client.write({ do: 'end' });
    await next(client, 'end');
    await sleep(300);
    record({ open: client.readyState === Primus.OPEN, reconnecting: client.recovery.reconnecting() });
  },

  async last() {
    const client = await open();
    client.on('data', (message) => record({ got: message }));
    client.write({ do: 'last' });
    await next(client, 'end');
  },

  async bounce() {
    const client = await open();
    const [before] = await called((done) => client.id(done));
    client.write({ do: 'bounce' });
    await next(client, 'open');
    const [after] = await called((done) => client.id(done));
    record({ stranger: before !== after, got: await ask(client, 'back') });
  },

  /** The client leaves, with a last message: the server hears of it once. */
  async leave() {
    const watcher = await open();
    const client = await open();
    const heard = next(watcher, 'data', (message) => message === 'goodbye');
    client.end({ do: 'broadcast', message: 'goodbye' });
    await heard;
    let answer;
    do answer = await ask(watcher, { do: 'ended' }); while (answer.ended === 0);
    await sleep(100);
    record(await ask(watcher, { do: 'ended' }));
    record({ state: client.readyState, destroyed: client.destroy() });
  },

  /** And comes again. */
  async again() {
    const client = connect({ manual: true, strategy: false });
    for (let i = 0; i < 3; i += 1) {
      client.open();
      await next(client, 'open');
      record({ got: await ask(client, i) });
      client.end();
    }
  },

  async broadcast() {
    const clients = [await open(), await open(), await open()];
    const heard = clients.map((client) => next(client, 'data'));
    clients[0].write({ do: 'broadcast', message: { to: 'all', text: '\u2028' } });
    record({ heard: (await Promise.all(heard)).map(([message]) => message) });
  },

  async refused() {
    for (const token of ['none', 'wrong']) {
      const client = connect({}, `?token=${token}`);
      const refused = next(client, 'refused');
      const [{ status, reason }] = await refused;
      record({ status, reason });
      await sleep(300); // no further attempt
      record({ state: client.readyState, reconnecting: client.recovery.reconnecting() });
    }
    record({ got: await ask(await open({}, '?token=right'), 'welcome') });
  },

  async transforms() {
    const client = connect();
    client.transform('outgoing', (packet) => { packet.data = { wrapped: packet.data }; });
    client.transform('outgoing', (packet, done) => setTimeout(() => done(undefined, packet.data.wrapped !== 'mine'), 5));
    client.transform('incoming', (packet, done) => setTimeout(() => {
      packet.data = [packet.data.wrapped];
      done();
    }, 5));
    client.transform('incoming', (packet) => packet.data[0] !== 'not for you');
    ['mine', 'not for you'].forEach((text) => client.write(text));
    record({ got: await ask(client, 'yours') });
  },

  async emitter() {
    const client = await open();
    client.on('noted', (note) => record({ noted: note }));
    client.on('question', (a, b, reply) => { reply(a * b); reply('twice'); });
    record({ ack: await called((done) => client.send('greet', 'Ada', done)) });
    record({ ack: await called((done) => client.send('add', 1, 2, done)) });
    record({ answers: await Promise.all(['x', 'y'].map((name) => client.call('greet', name))) });
    const noted = next(client, 'noted');
    client.send('note', { deep: ['\u2028', null, { n: 1 }] });
    await noted;
    const answered = next(client, 'answered');
    client.send('ask me');
    record({ answered: await answered });
    record({ got: await ask(client, { plain: 'message' }) });
  },

  /** The server has another client for its pages by now. */
  async stale() {
    const client = connect();
    const [own, theirs] = await next(client, 'stale');
    record({ differ: own !== theirs, length: theirs.length });
    record({ got: await ask(client, 'on it goes') });
  },

  /** A server that takes connections and never says a word. */
  async silent() {
    const server = net.createServer(() => {}).listen(0, '127.0.0.1');
    await next(server, 'listening');
    const address = `http://127.0.0.1:${server.address().port}`;
    await next(connect({ timeout: 200, strategy: 'disconnect,online' }, '', address), 'end');
    const patient = connect({ timeout: 200, reconnect: { min: 20, retries: 2, 'reconnect timeout': 200 } }, '', address);
    patient.on('reconnect timeout', (error) => record({ event: 'reconnect timeout', message: error.message }));
    const [error, { attempt }] = await next(patient, 'reconnect failed');
    record({ message: error.message, attempt });
  },

  /** Nobody is there. */
  async nobody() {
    const server = net.createServer(() => {}).listen(0, '127.0.0.1');
    await next(server, 'listening');
    const { port } = server.address();
    await new Promise((done) => { server.close(done); });
    const client = connect({ reconnect: { min: 20, retries: 3 } }, '', `http://127.0.0.1:${port}`);
    const [error, { attempt }] = await next(client, 'reconnect failed');
    record({ message: error.message, attempt });
  },
};

main(() => SCENARIOS[scenario]());
