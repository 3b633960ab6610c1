'use strict';
// Drives ActionHero's own client through everything it can do and records the replies.
//
//   node actionhero_driver.cjs SCENARIO URL CARRIER
//
// CARRIER is "websockets", "engine.io", or "polling": engine.io, kept from WebSockets.

const { page } = require('./actionhero.cjs');
const { record, sleep, next, called, main } = require('./tape.cjs');

const [scenario, url, carrier] = process.argv.slice(2);
const transformer = carrier === 'polling' ? 'engine.io' : carrier;

/** A connected client; `record` gets what the server says unasked, and the client's own events. */
async function connect(name, { cookie = '', headers } = {}) {
  const options = { websockets: carrier !== 'polling' };
  if (headers) options.transport = { headers, extraHeaders: headers }; // the first for ws, the second for Engine.IO
  const client = new (page(url, transformer, cookie))(options);
  for (const event of ['connected', 'disconnected', 'reconnect', 'error', 'alert', 'api', 'timeout']) {
    client.on(event, (detail) => record({ client: name, event, detail: detail?.message ?? detail }));
  }
  client.on('welcome', (message) => record({ client: name, welcome: message }));
  const [error, details] = await called((done) => client.connect(done));
  client.client.on('end', () => record({ client: name, event: 'end' }));
  record({ client: name, connected: details, error, id: client.id, fingerprint: client.fingerprint });
  return client;
}

/** Call one of the client's methods and give back what its callback gets. */
const call = async (client, method, ...args) => (await called((done) => client[method](...args, done)))[0];

/** Call it and record the reply under a name. */
async function step(name, client, method, ...args) {
  record({ step: name, reply: await call(client, method, ...args) });
}

/** Send a verb that the client has no method for. */
const verb = async (client, message) => (await called((done) => client.send(message, done)))[0];

const SCENARIOS = {
  async actions() {
    const client = await connect('A');
    await step('random', client, 'action', 'randomNumber');
    await step('missing', client, 'action', 'cacheTest');
    await step('missing value', client, 'action', 'cacheTest', { key: 'name' });
    await step('short', client, 'action', 'cacheTest', { key: 'ab', value: 'cd' });
    await step('cache', client, 'action', 'cacheTest', { key: 'name', value: 'wörld' });
    await step('numbers', client, 'action', 'cacheTest', { key: 1234, value: 5678 });
    await step('unknown', client, 'action', 'noSuchAction');
    await step('unnamed', client, 'action', undefined);
    await step('sleep', client, 'action', 'sleepTest', { sleepDuration: 20 });
    await step('sleep by string', client, 'action', 'sleepTest', { sleepDuration: '20' });
    await step('status', client, 'action', 'status');
    await step('room needs a name', client, 'action', 'createChatRoom');
    await step('room', client, 'action', 'createChatRoom', { name: 'newRoom' });
    await step('join it', client, 'roomAdd', 'newRoom');
    await step('details', client, 'detailsView');
  },

  /** Replies come in the order of completion, each with its own messageId. */
  async order() {
    const client = await connect('A');
    const finished = [];
    await Promise.all([500, 300, 100].map(async (sleepDuration) => {
      const reply = await call(client, 'action', 'sleepTest', { sleepDuration });
      finished.push({ asked: sleepDuration, messageId: reply.messageId, slept: reply.sleepDuration, error: reply.error });
    }));
    record({ step: 'order', finished });
  },

  /** The sixth pending action is refused at once; verbs and files are not counted. */
  async limit() {
    const client = await connect('A');
    const finished = [];
    const asked = [1, 2, 3, 4, 5, 6].map(async (number) => {
      const reply = await call(client, 'action', 'sleepTest', { sleepDuration: 500 });
      finished.push({ number, error: reply.error });
    });
    asked.push(step('while busy', client, 'detailsView'), step('file while busy', client, 'file', 'simple.html'));
    await Promise.all(asked);
    record({ step: 'limit', finished });
    await step('afterwards', client, 'action', 'randomNumber');
    await step('details', client, 'detailsView');
  },

  async rooms() {
    const a = await connect('A');
    const b = await connect('B');
    for (const [name, client] of Object.entries({ a, b })) {
      client.on('say', (message) => record({ step: `${name} hears`, message }));
    }
    await step('join', a, 'roomAdd', 'defaultRoom');
    await step('join second', a, 'roomAdd', 'otherRoom');
    record({ step: 'rooms of the client', rooms: a.rooms });
    await step('join again', a, 'roomAdd', 'otherRoom');
    await step('join nowhere', a, 'roomAdd', 'noSuchRoom');
    await step('view', a, 'roomView', 'defaultRoom');
    await step('view as a stranger', b, 'roomView', 'defaultRoom');
    await step('say as a stranger', b, 'say', 'defaultRoom', 'hi');
    await step('b joins', b, 'roomAdd', 'defaultRoom');
    await step('view both', b, 'roomView', 'defaultRoom');

    const heard = [next(a, 'say'), next(b, 'say')];
    await step('say', a, 'say', 'defaultRoom', 'hello \u2028 wörld');
    await Promise.all(heard);
    await step('say nothing', a, 'say', 'defaultRoom', undefined);
    const beside = next(a, 'say'); // not b: it is not there
    await step('say beside', a, 'say', 'otherRoom', 'to myself');
    await beside;

    await step('leave', a, 'roomLeave', 'defaultRoom');
    await step('leave again', a, 'roomLeave', 'defaultRoom');
    await step('view the rest', b, 'roomView', 'defaultRoom');
    await step('rejoin', a, 'roomAdd', 'defaultRoom');
    a.disconnect();
    let view;
    do view = await call(b, 'roomView', 'defaultRoom'); while (view.data.membersCount > 1);
    record({ step: 'view after a is gone', reply: view });
  },

  async verbs() {
    const client = await connect('A');
    await step('details', client, 'detailsView');
    await step('file', client, 'file', 'simple.html');
    await step('missing file', client, 'file', 'missing.html');
    await step('file outside', client, 'file', '../actionhero.py');
    await step('no file', client, 'file', undefined);
    await step('documentation', client, 'documentation');
    record({ step: 'unknown verb', reply: await verb(client, { event: 'nosuchverb', x: 1 }) });
    record({ step: 'own messageId', reply: await verb(client, { event: 'detailsView', messageId: 'mine \u2028' }) });
    for (const odd of [null, 5, 'text', [1], true, {}]) client.client.write(odd);
    client.client.socket.send('no JSON');
    await step('still here', client, 'action', 'randomNumber');
  },

  async quit() {
    const client = await connect('A');
    for (const word of ['quit', 'exit']) {
      const ended = next(client.client, 'end');
      client.send({ event: word });
      await ended;
      await sleep(300);
      record({ step: word, state: client.state, reconnecting: client.client.recovery.reconnecting() });
      if (word === 'quit') record({ step: 'again', details: (await called((done) => client.connect(done)))[1] });
    }
  },

  async disconnect() {
    const client = await connect('A');
    client.disconnect();
    await sleep(300);
    record({ step: 'gone', state: client.state, reconnecting: client.client.recovery.reconnecting() });
    await step('over http', client, 'action', 'randomNumber');
    await step('over http, missing', client, 'action', 'cacheTest', { key: 'name' });
    await step('over http, get', client, 'action', 'cacheTest', { key: 'name', value: 'some', httpMethod: 'GET' });
    await step('over http, unknown', client, 'action', 'noSuchAction');
    record({ step: 'back', details: (await called((done) => client.connect(done)))[1] });
    await step('over websocket', client, 'action', 'randomNumber');
  },

  async fingerprint() {
    const client = await connect('none');
    await connect('query', { cookie: 'other=1; sessionID=abc123' });
    await connect('header', { headers: { Cookie: 'other=1; sessionID=def456' } });
    await connect('both', { cookie: 'sessionID=abc123', headers: { Cookie: 'sessionID=def456' } });
    const { socket } = client.client; // of ws, or of Engine.IO
    if (carrier === 'engine.io' && socket.transport.name === 'polling') await next(socket, 'upgrade');
    record({ step: 'carried', by: socket.transport ? `Engine.IO ${socket.transport.name}` : 'WebSocket' });
  },

  /** The server stops after "ready" and starts again; what the client does then is recorded. */
  async restart() {
    const client = await connect('A');
    await step('join', client, 'roomAdd', 'defaultRoom');
    const first = client.id;
    const back = next(client.client, 'open').then(() => 'back', () => 'stayed away');
    record({ step: 'ready' });
    const outcome = await Promise.race([back, next(client.client, 'end').then(() => sleep(1000), () => {})]);
    record({ step: 'outcome', outcome: outcome ?? 'stayed away' });
    if (outcome !== 'back') return;
    const { data } = await call(client, 'detailsView');
    record({ step: 'details', stranger: data.id !== first, rooms: data.rooms });
  },
};

main(SCENARIOS[scenario]);
