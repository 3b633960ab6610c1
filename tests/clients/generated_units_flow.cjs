'use strict';
// Units of the generated client: the queue, messages, heartbeats, the page.

const { world, socket, test, assert } = require('./generated_units.cjs');
const { FakeWebSocket, settle } = require('./generated_fakes.cjs');

const sockets = () => FakeWebSocket.all.length;

// -- the queue

test('queue: what is written too early arrives in order, before anything else', async () => {
  const { clock, connect } = world();
  const client = connect();
  [1, 2, 3].forEach((number) => client.write(number));
  client.on('open', () => client.write('open'));
  await clock.advance(0);
  client.write(4);
  socket().accept();
  assert.deepEqual(socket().heard, [1, 2, 3, 4, 'open']);
  client.end();
  client.write(5);
  client.open();
  socket().accept();
  assert.deepEqual(socket().heard, [5, 'open']);
});

test('queue: is written to while listeners hear of the loss', async () => {
  const { clock, opened } = world();
  const client = await opened({ reconnect: { min: 100 } });
  ['incoming::end', 'close', 'reconnect scheduled', 'reconnect', 'reconnected'].forEach((event) => {
    client.on(event, () => client.write(event));
  });
  socket().hangUp();
  await clock.advance(100);
  socket().accept();
  assert.deepEqual(socket().heard, ['incoming::end', 'close', 'reconnect scheduled', 'reconnect', 'reconnected']);
});

test('queue: what is left of it when it is ended on the way waits for the next connection', async () => {
  for (const end of [(client) => client.end(), (client) => client.end().open()]) {
    const { clock, connect } = world();
    const client = connect({ queueSize: 3 });
    const answer = client.call('question');
    client.write(undefined); // can't be sent
    client.write('last');
    client.id(() => {});
    client.once('error', () => {
      end(client);
      client.write('later');
    });
    await clock.advance(0);
    const lost = assert.rejects(answer, /connection was lost/);
    socket().accept();
    await lost;
    assert.deepEqual([FakeWebSocket.all[0].heard, client.buffer], [[{ type: 0, data: ['question'], id: 1 }], ['last', 'later']]);
    client.open();
    socket().accept();
    assert.deepEqual(socket().heard, ['last', 'later', 'primus::id::']);
  }
});

test('queue: a bounded one drops the oldest, and says so', async () => {
  const { clock, connect, events } = world();
  const client = connect({ queueSize: 2 });
  const fails = assert.rejects(client.call('first'), /Too much/);
  client.write('second');
  client.write('third');
  client.write('fourth');
  await fails;
  assert.deepEqual(JSON.parse(JSON.stringify(events)), [['dropped', { type: 0, data: ['first'], id: 1 }], ['dropped', 'second']]);
  await clock.advance(0);
  socket().accept();
  assert.deepEqual(socket().heard, ['third', 'fourth']);
});

test('queue: none at all', async () => {
  const { clock, connect, events } = world();
  const client = connect({ queueSize: 0 });
  client.write('lost');
  assert.deepEqual(events, [['dropped', 'lost']]);
  await clock.advance(0);
  socket().accept();
  assert.deepEqual(socket().heard, []);
});

test('queue: calls that wait in it fail when nothing will ever be sent', async () => {
  const { connect } = world();
  const client = connect({ timeout: 0 });
  const fails = assert.rejects(client.call('question'), /connection was lost/);
  client.destroy();
  await fails;
});

test('queue: calls that wait in it outlive the connection before', async () => {
  const { opened } = world();
  const client = await opened();
  socket().hangUp();
  const call = client.call('question');
  client.open();
  socket().accept();
  assert.deepEqual(socket().heard, [{ type: 0, data: ['question'], id: 1 }]);
  socket().say({ type: 1, id: 1, data: ['answer'] });
  assert.equal(await call, 'answer');
  socket().hangUp();
  const lost = assert.rejects(client.call('question'), /connection was lost/);
  client.open();
  socket().accept();
  socket().hangUp();
  await lost;
});

/** What becomes of a promise: undefined while it waits. */
function watch(promise) {
  const seen = {};
  promise.then((value) => { seen.value = value; }, (error) => { seen.error = error.message; });
  return seen;
}

test('queue: a call that is made while a loss is told outlives attempts that fail', async () => {
  const { clock, opened } = world();
  const client = await opened({ reconnect: { min: 100 }, timeout: 0 });
  let seen;
  client.once('incoming::end', () => { seen = watch(client.call('question')); });
  socket().hangUp();
  await clock.advance(100);
  socket().fail();
  await clock.advance(200);
  assert.deepEqual([seen, client.buffer.length], [{}, 1]);
  socket().accept();
  assert.deepEqual(socket().heard, [{ type: 0, data: ['question'], id: 1 }]);
  socket().say({ type: 1, id: 1, data: ['answer'] });
  await settle();
  assert.deepEqual(seen, { value: 'answer' });
});

test('queue: a call whose transformer takes its time outlives the connection', async () => {
  const { clock, opened } = world();
  const client = await opened({ timeout: 1000 });
  const waiting = [];
  client.transform('outgoing', (packet, next) => waiting.push(() => { packet.data = { wrapped: packet.data }; next(); }));
  const seen = watch(client.call('question'));
  socket().hangUp();
  client.open();
  socket().accept();
  assert.deepEqual([await settle(), seen, socket().heard], [undefined, {}, []]);
  waiting.shift()();
  assert.deepEqual(socket().heard, [{ wrapped: { type: 0, data: ['question'], id: 1 } }]);
  socket().hangUp(); // this time it was sent
  await settle();
  assert.match(seen.error, /connection was lost/);
  const kept = watch(client.call('kept'));
  await clock.advance(1000);
  assert.match(kept.error, /in time/);
  client.open();
  socket().accept();
  waiting.shift()();
  assert.deepEqual([socket().heard, client.buffer], [[], []]);
});

test('queue: a call that nobody waits for any more is taken out', async () => {
  const { clock, opened } = world();
  const client = await opened({ timeout: 1000, reconnect: { min: 1e6 } });
  client.transform('outgoing', (packet) => { packet.data = { wrapped: packet.data }; });
  socket().hangUp();
  const seen = watch(client.call('question'));
  client.write('message');
  await clock.advance(1000);
  assert.deepEqual([seen, client.buffer], [{ error: 'No answer to "question" came in time' }, [{ wrapped: 'message' }]]);
});

test('queue: a call that becomes a text on its way is lost like any other', async () => {
  const { opened } = world();
  const client = await opened({ timeout: 0 });
  client.transform('outgoing', (packet) => { packet.data = JSON.stringify(packet.data); });
  const seen = watch(client.call('question'));
  socket().hangUp();
  await settle();
  assert.match(seen.error, /connection was lost/);
});

test('queue: a call that is given up while others leave', async () => {
  const { clock, connect } = world();
  const client = connect();
  client.write('first');
  const seen = watch(client.call('question'));
  client.write('last');
  client.once('outgoing::data', () => client._calls.fail(1, new Error('given up')));
  await clock.advance(0);
  socket().accept();
  assert.deepEqual([socket().heard, client.buffer], [['first', 'last'], []]);
  assert.deepEqual([await settle(), seen], [undefined, { error: 'given up' }]);
});

test('queue: a call that a transformer keeps is lost with the connection', async () => {
  const { opened } = world();
  const client = await opened({ timeout: 0 });
  client.transform('outgoing', () => false);
  const seen = watch(client.call('question'));
  socket().hangUp();
  await settle();
  assert.match(seen.error, /connection was lost/);
});

// -- messages

test('messages: what cannot be encoded or decoded is an error, and nothing more', async () => {
  const { opened, events, names } = world();
  const client = await opened();
  const loop = {};
  loop.loop = loop;
  [loop, undefined, () => {}].forEach((value) => client.write(value));
  ['', '{', 'nope'].forEach((text) => socket().say(text));
  assert.deepEqual(events.map(([event, error]) => [event, typeof error.message]), Array(6).fill(['error', 'string']));
  names();
  socket().say(new TextEncoder().encode('"bytes"').buffer);
  socket().say('primus::unknown::x'.replace(/.*/, '"$&"'));
  assert.deepEqual(events.map(([, data]) => data), ['bytes', 'primus::unknown::x']);
  assert.equal(client.readyState, 3);
});

test('messages: a call that cannot be sent fails at once', async () => {
  const { clock, opened, connect } = world();
  const client = await opened({ timeout: 1000 });
  const early = connect({ timeout: 1000 });
  const later = watch(early.call('early', 1n));
  await clock.advance(0);
  socket().accept();
  client.transform('outgoing', ({ data }) => { if (data.data[0] === 'forbidden') throw new Error('not this'); });
  const seen = [watch(client.call('question', 1n)), watch(client.call('forbidden'))];
  client.send('question', 1n, () => {});
  early.destroy();
  seen.push(watch(early.call('question')));
  await settle();
  assert.deepEqual(seen.map(({ error }) => error), ['Do not know how to serialize a BigInt', 'not this', 'This client was destroyed']);
  assert.deepEqual([later, client._calls._waiting.size], [seen[0], 0]);
});

test('messages: without a listener for errors they are not thrown', async () => {
  const { Primus, clock } = world();
  const client = new Primus('http://a.example', { WebSocket: FakeWebSocket });
  await clock.advance(0);
  socket().accept();
  socket().say('{');
  client.write(undefined);
  await clock.advance(0);
});

test('id: is asked for once, and again on another connection', async () => {
  const { clock, connect } = world();
  const client = connect();
  const ids = [];
  const ask = () => client.id((id) => ids.push(id));
  assert.equal(ask(), client);
  ask();
  await clock.advance(0);
  socket().accept();
  ask();
  assert.deepEqual(socket().heard, ['primus::id::']);
  socket().control('primus::id::first');
  ask();
  assert.deepEqual(ids, Array(4).fill('first'));
  socket().hangUp();
  ask();
  client.open();
  socket().accept();
  socket().hangUp(); // before it answered
  client.open();
  socket().accept();
  socket().control('primus::id::third');
  assert.deepEqual(ids.slice(4), ['third']);
});

test('stale: the server has another client by now', async () => {
  const { opened, events } = world();
  await opened();
  socket().control('primus::stale::0123456789ab');
  assert.match(events[0][1], /^[0-9a-f]{12}$/);
  assert.equal(events[0][2], '0123456789ab');
});

// -- heartbeats

test('heartbeat: the server asks', async () => {
  const { opened, names } = world();
  await opened();
  socket().control('primus::ping::1795386962653');
  assert.deepEqual(socket().heard, ['primus::pong::1795386962653']);
  assert.deepEqual(names(), []);
});

test('heartbeat: we ask, and hear nothing', async () => {
  const { clock, opened, names, plain } = world();
  const client = await opened({ ping: 1000, pong: 300, reconnect: { min: 100 } });
  await clock.advance(1000);
  const [ping] = socket().heard;
  const pongs = [];
  client.on('incoming::pong', (time) => pongs.push(time));
  assert.equal(ping, `primus::ping::${clock.now}`);
  await clock.advance(50);
  socket().control(ping.replace('ping', 'pong'));
  assert.deepEqual([client.latency, pongs], [50, [clock.now - 50]]);
  await clock.advance(1299);
  assert.deepEqual(names(), []);
  const old = socket();
  await clock.advance(1);
  assert.deepEqual(names(), ['offline', 'readyStateChange end', 'close', 'reconnect scheduled']);
  assert.ok(old.closed);
  assert.equal(client.online, false);
  await clock.advance(100);
  socket().accept();
  assert.deepEqual(plain(), ['reconnect', 'reconnected', 'online', 'transport', 'open']);
});

test('heartbeat: who ends it when we ask is not asked again', async () => {
  const { clock, opened, plain, fire } = world({ inPage: true });
  const client = await opened({ ping: 1000, pong: 300 });
  client.on('outgoing::data', () => client.end());
  await clock.advance(1e6);
  assert.deepEqual(plain(), ['close', 'end']);
  client.open();
  socket().accept();
  fire('document', 'visibilitychange');
  await clock.advance(1e6);
  assert.deepEqual(plain(), ['transport', 'open', 'close', 'end']);
});

test('heartbeat: we ask, and wait for ever', async () => {
  const { clock, opened, names } = world();
  await opened({ ping: 1000, pong: 0 });
  await clock.advance(5500);
  assert.deepEqual([names(), socket().heard.length], [[], 3]);
});

test('heartbeat: pingTimeout, as in Primus 7 and 8', async () => {
  const { clock, opened, plain } = world();
  await opened({ pingTimeout: 1000 });
  for (let i = 0; i < 5; i += 1) {
    await clock.advance(900);
    socket().control('primus::ping::1');
  }
  await clock.advance(999);
  assert.deepEqual(plain(), []);
  await clock.advance(1);
  assert.deepEqual(plain(), ['offline', 'close', 'reconnect scheduled']);
});

test('heartbeat: none, or the server\'s alone', async () => {
  for (const [options, patience] of [[{ pingTimeout: false }, Infinity], [{ ping: 0, pong: 10000 }, 30000 + 10000], [{ ping: false }, 40000],
    [{ ping: 0, pong: 0 }, Infinity]]) {
    const { clock, opened, plain } = world();
    await opened(options);
    await clock.advance(patience === Infinity ? 1e8 : patience - 1);
    assert.deepEqual([plain(), socket().heard], [[], []]);
    await clock.advance(1);
    assert.deepEqual(plain(), patience === Infinity ? [] : ['offline', 'close', 'reconnect scheduled']);
  }
});

// -- the page

test('page: offline and online', async () => {
  const { clock, opened, plain, fire } = world({ inPage: true });
  const client = await opened({ reconnect: { min: 100 } });
  fire('window', 'offline');
  fire('window', 'offline');
  assert.deepEqual(plain(), ['offline', 'close', 'end']);
  await clock.advance(1e6);
  assert.equal(sockets(), 1);
  fire('window', 'online');
  fire('window', 'online');
  assert.deepEqual(plain(), ['online', 'reconnect scheduled']);
  await clock.advance(100);
  socket().accept();
  assert.deepEqual(plain(), ['reconnect', 'reconnected', 'transport', 'open']);
  client.end();
  plain();
  fire('window', 'offline');
  fire('window', 'online');
  await clock.advance(1e6);
  assert.deepEqual(plain(), ['offline', 'online']); // who ended it does not want it back
});

test('page: online hurries what waits', async () => {
  const { opened, plain, fire } = world({ inPage: true });
  await opened({ reconnect: { min: 1e6 }, ping: 1000, pong: 300 });
  fire('window', 'online'); // is there still somebody?
  assert.deepEqual(socket().heard.length, 1);
  socket().hangUp();
  fire('window', 'offline');
  assert.deepEqual(plain(), ['close', 'reconnect scheduled', 'offline', 'end']);
  fire('window', 'online');
  assert.deepEqual(plain(), ['online', 'reconnect scheduled']);
});

test('page: without the strategy "online", or without looking at the network', async () => {
  const { clock, opened, plain, fire } = world({ inPage: true });
  await opened({ strategy: 'disconnect' });
  fire('window', 'offline');
  fire('window', 'online');
  await clock.advance(1e6);
  assert.deepEqual(plain(), ['offline', 'close', 'end', 'online']);
  const other = world({ inPage: true });
  await other.opened({ network: false });
  other.fire('window', 'offline');
  assert.deepEqual(other.plain(), []);
});

test('page: it begins without a network', async () => {
  const place = world({ inPage: true });
  place.navigator.onLine = false;
  const client = place.connect({ reconnect: { min: 1e6 } });
  assert.equal(client.online, false);
  await place.clock.advance(0);
  socket().fail();
  await settle();
  assert.deepEqual(place.plain(), ['error', 'reconnect scheduled']);
  place.fire('window', 'online');
  socket().accept();
  assert.deepEqual(place.plain(), ['online', 'reconnect', 'reconnected', 'transport', 'open']);
});

test('page: a client that nobody opened stays so', async () => {
  const { clock, connect, plain, fire } = world({ inPage: true });
  connect({ manual: true });
  fire('window', 'offline');
  fire('window', 'online');
  await clock.advance(1e6);
  assert.deepEqual([plain(), sockets()], [['offline', 'online'], 0]);
});

test('page: is looked at again', async () => {
  const { clock, opened, fire, document, plain } = world({ inPage: true });
  await opened({ ping: 1e6, pong: 1e5 });
  document.visibilityState = 'hidden';
  fire('document', 'visibilitychange');
  assert.equal(socket().heard.length, 0);
  document.visibilityState = 'visible';
  fire('document', 'visibilitychange');
  assert.equal(socket().heard.length, 1);
  await clock.advance(3000);
  assert.deepEqual(plain(), ['offline', 'close', 'reconnect scheduled']);
});
