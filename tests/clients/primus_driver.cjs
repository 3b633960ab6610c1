'use strict';
// Drives a real Primus client through one scenario and records what it saw.
//
//   node primus_driver.cjs GENERATION SCENARIO URL OPTIONS
//
// OPTIONS (JSON) are the server's, from which the client library is compiled; "polling": true keeps it from WebSockets.
// The server is the oracle or ours: both run the same application, so both must leave the same record. Ids and times
// never enter it.

const { createHash } = require('node:crypto');
const http = require('node:http');
const { compileClient, load } = require('./primus.cjs');
const { record, sleep, next, called, main } = require('./tape.cjs');

const [generation, scenario, url, json] = process.argv.slice(2);
const { emitter, msgpack, polling, ...options } = JSON.parse(json);
if (emitter) options.plugin = { emitter: require('primus-emitter') };
if (msgpack) options.parser = require('./msgpack_parser.cjs');
const first = Number(generation) === 6; // up to Primus 6 the client begins the heartbeat, since then the server
const Socket = compileClient(generation, options);

const EVENTS = ['open', 'close', 'end', 'timeout', 'offline', 'reconnected', 'reconnect failed'];

/** A client whose events are recorded. */
function connect(clientOptions = {}, query = '') {
  const client = new Socket(url + query, { reconnect: { min: 20, max: 200, retries: 100 }, websockets: !polling, ...clientOptions });
  let retrying = false; // how often a client tries before the server is back is a matter of luck: once is recorded
  for (const event of EVENTS) client.on(event, () => { retrying = false; record({ event }); });
  client.on('reconnect scheduled', () => {
    if (!retrying) record({ event: 'reconnect scheduled' });
    retrying = true;
  });
  client.on('error', (error) => record({ event: 'error', message: error.message }));
  client.on('incoming::data', (raw) => {
    const control = /^"(primus::server::.*)"$/.exec(raw);
    if (control) record({ control: control[1] });
  });
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
    const values = msgpack ? VALUES.filter((value) => !/\p{Surrogate}/u.test(value)) : VALUES; // MessagePack is UTF-8
    for (const value of values) record({ sent: value, got: await ask(client, value) });
    let deep = 'bottom';
    for (let i = 0; i < 50; i += 1) deep = i % 2 ? [deep] : { deep };
    record({ deep: JSON.stringify(await ask(client, deep)) === JSON.stringify(deep) });
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

  async garbage() {
    const client = await open();
    for (const text of ['', '{', 'nope', '"open', '[1,]', '{"a":1}}']) client.socket.send(text);
    record({ got: await ask(client, 'still here') });
  },

  async id() {
    const client = await open();
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

  /** Four heartbeats, over a time in which a silent connection would have been given up. */
  async heartbeat() {
    const client = await open(first ? { ping: 100, pong: 1000 } : {});
    const data = [];
    client.on('data', (message) => data.push(message));
    const since = Date.now();
    for (let beats = 0; beats < 4 || Date.now() - since < 2000; beats += 1) {
      const sent = first ? null : next(client, 'outgoing::pong');
      const [time] = await next(client, first ? 'incoming::pong' : 'incoming::ping');
      if (sent) await sent;
      if (beats < 4) record({ beat: Math.abs(Date.now() - time) < 5000 });
    }
    record({ strayed: [...data], got: await ask(client, 'still here') });
  },

  /** A client that answers no heartbeat is dropped, and not told to stay away. */
  async mute() {
    const client = await open(first ? { ping: false } : { pingTimeout: false });
    const write = client._write;
    client._write = function mute(data) { return /^primus::pong/.test(data) || write.call(this, data); };
    await next(client, 'reconnected');
    client._write = write;
    record({ got: await ask(client, 'back') });
  },

  async restart() {
    const client = await open();
    client.write({ do: 'restart' });
    await next(client, 'open');
    record({ got: await ask(client, 'back') });
  },

  async end() {
    const client = await open();
    client.write({ do: 'end' });
    await next(client, 'end');
    await sleep(500);
    record({ open: client.readyState === Socket.OPEN, reconnecting: client.recovery.reconnecting() });
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

  /** The client leaves: the server hears of it once. */
  async leave() {
    const watcher = await open();
    const client = await open();
    client.end();
    let answer;
    do answer = await ask(watcher, { do: 'ended' }); while (answer.ended === 0);
    await sleep(100);
    record(await ask(watcher, { do: 'ended' }));
  },

  async broadcast() {
    const clients = [await open(), await open(), await open()];
    const heard = clients.map((client) => next(client, 'data'));
    clients[0].write({ do: 'broadcast', message: { to: 'all', text: '\u2028' } });
    record({ heard: (await Promise.all(heard)).map(([message, raw]) => ({ message, raw })) });
  },

  async refused() {
    for (const token of ['none', 'wrong']) {
      const client = connect({ strategy: 'disconnect, online' }, `?token=${token}`);
      await next(client, 'end');
      for (const [ask, address] of doors(token)) record(await ask(address));
    }
    record({ got: await ask(await open({}, '?token=right'), 'welcome') });
  },

  async emitter() {
    const client = await open();
    client.on('noted', (note) => record({ noted: note }));
    client.on('question', (a, b, reply) => { reply(a * b); reply('twice'); });
    record({ ack: await called((done) => client.send('greet', 'Ada', done)) });
    record({ ack: await called((done) => client.send('add', 1, 2, done)) });
    const both = ['x', 'y'].map((name) => called((done) => client.send('greet', name, done)));
    record({ acks: await Promise.all(both) });
    const noted = next(client, 'noted');
    client.send('note', { deep: ['\u2028', null, { n: 1 }] });
    await noted;
    const answered = next(client, 'answered');
    client.send('ask me');
    record({ answered: await answered });
    record({ got: await ask(client, { plain: 'message' }) });
  },
};

const digest = (text) => createHash('sha256').update(text).digest('hex');

/** Where this transformer's clients knock, with a function that knocks there. */
function doors(token) {
  const socket = url.replace('http', 'ws');
  if (options.transformer !== 'engine.io') return [[refusedUpgrade, `${socket}/primus?token=${token}`]];
  const address = (base, transport) => `${base}/primus/?token=${token}&EIO=4&transport=${transport}`;
  return [[refusedRequest, address(url, 'polling')], [refusedUpgrade, address(socket, 'websocket')]];
}

async function refusal(response) {
  let body = '';
  for await (const chunk of response) body += chunk;
  const { statusCode, statusMessage, headers } = response;
  return { statusCode, statusMessage, type: headers['content-type'].split(';')[0], authenticate: headers['www-authenticate'], body };
}

/** How a WebSocket is refused, as a bare `ws` client sees it. */
function refusedUpgrade(address) {
  return new Promise((done, fail) => {
    const WebSocket = require('ws');
    const socket = new WebSocket(address);
    socket.on('open', () => fail(new Error('it was let in')));
    socket.on('error', fail);
    socket.on('unexpected-response', (request, response) => refusal(response).then(done, fail));
  });
}

/** How a handshake by polling is refused. */
function refusedRequest(address) {
  return new Promise((done, fail) => {
    http.get(address, (response) => refusal(response).then(done, fail)).on('error', fail);
  });
}

main(async () => {
  record({ primus: load(generation).prototype.version });
  await SCENARIOS[scenario]();
});
