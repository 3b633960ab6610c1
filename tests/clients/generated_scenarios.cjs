'use strict';
// What generated_actionhero.cjs can do with the generated client. A scenario gets the means to make clients.

const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const vm = require('node:vm');
const { load } = require('./primus.cjs');
const { record, called, next, sleep } = require('./tape.cjs');

/** An error without what differs from run to run. */
const plain = (error) => error && { code: error.code, message: error.message, status: error.status };

/** What a call gives by promise, to a callback of one parameter, and to one of two. */
async function thrice(name, client, method, ...args) {
  const resolved = await client[method](...args).catch((error) => ({ rejected: plain(error) }));
  const response = await new Promise((done) => { client[method](...args, (answer) => done(answer)); });
  const pair = await new Promise((done) => { client[method](...args, (error, answer) => done([plain(error), answer])); });
  record({ step: name, promise: resolved, one: response, two: pair });
}

/** What a promise comes to, or why it does not. */
const outcome = (promise) => promise.then((value) => ({ value }), (error) => ({ error: plain(error) }));

/** Run scripts as a page's classic scripts, in this order. */
function page(url, WebSocket, scripts, more) {
  const timers = { setTimeout, clearTimeout, setInterval, clearInterval };
  const globals = { ...timers, URL, fetch, AbortController, WebSocket, TextDecoder, TextEncoder };
  const document = Object.assign(new EventTarget(), { cookie: '' });
  const listening = new EventTarget();
  const addEventListener = listening.addEventListener.bind(listening);
  const window = vm.createContext({ ...globals, addEventListener, location: new URL(url), document, ...more });
  window.window = window.self = window;
  scripts.forEach((script) => vm.runInContext(fs.readFileSync(script, 'utf8'), window, { filename: script }));
  return window;
}

module.exports = {
  /** Everything that can be asked for, in each of the three ways. */
  async verbs({ connect }) {
    const a = await connect('A');
    await a.roomAdd('otherRoom');
    await thrice('action', a, 'action', 'cacheTest', { key: 'name', value: 'wörld' });
    await thrice('action without params', a, 'action', 'randomNumber');
    await thrice('failing action', a, 'action', 'cacheTest', { key: 'name' });
    await thrice('unknown action', a, 'action', 'noSuchAction');
    await thrice('file', a, 'file', 'simple.html');
    await thrice('missing file', a, 'file', 'missing.html');
    await thrice('details', a, 'detailsView');
    await thrice('documentation', a, 'documentation');
    await thrice('room', a, 'roomView', 'otherRoom');
    await thrice('room from outside', a, 'roomView', 'defaultRoom');
    await thrice('say', a, 'say', 'otherRoom', 'to myself');
    await thrice('say nothing', a, 'say', 'otherRoom', undefined);
    await thrice('say outside', a, 'say', 'defaultRoom', 'hi');
    await thrice('unknown verb', a, 'send', { event: 'nosuchverb', x: 1 });
    await thrice('own messageId', a, 'send', { event: 'detailsView', messageId: 'mine \u2028' });
    await thrice('own messageId of an action', a, 'action', 'randomNumber', { messageId: 'mine' });
    await thrice('leave outside', a, 'roomLeave', 'defaultRoom');
    await thrice('not JSON', a, 'action', 'cacheTest', { key: 1n });
    record({ step: 'left', pending: Object.keys(a.callbacks), state: a.state, transport: a.transport });
  },

  /** Rooms, and what is heard in them. */
  async rooms({ connect }) {
    const [a, b] = [await connect('A'), await connect('B')];
    await a.roomAdd('defaultRoom');
    await a.roomAdd('otherRoom');
    record({ step: 'again', outcome: await outcome(a.roomAdd('defaultRoom')), rooms: a.rooms });
    record({ step: 'nowhere', outcome: await outcome(a.roomAdd('noSuchRoom')), rooms: a.rooms });
    await b.roomAdd('defaultRoom');
    const heard = [next(a, 'say'), next(b, 'say'), next(b, 'message', (message) => message.context === 'user')];
    a.say('defaultRoom', 'hello \u2028 wörld');
    record({ step: 'heard', by: (await Promise.all(heard)).map(([{ from, sentAt, ...rest }]) => ({ ...rest, byA: from === a.id })) });
    await a.roomLeave('defaultRoom');
    record({ step: 'left', rooms: a.rooms, members: (await b.roomView('defaultRoom')).data.membersCount });
    record({ step: 'details', rooms: (await a.detailsView()).data.rooms, known: a.details.rooms, id: a.id === a.details.id });
  },

  /** The example of ActionHero's documentation, as a page. */
  async example({ url, WebSocket }, file) {
    const shown = [];
    const written = [];
    const log = (...words) => {
      written.push(words.map(String));
      record({ log: words.map((word) => String(word).split('\n')[0]) });
    };
    const window = page(url, WebSocket, [file, path.join(__dirname, 'actionhero_example.js')], {
      console: { log },
      alert: (message) => record({ alert: message }),
      appendMessage: (message) => shown.push(message),
    });
    const { client } = window;
    await next(client, 'connected');
    while (client.rooms.length === 0 || Object.keys(client.callbacks).length) await sleep(10);
    await client.say('defaultRoom', 'hi');
    while (shown.length < 2) await sleep(10);
    record({ step: 'shown', shown: shown.map(({ context, welcome, message, room }) => ({ context, welcome, message, room })) });
    const gone = next(client, 'disconnected');
    client.disconnect();
    await gone;
    const { Primus, ActionheroWebsocketClient } = window;
    record({ step: 'globals', primus: client.client instanceof Primus, class: client instanceof ActionheroWebsocketClient,
      state: client.state });
  },

  /** What the example does with its last call, as far as it can be seen from outside. */
  async some_action({ connect }) {
    const a = await connect('A');
    const pair = await new Promise((done) => {
      a.action('someAction', { key: 'k', value: 'v' }, function (error, data) { done([plain(error), data]); });
    });
    const one = await new Promise((done) => { a.action('someAction', { key: 'k', value: 'v' }, function (data) { done(data); }); });
    record({ step: 'some action', pair, one });
  },

  /** The server closes the connection three times; the client comes back into its rooms. */
  async reconnect({ connect }) {
    const a = await connect('A');
    for (const room of ['otherRoom', 'defaultRoom', 'newRoom']) {
      if (room === 'newRoom') await a.action('createChatRoom', { name: room });
      await a.roomAdd(room);
    }
    await a.roomLeave('defaultRoom');
    const listeners = () => a.client.eventNames().map((name) => `${name} ${a.client.listenerCount(name)}`).sort();
    const before = listeners();
    const ids = [a.id];
    for (let round = 0; round < 3; round += 1) {
      const trying = next(a, 'reconnecting');
      const back = next(a, 'reconnect');
      const waiting = outcome(a.action('sleepTest', { sleepDuration: 5000 }));
      record({ step: 'ready', id: a.id });
      record({ step: 'waiting', outcome: await waiting });
      await trying;
      if (round === 2) a.roomLeave('otherRoom').then(({ data }) => record({ step: 'left while away', data }));
      const said = a.say('newRoom', `while away ${round}`); // goes out once it is in the room again
      const heard = next(a, 'say');
      await back;
      await said;
      ids.push(a.id);
      record({ step: 'back', heard: (await heard)[0].message, rooms: a.rooms, there: (await a.detailsView()).data.rooms });
    }
    record({ step: 'end', strangers: new Set(ids).size, same: JSON.stringify(before) === JSON.stringify(listeners()),
      pending: Object.keys(a.callbacks) });
  },

  /** The server goes away and comes back, without the room that the client was in. */
  async restart({ connect }) {
    const a = await connect('A');
    await a.action('createChatRoom', { name: 'newRoom' });
    for (const room of ['defaultRoom', 'newRoom', 'otherRoom']) await a.roomAdd(room);
    const lost = next(a, 'disconnected');
    const waiting = outcome(a.action('sleepTest', { sleepDuration: 8000 }));
    record({ step: 'ready' });
    await lost;
    record({ step: 'waiting', outcome: await waiting });
    record({ step: 'over http', outcome: await outcome(a.action('randomNumber')) });
    const back = next(a, 'reconnect');
    const refused = next(a, 'error', (error) => error.room !== undefined);
    record({ step: 'down' });
    await back;
    record({ step: 'back', rooms: a.rooms, there: (await a.detailsView()).data.rooms, lost: (await refused)[0].room });
  },

  /** The server does not admit the client. */
  async refused({ create }) {
    const a = create('A');
    a.client?.on('reconnect scheduled', () => record({ step: 'tries again' }));
    const [error, details] = await called((done) => a.connect(done));
    record({ step: 'refused', error: plain(error), refused: error.refused, reason: error.reason, details, state: a.state });
    record({ step: 'promise', outcome: await outcome(a.connect()) });
    record({ step: 'call', outcome: await outcome(a.say('defaultRoom', 'hi')) });
    await sleep(1200);
  },

  /** Nobody is there, and the client gives up. */
  async nobody({ create }) {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    await new Promise((done) => { server.close(done); });
    const a = create('A', { url: `http://127.0.0.1:${port}`, reconnect: { retries: 2, min: 20, max: 50 } });
    const reconnecting = [];
    a.on('reconnecting', ({ attempt }) => reconnecting.push(attempt));
    const waiting = outcome(a.connect());
    const said = outcome(a.say('defaultRoom', 'hi'));
    const { error } = await waiting;
    record({ step: 'nobody', code: error.code, reconnecting, said: (await said).error.code, state: a.state });
  },

  /** Calls that get no answer. */
  async unanswered({ create, connect }) {
    const a = await connect('A', { responseTimeout: 150 });
    record({ step: 'late', outcome: await outcome(a.action('sleepTest', { sleepDuration: 600 })) });
    const one = await new Promise((done) => { a.action('sleepTest', { sleepDuration: 600 }, (response) => done(response)); });
    record({ step: 'late, one parameter', status: one.status, error: plain(one.error), data: one.data });
    await sleep(700); // their answers come now, and nobody wants them
    record({ step: 'in time', outcome: await outcome(a.action('sleepTest', { sleepDuration: 1 }).then((r) => r.sleepDuration)) });

    const b = await connect('B');
    const calls = [outcome(b.action('sleepTest', { sleepDuration: 3000 })), outcome(b.send({ event: 'detailsView', messageId: 'm' }))];
    const thrown = new Promise((done) => { process.once('uncaughtException', (error) => done(error.message)); });
    b.action('sleepTest', { sleepDuration: 3000 }, () => { throw new Error('of a page'); });
    calls.push(outcome(b.action('sleepTest', { sleepDuration: 3000 })));
    await b.send({ event: 'detailsView', messageId: 'm' }); // takes the id from the one before
    b.disconnect();
    record({ step: 'disconnected', outcomes: await Promise.all(calls), thrown: await thrown, pending: Object.keys(b.callbacks) });
    record({ step: 'afterwards', outcome: await outcome(b.say('defaultRoom', 'hi')) });

    const c = create('C', { queueSize: 2 });
    c.connect();
    const said = [1, 2, 3].map((number) => outcome(c.say('defaultRoom', String(number))));
    c.roomAdd('defaultRoom');
    record({ step: 'queue', codes: (await Promise.all(said)).map(({ value, error }) => (error || value).code || 'sent') });
  },

  /** Actions without a connection. */
  async http({ create, url }) {
    const a = create('A');
    await thrice('post', a, 'action', 'cacheTest', { key: 'name', value: 'wörld & more' });
    await thrice('get', a, 'action', 'cacheTest', { key: 'name', value: 'wörld & more', httpMethod: 'get' });
    await thrice('failing', a, 'action', 'cacheTest', { key: 'name' });
    await thrice('unknown', a, 'action', 'no such & action');
    await thrice('not JSON', a, 'action', 'cacheTest', { key: 1n });
    record({ step: 'late', outcome: await outcome(create('B', { responseTimeout: 100 }).action('sleepTest', { sleepDuration: 3000 })) });
    record({ step: 'no api', outcome: await outcome(create('C', { apiPath: '/simple.html' }).action('randomNumber', { httpMethod: 'GET' })) });
    const nowhere = await outcome(create('D', { url: 'http://127.0.0.1:1' }).action('randomNumber'));
    record({ step: 'nowhere', code: nowhere.error.code });
    await a.connect();
    record({ step: 'web', outcome: await outcome(a.actionWeb({ action: 'randomNumber' }).then((r) => Object.keys(r))) });
    record({ step: 'websocket', outcome: await outcome(a.actionWebSocket({ action: 'randomNumber' }).then((r) => Object.keys(r))) });
    record({ step: 'url', url: a.urlWithSession() === url });
  },

  /** A Primus client of the page's own, several times connected. */
  async external({ create, url, WebSocket, Primus, ActionheroWebsocketClient }, file, options) {
    const primus = new Primus(url, { WebSocket, ...options, manual: true });
    let own = 0;
    primus.on('open', () => { own += 1; });
    const a = new ActionheroWebsocketClient({ url }, primus);
    const counts = [];
    for (let round = 0; round < 3; round += 1) {
      await a.connect();
      counts.push(primus.listenerCount('open') + primus.listenerCount('data') + primus.listenerCount('error'));
    }
    record({ step: 'external', is: a.client === primus && a.primus === primus, own, counts, external: a.externalClient });
    primus.end();
    record({ step: 'ended', state: a.state });
    const b = create('B');
    const first = outcome(b.connect());
    await b.connect();
    const before = b.client;
    await b.connect();
    record({ step: 'own', first: await first, another: before !== b.client, destroyed: before.eventNames().length === 0 });
  },

  /** On npm's Primus instead of ours. */
  async on_npm_primus({ ActionheroWebsocketClient, url }) {
    const Socket = load(8).createSocket({ transformer: 'websockets' });
    const a = new ActionheroWebsocketClient({ url }, new Socket(url, { manual: true, reconnect: { min: 20 } }));
    await a.connect();
    await a.roomAdd('defaultRoom');
    const [first, back] = [a.id, next(a, 'reconnect')];
    record({ step: 'ready', id: a.id });
    await back;
    record({ step: 'npm', rooms: (await a.detailsView()).data.rooms, stranger: a.id !== first,
      action: Object.keys(await a.action('randomNumber')) });
    a.disconnect();
  },

  /** The server does not admit a client that was there before; rooms may be left while away. */
  async refused_later({ connect }) {
    const a = await connect('A');
    await a.roomAdd('defaultRoom');
    const refused = next(a, 'refused');
    const trying = next(a, 'reconnecting');
    record({ step: 'ready', id: a.id });
    await trying;
    const said = outcome(a.say('defaultRoom', 'hi'));
    const [{ status, reason }] = await refused;
    record({ step: 'refused', status, reason, said: await said, state: a.state, rooms: a.rooms });
  },

  /** A server without actions. */
  async mute({ create }) {
    const a = create('A', { timeout: 200 });
    record({ step: 'mute', outcome: await outcome(a.connect()), state: a.state });
    a.disconnect();
  },
};
