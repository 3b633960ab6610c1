'use strict';
// Units of the generated client: connecting, losing a connection, coming back, the queue, the page.

const { world, socket, refusal, test, assert } = require('./generated_units.cjs');
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

// -- refusal

test('refused: is told, with status and reason, and is the end', async () => {
  const { clock, connect, events, plain, asked } = world({ answer: () => refusal(401, { error: 'a token is required' }) });
  connect();
  await clock.advance(0);
  socket().fail();
  await settle();
  const [, [, error], [, refused]] = events;
  assert.deepEqual([error.message, error.status, error.refused], ['a token is required', 401, true]);
  assert.deepEqual(JSON.parse(JSON.stringify(refused)), { status: 401, reason: 'a token is required', data: { error: 'a token is required' } });
  assert.deepEqual(plain(), ['error', 'refused', 'close', 'end']);
  assert.equal(asked[0].url, socket().url.replace('ws', 'http'));
  assert.equal(asked[0].options.credentials, 'include');
  await clock.advance(1e6);
  assert.equal(sockets(), 1);
});

test('refused: in words that are no JSON', async () => {
  for (const [body, reason] of [['go away', 'go away'], ['"quoted"', 'quoted'], [{ message: 'm' }, 'm'], [[1], '[1]'], ['', 'The WebSocket failed']]) {
    const { clock, connect, events } = world({ answer: () => refusal(403, body) });
    connect();
    await clock.advance(0);
    socket().fail();
    await settle();
    assert.equal(events[1][1].message, reason);
  }
});

test('refused: not by what may pass', async () => {
  for (const status of [200, 302, 408, 425, 426, 429, 500, 503]) {
    const { clock, connect, plain } = world({ answer: () => refusal(status, '') });
    connect();
    await clock.advance(0);
    socket().fail();
    await settle();
    assert.deepEqual(plain(), ['error', 'reconnect scheduled'], status);
  }
});

test('refused: on the way back, too', async () => {
  const { clock, opened, plain } = world({ answer: () => refusal(403, 'expired') });
  await opened({ reconnect: { min: 100 } });
  socket().hangUp();
  await clock.advance(100);
  socket().fail();
  await settle();
  assert.deepEqual(plain(), ['close', 'reconnect scheduled', 'reconnect', 'error', 'refused', 'close', 'end']);
  await clock.advance(1e6);
  assert.equal(sockets(), 2);
});

test('refused: a client may insist', async () => {
  const { clock, connect, plain } = world({ answer: () => refusal(401, 'no') });
  connect({ 'retry refused': true, reconnect: { min: 100 } });
  await clock.advance(0);
  socket().fail();
  await settle();
  await clock.advance(100);
  socket().fail();
  await settle();
  await clock.advance(200);
  socket().accept();
  assert.deepEqual(plain(), [
    'error', 'refused', 'reconnect scheduled', 'reconnect', 'error', 'refused', 'reconnect scheduled', 'reconnect',
    'reconnected', 'transport', 'open',
  ]);
});

test('refused: ending while it is asked why', async () => {
  let signal;
  const { clock, connect, plain } = world({ answer: (url, options) => { ({ signal } = options); return new Promise(() => {}); } });
  const client = connect();
  await clock.advance(0);
  socket().fail();
  await settle();
  client.end();
  assert.equal(signal.aborted, true);
  await settle();
  assert.deepEqual(plain(), ['close', 'end']);
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

test('reconnect: listeners may end it at any point', async () => {
  const events = ['incoming::end', 'close', 'reconnect scheduled', 'outgoing::url', 'outgoing::open', 'reconnect', 'reconnected', 'reconnect timeout'];
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
  for (const [options, patience] of [[{ pingTimeout: false }, Infinity], [{ ping: 0, pong: 10000 }, 30000 + 10000], [{ ping: false }, 40000]]) {
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
