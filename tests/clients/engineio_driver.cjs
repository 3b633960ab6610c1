'use strict';
// Drives npm engine.io-client through one scenario and records what it saw.
//
//   node engineio_driver.cjs GENERATION MODE SCENARIO URL
//
// MODE is "polling", "websocket" or "upgrade" (polling first). The server is the oracle or ours, with the same
// application. Messages are JSON or binary. Ids and times never enter the record.

const { createHash } = require('node:crypto');
const { record, sleep, next, main } = require('./tape.cjs');

const PACKAGES = { 6: 'engine.io-client', 5: 'engine.io-client5', 4: 'engine.io-client4' };

const [generation, mode, scenario, url] = process.argv.slice(2);
const { Socket } = require(PACKAGES[generation]);
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

/** A client; `messages` are what came so far, decoded. */
function connect(options = {}) {
  const client = new Socket(url, { path: '/primus/', transports: TRANSPORTS[mode], ...options });
  client.messages = [];
  client.on('message', (data) => {
    const message = typeof data === 'string' ? JSON.parse(data) : Buffer.from(data);
    client.messages.push(message);
    client.emit('decoded', message);
  });
  client.write = (message) => client.send(Buffer.isBuffer(message) ? message : JSON.stringify(message));
  client.closed = new Promise((done) => {
    client.on('close', (reason) => { done(reason); });
  });
  client.on('error', () => {}); // followed by "close", once the client was open
  return client;
}

/** A client that is open and, where it is to be, upgraded. */
async function open(options) {
  const client = connect(options);
  await next(client, mode === 'upgrade' ? 'upgrade' : 'open');
  return client;
}

async function ask(client, message) {
  const answer = next(client, 'decoded');
  client.write(message);
  return (await answer)[0];
}

async function until(holds) {
  for (let waited = 0; !holds(); waited += 5) {
    if (waited > 10_000) throw new Error(`not within 10 s: ${holds}`);
    await sleep(5);
  }
}

/** Why a client was not let in. */
async function failure(client) {
  let said; // in the context, as of client 6, and only while the event lasts
  client.once('error', ({ context }) => { said = typeof context?.responseText === 'string' ? context.responseText : undefined; });
  const [{ message, description }] = await next(client, 'error');
  return { message, description: Number.isInteger(description) ? description : undefined, said };
}

const digest = (data) => createHash('sha256').update(data).digest('hex');

/** Whether these are the numbers from 0, each once and in order. */
const counted = (numbers) => ({ count: numbers.length, inOrder: numbers.every((number, i) => number === i) });

const TEXTS = ['', 'text', 'wörld', '\u2028 and \u2029', '🦩 \u0000\u001e\u007f " \\ /', 'b', '4', '\ufeff'];
const VALUES = [...TEXTS, 0, -1.5, 1e21, true, false, null, [], {}, { a: [{ b: null }] }];
const BYTES = Buffer.from([...Array(256).keys()]);

const SCENARIOS = {
  async echo() {
    const client = await open();
    for (const value of VALUES) record({ sent: value, got: await ask(client, value) });
    record({ transport: client.transport.name, seen: await ask(client, { do: 'transport' }) });
  },

  async binary() {
    for (const forceBase64 of [false, true]) {
      const client = await open({ forceBase64 });
      for (const size of [0, 1, 2, 3, 4, 255, 256, 70_000]) {
        const sent = Buffer.alloc(size, BYTES);
        const got = await ask(client, sent);
        record({ forceBase64, size, binary: Buffer.isBuffer(got), same: digest(got) === digest(sent) });
      }
      for (let i = 0; i < 20; i += 1) client.write(i % 2 ? Buffer.from([i]) : i); // mixed ones keep their order
      await until(() => client.messages.length === 28);
      record({ mixed: client.messages.slice(8).map((message) => (Buffer.isBuffer(message) ? message[0] : message)) });
      client.close();
    }
  },

  async heartbeat() {
    const client = connect();
    let pings = 0;
    client.on('packet', ({ type }) => { if (type === 'ping') pings += 1; });
    client.on('handshake', ({ pingInterval, pingTimeout, upgrades, maxPayload }) => {
      record({ pingInterval, pingTimeout, upgrades, maxPayload });
    });
    await until(() => pings >= 5);
    record({ got: await ask(client, 'still here') });
  },

  /** The server hangs for longer than the client waits for a heartbeat. */
  async freeze() {
    const client = await open();
    client.write({ do: 'freeze' });
    record({ reason: await client.closed });
  },

  async last() {
    const client = await open();
    client.write({ do: 'last' });
    const reason = await client.closed;
    record({ messages: client.messages, reason });
  },

  /** The client leaves: the server hears of it once. */
  async leave() {
    const watcher = await open();
    const client = await open();
    await ask(client, 'here');
    client.write('sent before it leaves');
    client.close();
    record({ reason: await client.closed });
    let answer;
    do answer = await ask(watcher, { do: 'ended' }); while (answer.ended === 0);
    await sleep(100);
    record(await ask(watcher, { do: 'ended' }));
  },

  async refused() {
    for (const token of ['none', 'wrong']) {
      record(await failure(connect({ query: { token } })));
    }
    record({ got: await ask(await open({ query: { token: 'right' } }), 'welcome') });
  },

  /** A client that would upgrade finds that it cannot. */
  async stay() {
    const client = connect();
    client.on('handshake', ({ upgrades }) => record({ upgrades }));
    await next(client, 'open');
    await sleep(300);
    record({ transport: client.transport.name, got: await ask(client, 'still here') });
  },

  async unwanted() {
    record(await failure(connect()));
  },

  /** Messages of all sizes up to the limit, many at once. */
  async big() {
    const client = connect();
    const polls = [];
    if (mode === 'polling') {
      const { onData } = client.transport;
      client.transport.onData = function counting(data) { polls.push(Buffer.byteLength(data)); return onData.call(this, data); };
    }
    await next(client, mode === 'upgrade' ? 'upgrade' : 'open');
    const sizes = [9996, 9997, 9998, 1, 4000, 5994, 5000, 4990, 10, 3, 9998, ...Array(300).fill(100)];
    polls.length = 0;
    client.write({ do: 'burst', sizes });
    await until(() => client.messages.length === sizes.length);
    record({ lengths: client.messages.map((message) => message.length).join() === sizes.join(), polls: polls.length, largest: Math.max(0, ...polls) });
    for (const size of [9996, 9997]) record({ size, length: (await ask(client, 'x'.repeat(size))).length });
    client.messages.length = 0;
    if (generation === '6') { // older ones put all that waits into one body, whatever the limit
      for (let i = 0; i < 100; i += 1) client.write(`${i} ${'é'.repeat(400)}`);
      await until(() => client.messages.length === 100);
      record(counted(client.messages.map((message) => parseInt(message, 10))));
    }
  },

  /** Both sides send numbers while the transport changes: none is lost, doubled or out of its order. */
  async fire() {
    for (let round = 0; round < 8; round += 1) {
      const client = connect();
      let upgraded = 0;
      client.on('upgrade', () => { upgraded += 1; });
      await next(client, 'open');
      client.write({ do: 'count', to: 200 });
      for (let i = 0; i < 200; i += 1) {
        client.write(i);
        if (Math.random() < 0.3) await sleep(Math.random() * 3);
      }
      await until(() => client.messages.length >= 400);
      await sleep(20);
      const echoes = client.messages.filter((message) => typeof message === 'number');
      const own = client.messages.map((message) => message.number).filter((number) => number !== undefined);
      record({ upgraded, transport: client.transport.name, echoes: counted(echoes), own: counted(own) });
      client.close();
      await client.closed;
    }
  },

  /** Much at once in both directions, while it would like to upgrade: it waits for its POST, and does not poll then. */
  async load() {
    const client = connect();
    await next(client, 'open');
    const rest = 'x'.repeat(100_000);
    for (let i = 0; i < 60; i += 1) client.write(`${i} ${rest}`);
    await until(() => client.messages.length === 60);
    record({ transport: client.transport.name, ...counted(client.messages.map((message) => parseInt(message, 10))) });
  },

  /** The server says a last word and closes, at any time of an upgrade. */
  async bow() {
    for (let delay = 0; delay < 24; delay += 1) {
      const client = connect();
      await next(client, 'open');
      if (delay >= 4) await sleep((delay - 4) / 2);
      client.write({ do: 'last' });
      const reason = await client.closed;
      record({ messages: client.messages, reason });
    }
  },

  /** The server goes and comes back; this client does not come back by itself. */
  async restart() {
    const client = await open();
    client.write({ do: 'restart' });
    record({ reason: await client.closed });
    for (let tries = 0; ; tries += 1) {
      const another = connect();
      const opened = await Promise.race([next(another, 'open').then(() => true), another.closed.then(() => false), next(another, 'error').then(() => false)]);
      if (opened) return record({ got: await ask(another, 'back') });
      if (tries > 100) throw new Error('it does not come back');
      await sleep(50);
    }
  },
};

main(async () => {
  record({ protocol: Socket.protocol, engineio: require(`${PACKAGES[generation]}/package.json`).version });
  await SCENARIOS[scenario]();
});
