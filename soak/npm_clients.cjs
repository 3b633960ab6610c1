'use strict';
// Clients from npm: Primus' own, engine.io-client and socket.io-client: node npm_clients.cjs PORT COUNT PERIOD
//
// So many of each talk as the raw clients do, and come again after a while. They say the same things on standard output.

const { createRequire } = require('node:module');
const path = require('node:path');

const clients = path.join(__dirname, '..', 'tests', 'clients');
const { compileClient } = require(path.join(clients, 'primus.cjs'));
const fetched = createRequire(path.join(clients, 'package.json'));
const { Socket: EngineSocket } = fetched('engine.io-client');
const { io } = fetched('socket.io-client');

const [port, count, period] = process.argv.slice(2).map(Number);
const url = `http://127.0.0.1:${port}`;
const PAUSE = 1500; // mean ms between two messages
const PATIENCE = 20_000; // ms
const counts = { clients: 3 * count, conversations: 0, said: 0 };
let stopping = false;
const PrimusSocket = compileClient(8, { transformer: 'websockets', plugin: { emitter: fetched('primus-emitter') } });

const tell = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });
const within = (promise, what) => new Promise((done, fail) => {
  const timer = setTimeout(() => fail(new Error(`nothing within ${PATIENCE} ms: ${what}`)), PATIENCE);
  promise.then((value) => { clearTimeout(timer); done(value); }, (error) => { clearTimeout(timer); fail(error); });
});
const bodyUp = (key, number) => `${key} → ${number} ${'ü☃x'[number % 3].repeat((number * 37) % 200)}`;
const bodyDown = (key, number) => `${key} ← ${number} ${'y'.repeat((number * 41) % 150)}`;

/** A client's beginning and end, by its library's words for them. */
function lifeOf(client, heard, words) {
  client.on(words.closed, heard.closed);
  client.on(words.failed, heard.failed);
  return {
    opened: new Promise((done) => { client.on(words.opened, done); }),
    leave: () => client[words.leave](),
  };
}

/** Likewise all of a client whose library knows events and answers. */
function eventsOf(client, heard, words) {
  client.on('down', heard.down);
  client.on('question', heard.question);
  return {
    ...lifeOf(client, heard, words),
    emit: (event, ...args) => client[words.emit](event, ...args),
    call: (event, ...args) => new Promise((done) => { client[words.emit](event, ...args, done); }),
  };
}

/** What each library has to know: how to open, send an event, ask with one, and leave. */
const KINDS = {
  primus(key, heard) {
    const client = new PrimusSocket(`${url}/primus?key=${key}`, { strategy: [] });
    return eventsOf(client, heard, { opened: 'open', closed: 'end', failed: 'error', emit: 'send', leave: 'end' });
  },

  engine(key, heard) {
    const client = new EngineSocket(`${url}?key=${key}`, { path: '/primus/', transports: ['polling', 'websocket'] });
    const calls = new Map();
    let last = 0;
    client.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type === 1) { calls.get(message.id)(message.data[0]); calls.delete(message.id); }
      if (message.type !== 0) return;
      const [event, ...args] = message.data;
      const answer = (...values) => client.send(JSON.stringify({ type: 1, id: message.id, data: values }));
      if (event === 'down') heard.down(...args);
      if (event === 'question') heard.question(...args, answer);
    });
    return {
      ...lifeOf(client, heard, { opened: 'open', closed: 'close', failed: 'error', leave: 'close' }),
      emit: (event, ...args) => client.send(JSON.stringify({ type: 0, data: [event, ...args] })),
      call: (event, ...args) => new Promise((done) => {
        last += 1;
        calls.set(last, done);
        client.send(JSON.stringify({ type: 0, data: [event, ...args], id: last }));
      }),
    };
  },

  socket(key, heard) {
    const client = io(url, { query: { key }, reconnection: false, forceNew: true });
    const words = { opened: 'connect', closed: 'disconnect', failed: 'connect_error', emit: 'emit', leave: 'disconnect' };
    return { ...eventsOf(client, heard, words), binary: true };
  },
};

/** One conversation, from its handshake to its goodbye. */
async function converse(kind, name) {
  const key = `${name}/`;
  const record = { key, sent: 0, received: 0, wrong: 0, lost: 0, doubled: 0, reordered: 0, end: 'cut' };
  const missing = new Set();
  let over;
  let leaving = false;
  const ended = new Promise((done) => { over = done; });
  const broken = new Promise((_, fail) => {
    ended.then((why) => { if (!leaving) fail(new Error(`closed: ${why}`)); });
  });
  broken.catch(() => {});
  const client = KINDS[kind](name, {
    down(number, at, body) {
      if (number === record.received + 1) record.received = number;
      else if (number > record.received) {
        for (let one = record.received + 1; one < number; one += 1) missing.add(one);
        record.received = number;
      } else if (missing.delete(number)) record.reordered += 1;
      else record.doubled += 1;
      const fits = typeof body === 'string' ? body === bodyDown(key, number) : body.subarray(1).toString().startsWith(name);
      if (!fits) record.wrong += 1;
    },
    question: (number, answer) => answer(number * 2),
    closed: (why) => over(String(why)),
    failed: (error) => over(`${error.message} ${JSON.stringify(error.description ?? null)}`),
  });
  const wait = (promise, what) => within(Promise.race([promise, broken]), `${name}: ${what}`);
  try {
    await wait(client.opened, 'open');
    const until = Date.now() + 15_000 + Math.random() * 45_000;
    while (Date.now() < until && !stopping) {
      await wait(sleep(-Math.log(1 - Math.random()) * PAUSE), 'sleep');
      record.sent += 1;
      counts.said += 1;
      const number = record.sent;
      const text = bodyUp(key, number);
      const args = [number, Date.now() / 1000, client.binary && number % 4 === 0 ? Buffer.from(text) : text];
      if (number % 3) client.emit('up', ...args);
      else if (await wait(client.call('up', ...args), 'an answer') !== number) record.wrong += 1;
    }
    const balance = await wait(client.call('bye'), 'the balance');
    if (balance.received === record.sent && balance.sent === record.received) record.end = 'clean';
    else tell({ trouble: 'lost', detail: `${JSON.stringify(record)}; the server: ${JSON.stringify(balance)}` });
  } catch (error) {
    tell({ trouble: 'broken', detail: `${key} ${error.stack}` });
  }
  leaving = true;
  client.leave();
  await within(ended, `${name}: the end`).catch((error) => tell({ trouble: 'not ended', detail: error.message }));
  record.lost = missing.size;
  tell({ end: record });
}

async function againAndAgain(kind, place) {
  await sleep(Math.random() * 5000);
  for (let life = 1; !stopping; life += 1) {
    counts.conversations += 1;
    await converse(kind, `npm-${kind}-${place}-${life}`);
    await sleep(1000);
  }
}

process.stdin.once('data', () => { stopping = true; });
process.stdin.once('end', () => { stopping = true; });
const ticking = setInterval(() => tell({ counts, latency_ms: {} }), Math.min(period, 1) * 1000);
const talking = Object.keys(KINDS).flatMap((kind) => Array.from({ length: count }, (_, place) => againAndAgain(kind, place)));
Promise.all(talking).then(() => {
  clearInterval(ticking);
  tell({ counts, latency_ms: {} });
  tell({ over: true });
  process.stdout.write('', () => process.exit(0));
});
