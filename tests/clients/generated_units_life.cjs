'use strict';
// Units of the generated client: connecting, losing a connection, coming back, ending.

const { world, socket, test, assert } = require('./generated_units.cjs');
const { FakeWebSocket, settle } = require('./generated_fakes.cjs');

const sockets = () => FakeWebSocket.all.length;

// -- connecting

test('open: what is told, in order', async () => {
  const { clock, connect, names } = world();
  const client = connect();
  assert.equal(client.readyState, 2);
  await clock.advance(0);
  assert.deepEqual(names(), ['readyStateChange opening']);
  assert.equal(client.readyState, 1);
  assert.equal(client.transport, undefined);
  socket().accept();
  assert.deepEqual(names(), ['readyStateChange open', 'transport', 'open']);
  assert.equal(client.readyState, 3);
  assert.equal(client.transport, 'websocket');
  assert.deepEqual([client.writable, client.readable, client.online], [true, true, true]);
  client.open(); // it is
  assert.equal(sockets(), 1);
});

test('open: by hand', async () => {
  const { clock, connect } = world();
  const client = connect({ manual: true });
  await clock.advance(1e6);
  assert.equal(sockets(), 0);
  assert.equal(client.end(), client); // nothing to end
  client.open();
  client.open();
  assert.equal(sockets(), 1);
});

test('open: before the client does it itself, and ended before that', async () => {
  const { clock, connect, plain } = world();
  connect().open();
  await clock.advance(100);
  assert.equal(sockets(), 1);
  connect().end();
  await clock.advance(100);
  assert.equal(sockets(), 1);
  assert.deepEqual(plain(), ['close', 'end']);
});

test('private events: what happens beneath', async () => {
  const { clock, connect } = world();
  const client = connect();
  const told = [];
  const events = ['outgoing::open', 'incoming::open', 'outgoing::data', 'incoming::data', 'incoming::ping', 'outgoing::pong',
    'incoming::id', 'incoming::end', 'outgoing::reconnect', 'outgoing::end'];
  events.forEach((event) => client.on(event, (value) => told.push([event, value])));
  await clock.advance(0);
  socket().accept();
  client.write('out');
  socket().say('"in"');
  socket().control('primus::ping::12');
  socket().control('primus::id::me');
  socket().hangUp(1001, 'away');
  client.open();
  client.end();
  assert.deepEqual(told.map(([event, value]) => (value === undefined ? event : [event, value])), [
    'outgoing::open', 'incoming::open', ['outgoing::data', '"out"'], ['incoming::data', '"in"'],
    ['incoming::data', '"primus::ping::12"'], ['incoming::ping', 12], ['outgoing::pong', 12], ['outgoing::data', '"primus::pong::12"'],
    ['incoming::data', '"primus::id::me"'], ['incoming::id', 'me'],
    ['incoming::end', { code: 1001, reason: 'away' }], 'outgoing::reconnect', 'outgoing::open', 'outgoing::end',
  ]);
});

test('timeout: the server never answers', async () => {
  const { clock, connect, plain, names } = world();
  connect({ timeout: 1000, reconnect: { min: 100 } });
  await clock.advance(999);
  assert.deepEqual(plain(), []);
  await clock.advance(1);
  assert.deepEqual(names(), ['timeout', 'readyStateChange end', 'reconnect scheduled']);
  assert.ok(socket().closed);
  await clock.advance(100);
  assert.deepEqual(plain(), ['reconnect']);
  connect({ timeout: 1000, strategy: 'disconnect' });
  await clock.advance(1000);
  assert.deepEqual(plain(), ['timeout', 'close', 'end']);
});

test('timeout: is over once it is open, or has failed', async () => {
  const { clock, opened, connect, plain } = world();
  await opened({ timeout: 1000, ping: false, pingTimeout: false });
  await clock.advance(5000);
  assert.deepEqual(plain(), []);
  connect({ timeout: 1000, reconnect: { min: 1e6 } });
  await clock.advance(0);
  socket().fail();
  await clock.advance(5000);
  assert.deepEqual(plain(), ['error', 'reconnect scheduled']);
});

test('timeout: a listener may decide otherwise', async () => {
  const { clock, connect, plain } = world();
  const client = connect({ timeout: 1000 });
  client.on('timeout', () => client.end());
  await clock.advance(1e5);
  assert.deepEqual(plain(), ['timeout', 'close', 'end']);
  const other = connect({ timeout: 1000, strategy: 'disconnect' });
  other.once('timeout', () => { other.end(); other.open(); });
  await clock.advance(1000);
  socket().accept();
  assert.deepEqual(plain(), ['timeout', 'close', 'end', 'transport', 'open']);
});

test('failure: tries again, then gives up', async () => {
  const { clock, connect, events, plain } = world();
  connect({ reconnect: { min: 100, retries: 2 } });
  await clock.advance(0);
  socket().fail('no route');
  await settle();
  assert.deepEqual(events[1][1].message, 'no route');
  assert.deepEqual(plain(), ['error', 'reconnect scheduled']);
  await clock.advance(100);
  socket().fail();
  await settle();
  await clock.advance(200);
  socket().fail();
  await settle();
  assert.deepEqual(plain(), ['reconnect', 'reconnect scheduled', 'reconnect', 'end', 'reconnect failed']);
  await clock.advance(1e6);
  assert.equal(sockets(), 3);
});

test('failure: without the strategy it is the end', async () => {
  const { clock, connect, plain } = world();
  const client = connect({ strategy: 'disconnect, online', reconnect: { min: 100 } });
  await clock.advance(0);
  socket().fail();
  await settle();
  assert.deepEqual(plain(), ['error', 'close', 'end']);
  client.open();
  socket().accept();
  assert.deepEqual(plain(), ['transport', 'open']);
});

test('failure: there is no WebSocket', async () => {
  const { clock, connect, events, plain } = world();
  connect({ WebSocket: undefined });
  await clock.advance(1e5);
  assert.match(events[1][1].message, /no WebSocket here/);
  assert.deepEqual(plain(), ['error', 'close', 'end']);
  connect({ WebSocket: class { constructor() { throw new Error('the page is secure'); } } });
  await clock.advance(1e5);
  assert.deepEqual(plain(), ['error', 'close', 'end']);
});

// -- losing a connection, and coming back

test('close: comes back, with what was told', async () => {
  const { clock, opened, events, names } = world();
  const client = await opened({ reconnect: { min: 100 } });
  socket().hangUp(1012, 'restart');
  assert.deepEqual({ ...events[1][1] }, { code: 1012, reason: 'restart' });
  assert.deepEqual([client.writable, client.readable], [false, false]);
  assert.deepEqual(names(), ['readyStateChange end', 'close', 'reconnect scheduled']);
  await clock.advance(100);
  socket().accept();
  assert.deepEqual(names(), ['readyStateChange opening', 'reconnect', 'reconnected', 'readyStateChange open', 'transport', 'open']);
  assert.deepEqual([client.writable, client.readable], [true, true]);
});

test('close: a connection that breaks with an error', async () => {
  const { opened, plain } = world();
  await opened();
  socket().fail('reset');
  assert.deepEqual(plain(), ['error', 'close', 'reconnect scheduled']);
});

test('close: without the strategy it is the end', async () => {
  const { clock, opened, plain } = world();
  await opened({ strategy: 'online,timeout' });
  socket().hangUp();
  await clock.advance(1e6);
  assert.deepEqual(plain(), ['close', 'end']);
});

test('close: the server says not to come back', async () => {
  const { clock, opened, plain } = world();
  const client = await opened();
  socket().control('primus::server::close');
  assert.deepEqual(plain(), []); // it is not a message, either
  socket().fail('reset'); // then it does not matter how
  await clock.advance(1e6);
  assert.deepEqual(plain(), ['close', 'end']);
  client.open();
  socket().accept();
  socket().hangUp();
  assert.deepEqual(plain(), ['transport', 'open', 'close', 'reconnect scheduled']);
});

test('reconnect: an attempt has its time', async () => {
  const { clock, opened, names } = world();
  await opened({ reconnect: { min: 100, 'reconnect timeout': 1000 } });
  socket().hangUp();
  await clock.advance(100);
  names();
  const late = socket();
  await clock.advance(1000);
  assert.deepEqual(names(), ['readyStateChange end', 'reconnect timeout', 'reconnect scheduled']);
  assert.ok(late.closed);
  await clock.advance(200);
  socket().accept();
  assert.deepEqual(names(), ['readyStateChange opening', 'reconnect', 'reconnected', 'readyStateChange open', 'transport', 'open']);
});

test('reconnect: open does not wait', async () => {
  const { opened, plain } = world();
  const client = await opened({ reconnect: { min: 1e6 } });
  socket().hangUp();
  client.open();
  socket().accept();
  assert.deepEqual(plain(), ['close', 'reconnect scheduled', 'reconnect', 'reconnected', 'transport', 'open']);
});

test('reconnect: opened by who hears that an attempt failed', async () => {
  for (const [event, fails] of [['reconnect timeout', false], ['readyStateChange', false], ['readyStateChange', true]]) {
    const { clock, opened, names } = world();
    const client = await opened({ reconnect: { min: 100, 'reconnect timeout': 1000 } });
    socket().hangUp();
    await clock.advance(100);
    client.once(event, () => client.open());
    if (fails) socket().fail();
    await clock.advance(1000);
    assert.equal(sockets(), 3, event);
    socket().accept();
    names();
    await clock.advance(20000); // nothing is left of the attempt before
    assert.deepEqual([client.readyState, client.recovery.reconnecting(), names(), sockets()], [3, false, [], 3], event);
    client.destroy();
  }
});

test('reconnect: listeners may end it at any point', async () => {
  const events = ['incoming::end', 'close', 'reconnect scheduled', 'outgoing::reconnect', 'outgoing::url', 'outgoing::open', 'reconnect', 'reconnected', 'reconnect timeout'];
  for (const [event, way] of events.flatMap((name) => [[name, 'end'], [name, 'destroy']])) {
    const { clock, opened } = world();
    const client = await opened({ reconnect: { min: 100, 'reconnect timeout': 1000 } });
    client.once(event, () => client[way]());
    socket().hangUp();
    await clock.advance(100);
    if (event === 'reconnected') socket().accept();
    await clock.advance(1000);
    assert.equal(socket().closed !== undefined || socket().readyState === 3, true, event);
    const before = sockets();
    await clock.advance(1e7);
    assert.equal(sockets(), before, event);
    assert.deepEqual([client.readyState, client.recovery.reconnecting(), clock.timers.size], [2, false, 0], event);
  }
});

// -- ending

test('reconnect: ended, destroyed or opened by who hears that it is about to begin', async () => {
  const acts = {
    end: [2, 0, ['end']],
    destroy: [2, 0, ['end', 'destroy']],
    open: [1, 1, []],
    bounce: [1, 1, ['end']],
  };
  for (const [act, [state, opened, told]] of Object.entries(acts)) {
    const all = world();
    const client = await all.opened({ reconnect: { min: 100 } });
    const before = sockets();
    client.once('outgoing::reconnect', () => (act === 'bounce' ? client.end().open() : client[act]()));
    socket().hangUp();
    all.plain();
    await all.clock.advance(100);
    assert.deepEqual([client.readyState, sockets() - before, all.plain()], [state, opened, told], act);
    await all.clock.advance(9000);
    assert.equal(sockets() - before, opened, act);
  }
});

test('end: a last message, and nothing after it', async () => {
  const { clock, opened, names } = world();
  const client = await opened();
  assert.equal(client.end('the last word'), client);
  assert.deepEqual(socket().heard, ['the last word']);
  assert.deepEqual({ ...socket().closed }, { code: 1000, reason: '' });
  assert.deepEqual(names(), ['readyStateChange end', 'close', 'end']);
  client.end();
  await clock.advance(1e6);
  assert.deepEqual(names(), []);
  assert.equal(clock.timers.size, 0);
});

test('end: nothing of the connection before is heard', async () => {
  const { opened, plain } = world();
  const client = await opened();
  const old = socket();
  const { onmessage, onclose } = old;
  client.end();
  client.open();
  onmessage({ data: '"late"' });
  onclose({ code: 1000 });
  old.onmessage({ data: '"late"' });
  old.onerror({});
  old.onclose({ code: 1000 });
  assert.deepEqual(plain(), ['close', 'end']);
  assert.equal(client.readyState, 1);
});

test('end: and opened again by the first who hears of it', async () => {
  const { opened } = world();
  const client = await opened();
  client.once('readyStateChange', () => client.open());
  client.end();
  socket().accept();
  assert.deepEqual([client.readyState, sockets()], [3, 2]);
});

test('end: by a listener of the server\'s question', async () => {
  const { opened, plain } = world();
  const client = await opened();
  client.on('incoming::ping', () => client.end());
  socket().control('primus::ping::1');
  assert.deepEqual([plain(), socket().heard], [['close', 'end'], []]);
});

test('end: while it waits to come back', async () => {
  const { clock, opened, plain } = world();
  const client = await opened();
  socket().hangUp();
  client.end();
  assert.deepEqual(plain(), ['close', 'reconnect scheduled', 'end']);
  assert.equal(clock.timers.size, 0);
});

test('destroy: lets go of everything', async () => {
  const { clock, opened, plain, count } = world({ inPage: true });
  const client = await opened();
  const listening = count();
  const call = assert.rejects(client.call('question'));
  client.write('kept?');
  assert.equal(client.destroy(), true);
  await call;
  assert.deepEqual(plain(), ['close', 'end', 'destroy']);
  assert.deepEqual([client.destroy(), client.write('x'), client.eventNames().length, clock.timers.size], [false, false, 0, 0]);
  assert.deepEqual([listening, count()], [3, 0]);
  assert.throws(() => client.open(), /destroyed/);
});

test('destroy: in spite of a listener that opens it again', async () => {
  const { clock, opened } = world();
  const client = await opened();
  client.on('end', () => client.open());
  client.destroy();
  assert.deepEqual(FakeWebSocket.all.map(({ closed }) => Boolean(closed)), [true, true]);
  assert.deepEqual([client.readyState, clock.timers.size], [2, 0]);
});
