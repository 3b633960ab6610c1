'use strict';
// Units of the generated client: emitter, options, addresses, transforms, events with answers.

const { world, socket, test, assert } = require('./generated_units.cjs');
const { FakeWebSocket, loadScript } = require('./generated_fakes.cjs');

// -- EventEmitter

test('emitter: on, once, off, context, order', () => {
  const { EventEmitter } = world().Primus;
  const emitter = new EventEmitter();
  const heard = [];
  const listener = function listener(...args) { heard.push([this, ...args]); };
  const context = {};
  emitter.on('a', listener).once('a', listener, context).addListener('b', listener);
  assert.equal(emitter.emit('a', 1, 2), true);
  assert.deepEqual(heard, [[emitter, 1, 2], [context, 1, 2]]);
  assert.equal(emitter.listenerCount('a'), 1);
  assert.deepEqual([...emitter.eventNames()], ['a', 'b']);
  assert.equal(emitter.emit('nobody'), false);
  emitter.off('a', listener);
  assert.equal(emitter.emit('a'), false);
  assert.deepEqual([...emitter.listeners('b')], [listener]);
  emitter.removeAllListeners('b');
  assert.equal(emitter.emit('b'), false);
  emitter.on('__proto__', listener).on('constructor', listener).removeAllListeners();
  assert.deepEqual([...emitter.eventNames()], []);
  assert.throws(() => emitter.on('a', 'no function'), /must be a function/);
});

test('emitter: what listeners change counts from the next time on', () => {
  const { EventEmitter } = world().Primus;
  const emitter = new EventEmitter();
  const heard = [];
  const second = () => heard.push('second');
  emitter.on('a', () => { heard.push('first'); emitter.off('a', second); emitter.on('a', () => heard.push('third')); });
  emitter.on('a', second);
  emitter.emit('a');
  assert.deepEqual(heard, ['first', 'second']);
  emitter.emit('a');
  assert.deepEqual(heard, ['first', 'second', 'first', 'third']);
});

test('emitter: once is once, even when the listener emits', () => {
  const { EventEmitter } = world().Primus;
  const emitter = new EventEmitter();
  let count = 0;
  emitter.once('a', () => { count += 1; emitter.emit('a'); });
  emitter.emit('a');
  emitter.emit('a');
  assert.equal(count, 1);
});

test('emitter: a listener that throws stops nobody, and is reported', async () => {
  const { Primus, clock } = world();
  const emitter = new Primus.EventEmitter();
  let heard = 0;
  emitter.on('a', () => { throw new Error('mine'); });
  emitter.on('a', () => { heard += 1; });
  assert.equal(emitter.emit('a'), true);
  assert.equal(heard, 1);
  await assert.rejects(clock.advance(1), /mine/);
});

// -- options and addresses

test('options: strategies', () => {
  const { connect } = world();
  const strategy = (value) => connect({ manual: true, strategy: value }).options.strategy;
  assert.equal(strategy(undefined), 'disconnect,online,timeout');
  assert.equal(strategy('dIsconNect , ONLINE'), 'disconnect,online');
  assert.equal(strategy(['online', 'Timeout']), 'online,timeout');
  assert.equal(strategy([]), 'disconnect,online,timeout');
  assert.equal(strategy(false), '');
  assert.equal(strategy(''), '');
});

test('options: reconnect, what says nothing, what is no number', () => {
  const { connect } = world();
  const { recovery } = connect({ manual: true, reconnect: { min: 'soon', max: 7000, retries: null, factor: undefined } });
  assert.deepEqual(
    [recovery.min, recovery.max, recovery.retries, recovery.factor, recovery['reconnect timeout']],
    [500, 7000, 10, 2, 30000],
  );
  assert.equal(connect({ manual: true, queueSize: null }).options.queueSize, Infinity);
});

test('constructor: without new, by connect, with an object, by a subclass', () => {
  const { Primus, exports } = world();
  const options = { manual: true, url: 'http://a.example' };
  assert.ok(Primus('http://a.example', { manual: true }) instanceof Primus); // eslint-disable-line new-cap
  assert.ok(Primus.connect('http://a.example', { manual: true }) instanceof Primus);
  assert.equal(new Primus(options).url.host, 'a.example');
  assert.equal(new Primus(new URL('http://b.example:81'), { manual: true }).url.port, '81');
  class Mine extends Primus {
    hello() { return 'hello'; }
  }
  const mine = new Mine(options);
  assert.equal(mine.hello(), 'hello');
  assert.ok(mine instanceof Primus && mine instanceof Primus.EventEmitter);
  assert.equal(exports.Primus, Primus);
  assert.deepEqual([Primus.OPENING, Primus.CLOSED, Primus.OPEN], [1, 2, 3]);
  assert.equal(Primus.prototype.pathname, '/primus');
  assert.match(Primus.prototype.version, /^\d+\.\d+/);
  assert.equal(typeof Primus.prototype.client, 'function');
  assert.equal(new Primus(options).transformer, 'websockets');
  assert.throws(() => new Primus('http://a.example', { transformer: 'carrier pigeon' }), /carrier pigeon.*websockets/);
  assert.throws(() => new Primus(), /address of the server/);
  assert.throws(() => new Primus('ftp://a.example'), /Not the address/);
});

test('address: where the WebSocket goes', async () => {
  const { clock, connect } = world();
  const goal = async (url, options) => {
    connect(options, url);
    await clock.advance(0);
    return socket().url.replace(/_primuscb=\w+/, '_primuscb=X').replace(/_client=[0-9a-f]{12}$/, '_client=Y');
  };
  assert.equal(await goal('http://a.example'), 'ws://a.example/primus?_primuscb=X&_client=Y');
  assert.equal(await goal('https://a.example:444/?a=b&a=c%20d'), 'wss://a.example:444/primus?a=b&a=c%20d&_primuscb=X&_client=Y');
  assert.equal(await goal('wss://u:p@a.example'), 'wss://u:p@a.example/primus?_primuscb=X&_client=Y');
  assert.equal(await goal('a.example:81'), 'ws://a.example:81/primus?_primuscb=X&_client=Y');
  assert.equal(await goal('http://[::1]:81', { pathname: '/other' }), 'ws://[::1]:81/other?_primuscb=X&_client=Y');
  const stamps = new Set();
  for (let i = 0; i < 5; i += 1) stamps.add((await goal('http://a.example')) && socket().url);
  assert.equal(stamps.size, 5);
});

test('address: outgoing::url may change it, transport goes to the WebSocket', async () => {
  const { clock, connect } = world();
  const client = connect({ transport: { headers: { cookie: 'a=b' } } });
  client.on('outgoing::url', (parts) => { parts.query += '&token=1'; parts.secure = true; });
  await clock.advance(0);
  assert.match(socket().url, /^wss:\/\/server\.example:8080\/primus\?.*&token=1$/);
  assert.deepEqual({ ...socket().options }, { headers: { cookie: 'a=b' } });
});

test('address: a page needs none', async () => {
  const { clock, Primus } = world({ inPage: true });
  const client = new Primus({ WebSocket: FakeWebSocket });
  await clock.advance(0);
  assert.match(socket().url, /^wss:\/\/page\.example\/primus\?/);
  assert.equal(client.url.host, 'page.example');
});

test('globals: a classic script gives Primus and the client', () => {
  const scope = loadScript(process.argv[2]);
  assert.equal(typeof scope.Primus, 'function');
  assert.equal(scope.ActionheroWebsocketClient.Primus, scope.Primus);
});

// -- transforms

test('transform: in order, dropping, asynchronous, failing', async () => {
  const { opened, events, clock } = world();
  const client = await opened();
  const said = () => socket().heard.splice(0);
  client.transform('outgoing', (packet) => { packet.data += 'a'; });
  client.transform('outgoing', (packet) => packet.data !== 'dropa');
  client.transform('outgoing', function callsBack(packet, next) {
    assert.equal(this, client);
    if (packet.data === 'faila') next(new Error('outgoing'));
    else if (packet.data === 'ignorea') next(undefined, false);
    else { packet.data += 'b'; next(); }
  });
  client.transform('outgoing', async (packet) => {
    await null;
    if (packet.data === 'rejectab') throw new Error('rejected');
    packet.data += 'c';
    return packet.data !== 'falseabc';
  });
  ['x', 'drop', 'fail', 'ignore', 'reject', 'false', 'y'].forEach((text) => assert.equal(client.write(text), true));
  await clock.advance(0);
  assert.deepEqual(said(), ['xabc', 'yabc']);
  assert.deepEqual(events.map(([event, error]) => [event, error.message]), [['error', 'outgoing'], ['error', 'rejected']]);
});

test('transform: incoming', async () => {
  const { opened, events } = world();
  const client = await opened();
  client.transform('incoming', (packet) => { packet.data = packet.data.inner; });
  client.transform('incoming', (packet) => { if (packet.data === 'throw') throw new Error('incoming'); });
  client.transform('incoming', (packet) => packet.data !== 'mine');
  ['a', 'mine', 'throw', 'b'].forEach((inner) => socket().say({ inner }));
  assert.deepEqual(events.map(([event, what]) => [event, what.message || what]), [['data', 'a'], ['error', 'incoming'], ['data', 'b']]);
  assert.equal(events[0][2], '{"inner":"a"}');
});

test('transform: there are two kinds', () => {
  const { Primus } = world();
  const client = new Primus('http://a.example', { manual: true });
  assert.throws(() => client.transform('sideways', () => {}), /Invalid transformer type/);
  assert.throws(() => client.transform('constructor', () => {}), /Invalid transformer type/);
  const errors = [];
  client.on('error', (error) => errors.push(error.message));
  assert.equal(client.transform('sideways', () => {}), client);
  assert.deepEqual(errors, ['Invalid transformer type']);
});

test('plug-ins: get the client and its options', () => {
  const { Primus } = world();
  const seen = [];
  Primus.prototype.ark.mine = function mine(...args) { seen.push([this, ...args]); };
  const client = new Primus('http://a.example', { manual: true, mine: { colour: 'red' } });
  assert.equal(seen.length, 1);
  assert.equal(seen[0][0], client);
  assert.equal(seen[0][1], client);
  assert.deepEqual(seen[0][2].mine, { colour: 'red' });
  assert.equal(client.plugin('mine'), Primus.prototype.ark.mine);
  assert.deepEqual(Object.keys(client.plugin()), ['mine']);
  assert.equal(client.plugin('other'), undefined);
});

test('emits: with and without a parser', () => {
  const { Primus } = world();
  const client = new Primus('http://a.example', { manual: true });
  const heard = [];
  client.on('mine', (...args) => heard.push(args));
  client.on('error', (error) => heard.push(error.message));
  client.emits('mine')(1, 2);
  client.emits('mine', 'bound')(1);
  client.emits('mine', (next, structure) => next(undefined, structure.data))({ data: 'parsed' });
  client.emits('mine', (next) => next())(1, 2);
  client.emits('mine', (next) => next(undefined, null))(1, 2);
  client.emits('mine', (next) => next(undefined, ['a', 'b']))(1);
  client.emits('mine', (next) => next(new Error('no')))(1);
  client.emits('mine', () => {})(1);
  assert.deepEqual(heard, [[1, 2], ['bound', 1], ['parsed'], [1, 2], [], ['a', 'b'], 'no']);
});

test('reserved: our names and no others', () => {
  const { Primus } = world();
  const client = new Primus('http://a.example', { manual: true });
  for (const name of ['open', 'data', 'reconnect failed', 'refused', 'stale', 'incoming::x', 'outgoing::data']) {
    assert.equal(client.reserved(name), true, name);
  }
  for (const name of ['news', 'constructor', '__proto__', 'xincoming::x']) assert.equal(client.reserved(name), false, name);
});

// -- events with answers

test('send: the wire format of primus-emitter', async () => {
  const { opened, events } = world();
  const client = await opened();
  const answers = [];
  assert.equal(client.send('news', 1, { a: 2 }), client);
  client.send('question', 'x', (...answer) => answers.push(answer));
  client.send('question', (...answer) => answers.push(answer));
  assert.deepEqual(socket().heard, [
    { type: 0, data: ['news', 1, { a: 2 }] },
    { type: 0, data: ['question', 'x'], id: 1 },
    { type: 0, data: ['question'], id: 2 },
  ]);
  socket().say({ type: 1, id: 2, data: ['b', 2] });
  socket().say({ type: 1, id: 1, data: [] });
  assert.deepEqual(answers, [['b', 2], []]);
  assert.deepEqual(events, []); // an answer is no message
  socket().say({ type: 1, id: 1, data: ['again'] });
  assert.deepEqual(events.map(([event, data]) => [event, data.data]), [['data', ['again']]]); // nobody asked for that one
  assert.equal(answers.length, 2);
});

test('on: events, and answers to them', async () => {
  const { opened, names } = world();
  const client = await opened();
  const heard = [];
  client.on('news', (...args) => heard.push(args));
  client.on('question', (a, b, reply) => { reply(a * b); reply('twice'); });
  socket().say({ type: 0, data: ['news', 1, 2] });
  socket().say({ type: 0, data: ['question', 6, 7], id: 5 });
  assert.deepEqual(heard, [[1, 2]]);
  assert.deepEqual(socket().heard, [{ type: 1, data: [42], id: 5 }]);
  assert.deepEqual(names(), []);
  // What nobody listens to, what is ours and what only looks like an event is a message.
  const odd = [{ type: 0, data: ['other'] }, { type: 0, data: ['open'] }, { type: 0, data: [] }, { type: 0, data: ['news'], id: 'x' },
    { type: 2, data: ['news'] }, { type: '0', data: ['news'] }, null, 'text', { data: 'news' }];
  odd.forEach((message) => socket().onmessage({ data: JSON.stringify(message) }));
  assert.deepEqual(names(), odd.map(() => 'data'));
  assert.equal(heard.length, 1);
});

test('call: a promise of the answer, or of what went wrong', async () => {
  const { clock, opened } = world();
  const client = await opened({ timeout: 1000 });
  const [one, many, none] = [client.call('one'), client.call('many', 1), client.call('none')];
  socket().say({ type: 1, id: 1, data: ['answer'] });
  socket().say({ type: 1, id: 2, data: [1, 2] });
  assert.equal(await one, 'answer');
  assert.deepEqual(await many, [1, 2]);
  const late = assert.rejects(none, /"none".*in time/);
  await clock.advance(1000);
  await late;
  const lost = assert.rejects(client.call('lost'), /connection was lost/);
  socket().hangUp();
  await lost;
});
