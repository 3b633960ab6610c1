'use strict';
// Units of the generated client on Socket.IO, whose wire knows events and acknowledgements itself.

const { world, socket, test, assert } = require('./generated_units.cjs');
const { settle } = require('./generated_fakes.cjs');

const HANDSHAKE = { sid: 'S', upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000 };

/** Open what waits to be opened, as a server does. */
async function accept(clock) {
  await clock.advance(0);
  socket().accept();
  socket().say(`0${JSON.stringify(HANDSHAKE)}`);
  socket().say('40{"sid":"ID"}');
}

/** A client that is open, by WebSocket. */
async function opened(options) {
  const all = world();
  const client = all.connect({ transport: { transports: ['websocket'] }, ...options });
  await accept(all.clock);
  socket().sent.length = 0;
  all.names(); // forget what was told so far
  return { ...all, client };
}

test('socket.io: arguments of events are not made into text', async () => {
  const { client, events } = await opened();
  const heard = [];
  client.on('chat', (value) => heard.push(value));
  client.on('blob', (bytes) => heard.push(bytes.length));
  const { join } = Uint8Array.prototype; // by which bytes become text
  Object.getPrototypeOf(Uint8Array.prototype).join = () => assert.fail('bytes became text');
  try {
    socket().say('42["chat",{"toString":1,"valueOf":1}]');
    socket().say('451-["blob",{"_placeholder":true,"num":0}]');
    socket().say(new ArrayBuffer(1000));
  } finally {
    Object.getPrototypeOf(Uint8Array.prototype).join = join;
  }
  socket().say('42["primus::stale","0123456789ab"]');
  assert.deepEqual([heard, events.map(([event, , theirs]) => [event, theirs])], [[{ toString: 1, valueOf: 1 }, 1000], [['stale', '0123456789ab']]]);
});

test('socket.io: a message that is ended by who sees it raw is a message all the same', async () => {
  const { client, plain, events } = await opened();
  client.on('incoming::data', () => client.end());
  socket().say('42["message",{"a":1}]');
  assert.deepEqual([events.find(([event]) => event === 'data')[1], plain()], [{ a: 1 }, ['close', 'end', 'data']]);
});

test('socket.io: of calls that failed nothing is left in the wire', async () => {
  const { client, clock, events } = await opened({ timeout: 1000 });
  const seen = [];
  const call = (...args) => client.call(...args).catch((error) => seen.push(error.message));
  call('late');
  call('question', 1n);
  call('connect');
  client.send('disconnect', () => {});
  const answer = client.call('prompt');
  await clock.advance(0);
  assert.deepEqual(seen, ['Do not know how to serialize a BigInt', '"connect" is not for applications to emit']);
  assert.deepEqual(events.map(([event]) => event), ['error', 'error', 'error']);
  assert.deepEqual(socket().sent, ['421["late"]', '423["prompt"]']);
  socket().say('433["answer"]');
  assert.deepEqual([await answer, client.socket._acks.size, client._calls._waiting.size], ['answer', 1, 1]);
  await clock.advance(1000);
  assert.deepEqual([seen[2], client.socket._acks.size, client._calls._waiting.size], ['No answer to "late" came in time', 0, 0]);
  socket().say('431["too late"]');
  assert.equal(client.readyState, 3);
});

test('socket.io: who throws when told the id keeps nobody from hearing that it is open', async () => {
  const { connect, clock, plain } = world();
  const client = connect({ transport: { transports: ['websocket'] } });
  const ids = [];
  client.id(() => { throw new Error('mine'); }).id((id) => ids.push(id));
  await accept(clock);
  assert.deepEqual([plain(), ids], [['transport', 'open'], ['ID']]);
  await assert.rejects(clock.advance(0), /mine/); // reported as an uncaught error
});

test('socket.io: polling with credentials in the address', async () => {
  for (const extraHeaders of [undefined, { authorization: 'Bearer mine', 'X-Own': 'x' }]) {
    const asked = [];
    const fetch = (url, request) => {
      asked.push(new Request(url, request)); // throws when credentials are left in the address
      return new Promise(() => {});
    };
    const { connect, clock } = world();
    connect({ fetch, transport: { transports: ['polling'], extraHeaders } }, 'https://user:right@server.example');
    await clock.advance(0);
    const [{ url, headers }] = asked;
    assert.ok(url.startsWith('https://server.example/'), url);
    assert.equal(headers.get('Authorization'), extraHeaders ? 'Bearer mine' : 'Basic dXNlcjpyaWdodA==');
    assert.equal(headers.get('X-Own'), extraHeaders ? 'x' : null);
  }
});

test('socket.io: asked why it was refused with credentials in the address', async () => {
  for (const [credentials, expected] of [
    ['user:right', 'user:right'], ['user', 'user:'], ['us%40er:%C3%BC%3A%F0%9F%A6%A9', 'us@er:ü:🦩'], ['a:100%', 'a:100%'],
  ]) {
    const { clock, connect, plain, asked } = world({ answer: () => ({ ok: false, status: 401, text: async () => 'wrong password' }) });
    connect({ transport: { transports: ['websocket'] } }, `http://${credentials}@server.example:8080`);
    await clock.advance(0);
    assert.ok(socket().url.startsWith('ws://') && socket().url.includes('@server.example:8080/'));
    socket().fail();
    await settle();
    assert.deepEqual(plain(), ['error', 'refused', 'close', 'end']);
    const [{ url, options }] = asked;
    assert.equal(url, socket().url.replace('ws', 'http').replace(/[^/]*@/, ''));
    assert.equal(options.headers.get('Authorization'), `Basic ${Buffer.from(expected).toString('base64')}`);
    new Request(url); // throws when credentials are left in it
  }
});
