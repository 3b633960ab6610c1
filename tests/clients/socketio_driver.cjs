'use strict';
// Drives npm socket.io-client through one scenario and records what it saw.
//
//   node socketio_driver.cjs GENERATION MODE PARSER SCENARIO URL
//
// MODE is "polling", "websocket" or "upgrade" (polling first); PARSER is "default" or "msgpack".

const { record, sleep, next, called, main } = require('./tape.cjs');

const PACKAGES = { 4: 'socket.io-client', 3: 'socket.io-client3', 2: 'socket.io-client2' };
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

const [generation, mode, parser, scenario, url] = process.argv.slice(2);
const io = require(PACKAGES[generation]);

/** A client of a namespace; it has not connected yet when this returns. */
function connect(namespace = '/', options = {}) {
  const client = io(url + namespace, {
    transports: TRANSPORTS[mode],
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 100,
    ...(parser === 'msgpack' ? { parser: require('socket.io-msgpack-parser') } : {}),
    ...options,
  });
  client.reasons = [];
  client.on('disconnect', (reason) => client.reasons.push(reason));
  return client;
}

async function open(namespace, options) {
  const client = connect(namespace, options);
  await next(client, 'connect');
  return client;
}

const ask = (client, event, ...args) => called((done) => client.emit(event, ...args, (...answer) => done(...answer)));

/** Binary values as text that says what they are. */
function told(value) {
  if (Buffer.isBuffer(value)) return `<${value.toString('hex')}>`;
  if (Array.isArray(value)) return value.map(told);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, told(item)]));
  return value;
}

async function until(condition) {
  for (let tries = 0; !condition(); tries += 1) {
    if (tries > 500) throw new Error(`in vain: ${condition}`);
    await sleep(10);
  }
}

const VALUES = [null, true, -1.5, 'w\u00f6rld \u2028', [], { a: [{ b: null }] }, 'x'.repeat(70000)];
const BYTES = Buffer.from([0, 1, 254, 255]);

const SCENARIOS = {
  async events() {
    const client = await open();
    record({ same: JSON.stringify(await ask(client, 'echo', ...VALUES)) === JSON.stringify(VALUES) });
    record({ none: await ask(client, 'echo'), one: await ask(client, 'echo', 1) });
    client.emit('back', 1, 'two');
    record({ back: await next(client, 'back') });
    client.send({ plain: 'message' });
    record({ message: await next(client, 'message') });
    if (mode === 'upgrade') await until(() => client.io.engine.transport.name === 'websocket');
    record({ transport: (await ask(client, 'transport'))[0] });
    const numbers = [];
    client.on('back', (number) => numbers.push(number));
    for (let i = 0; i < 300; i += 1) client.emit('back', i);
    await until(() => numbers.length === 300);
    record({ inOrder: numbers.every((number, i) => number === i) });
  },

  async binary() {
    const client = await open();
    record({ ack: told(await ask(client, 'echo', BYTES, { deep: [BYTES, 1] }, 'text')) });
    client.emit('back', BYTES, BYTES);
    record({ back: told(await next(client, 'back')) });
    client.send(BYTES);
    record({ message: told(await next(client, 'message')) });
    const big = Buffer.alloc(200000, 7);
    record({ big: (await ask(client, 'echo', big))[0].equals(big) });
  },

  /** The server asks; once with an answer, once without. */
  async question() {
    const client = await open();
    client.on('question', (first, second, answer) => answer({ first, second: second.deep }));
    client.emit('question me');
    record({ answered: told(await next(client, 'answered')) });
    client.emit('ask in vain');
    record({ slow: await next(client, 'too slow') });
    if (generation === '4') {
      record({ timeout: await new Promise((done) => { client.timeout(50).emit('nobody listens', (error) => done(error.message)); }) });
      record({ withAck: await client.timeout(5000).emitWithAck('echo', 'x') });
    }
  },

  async namespaces() {
    const root = await open('/');
    const admin = connect('/admin', { auth: { token: 'right' }, forceNew: false });
    await next(admin, 'connect');
    record({ who: (await ask(admin, 'who'))[0] });
    for (const auth of [{}, { token: 'wrong' }]) {
      const refused = connect('/admin', { auth });
      const [error] = await next(refused, 'connect_error');
      record({ refused: error.message, data: error.data === undefined ? null : error.data, isError: error instanceof Error, active: refused.active === true });
      refused.close();
    }
    for (const name of ['/room-7', '/fn-x']) record({ who: (await ask(await open(name), 'who'))[0] });
    for (const name of ['/nowhere', '/room-x']) {
      const [error] = await next(connect(name), 'connect_error');
      record({ name, refused: error.message });
    }
    admin.emit('leave');
    await until(() => admin.reasons.length);
    record({ reasons: admin.reasons, root: (await ask(root, 'echo', 'still here'))[0] });
  },

  /** One connection of the manager carries several namespaces; leaving one leaves the others alone. */
  async several() {
    const root = await open('/', { forceNew: false });
    const room = root.io.socket('/room-1'); // connects at once
    await next(room, 'connect');
    record({ ids: root.id !== room.id, who: (await ask(room, 'who'))[0] });
    room.disconnect();
    record({ root: (await ask(root, 'echo', 1))[0] });
    room.connect();
    await next(room, 'connect');
    record({ again: (await ask(room, 'echo', 2))[0] });
  },

  async leave() {
    const client = await open();
    client.emit('leave');
    await until(() => client.reasons.length);
    await sleep(200);
    record({ reasons: client.reasons, connected: client.connected });
    client.connect();
    await next(client, 'connect');
    record({ again: await ask(client, 'echo', 1) });
  },

  async bounce() {
    const client = await open();
    client.emit('bounce');
    await next(client, 'disconnect');
    await next(client, 'connect');
    record({ reasons: client.reasons, again: await ask(client, 'echo', 1) });
  },

  async goodbye() {
    const client = await open();
    client.disconnect();
    record({ reasons: client.reasons });
    const last = await open();
    last.emit('back', 'x');
    await next(last, 'back');
    await sleep(50);
  },

  async restart() {
    const client = await open();
    await ask(client, 'echo', 1);
    await sleep(50); // the next poll is there
    client.emit('restart');
    await next(client, 'disconnect');
    const back = await Promise.race([next(client, 'connect').then(() => true), sleep(1500).then(() => false)]);
    record({ reasons: client.reasons, back });
  },

  async volatile() {
    const client = await open();
    const ticks = [];
    client.on('tick', (tick) => ticks.push(tick));
    if (mode === 'upgrade') await until(() => client.io.engine.transport.name === 'websocket');
    await sleep(50);
    record({ sent: (await ask(client, 'volatile'))[0] });
    record({ ticks });
  },

  /** A client of the past. */
  async past() {
    const client = connect('/', { reconnection: false });
    const heard = [];
    for (const event of ['connect', 'connect_error', 'error', 'disconnect']) {
      client.on(event, (value) => heard.push([event, value instanceof Error ? value.message : value === undefined ? null : value]));
    }
    await until(() => heard.length);
    await sleep(100);
    record({ heard, connected: client.connected });
  },

  /** Says when it is in; then what it hears until the last word. */
  async room() {
    const client = connect('/');
    const heard = [];
    client.on('message', (message) => heard.push(message));
    await next(client, 'connect');
    record({ id: client.id });
    await until(() => heard.includes('last'));
    record({ heard });
  },
};

main(async () => {
  record({ client: require(`${PACKAGES[generation]}/package.json`).version });
  await SCENARIOS[scenario]();
});
