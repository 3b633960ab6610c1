'use strict';
// Engine.IO's wire alone: opening, packets, liveness, leaving. (Loaded by generated_wires_units.cjs.)

const { assert, world, last, settle, test, HANDSHAKE } = require('./generated_wires_units.cjs');

test('where it connects to', async () => {
  const { connect, network } = world();
  connect('engine.io', {}, { origin: 'https://server:8443', pathname: '/primus/', query: '' });
  connect('engine.io', { transports: ['websocket'] }, { origin: 'https://server:8443' });
  assert.equal(network.all.length, 0); // not before the constructor has returned
  await settle();
  assert.equal(network.get.url, 'https://server:8443/primus/?EIO=4&transport=polling');
  assert.equal(last().url, 'wss://server:8443/primus/?EIO=4&transport=websocket&a=b');
  await network.get.answer(`0${JSON.stringify({ ...HANDSHAKE, sid: 'S &' })}`);
  assert.equal(network.get.url, 'https://server:8443/primus/?EIO=4&transport=polling&sid=S%20%26');
});

test('credentials and headers', async () => {
  const { connect, network } = world();
  connect('engine.io');
  await settle();
  assert.equal(network.all[0].credentials, 'same-origin');
  connect('engine.io', { withCredentials: true, extraHeaders: { 'x-a': 'b' } });
  await settle();
  assert.deepEqual([network.all[1].credentials, network.all[1].headers], ['include', { 'x-a': 'b' }]);
  assert.equal(network.all[1].cache, 'no-store');
});

test('a handshake that is none', async () => {
  const broken = [
    '', '4hello', '0', '0[]', '0null', '0{', '0{}', '0"text"',
    ...[{ sid: '' }, { sid: 1 }, { upgrades: 'websocket' }, { pingInterval: -1 }, { pingTimeout: null, pingInterval: '' }, { pingTimeout: 'x' }]
      .map((part) => `0${JSON.stringify({ ...HANDSHAKE, ...part })}`).filter((text) => !text.includes('null')),
  ];
  for (const text of broken) {
    const { connect, network } = world();
    const client = connect('engine.io');
    await settle();
    await network.get.answer(text);
    assert.deepEqual([client.names(), network.open('GET').length], [['closed'], 0], text);
    const bySocket = connect('engine.io', { transports: ['websocket'] });
    await settle();
    last().accept();
    last().say(text);
    const { code, reason, error } = bySocket.end();
    assert.deepEqual([code, reason, error.message, bySocket.names()], [1002, 'parse error', 'parse error', ['closed']], text);
    assert.ok(last().closed);
  }
});

test('a packet that is none', async () => {
  for (const text of ['', '7', 'x', '3', '5', `0${JSON.stringify(HANDSHAKE)}`, 'b!!', 'b=', 'bAA=A']) {
    const { polling, socket, network } = world();
    const client = await polling();
    await network.get.answer(`4first\x1e${text}\x1e4last`);
    assert.deepEqual(client.names(), ['open', 'message', 'closed'], text);
    const other = await socket();
    last().say(text);
    assert.deepEqual([other.end().code, other.names()], [1002, ['open', 'closed']], text);
  }
});

test('messages of either kind', async () => {
  const { polling, socket, network } = world();
  const client = await polling();
  await network.get.answer('4\x1e4text\x1ebAQID\x1eb\x1e6\x1e4\u2028\ufeff');
  assert.deepEqual(client.log.slice(1), [
    ['message', ''], ['message', 'text'], ['message', Uint8Array.of(1, 2, 3)], ['message', new Uint8Array(0)], ['message', '\u2028\ufeff'],
  ]);
  const other = await socket();
  last().say(Uint8Array.of(1, 2).buffer);
  last().say('bAQ==');
  assert.deepEqual(other.log.slice(1), [['message', Uint8Array.of(1, 2)], ['message', Uint8Array.of(1)]]);
  other.wire.send('text');
  other.wire.send(Uint8Array.of(7));
  assert.deepEqual(last().sent, ['4text', Uint8Array.of(7)]);
});

test('refused, or failed', async () => {
  const cases = [
    [401, '{"error":"who are you?"}', { status: 401, reason: 'who are you?', data: { error: 'who are you?' } }],
    [400, '{"code":5,"message":"too old"}', { status: 400, reason: 'too old', data: { code: 5, message: 'too old' } }],
    [403, 'not you', { status: 403, reason: 'not you', data: undefined }],
    [404, `<html>${'x'.repeat(500)}`, { status: 404, reason: `<html>${'x'.repeat(194)}`, data: undefined }],
    [401, '', { status: 401, reason: '', data: undefined }],
    [403, 'null', { status: 403, reason: '', data: null }],
    [408, 'slow'], [425, ''], [426, ''], [429, '{"error":"too many"}'], [500, '{"error":"broken"}'], [503, 'later'],
  ];
  for (const [status, text, refused] of cases) {
    const { connect, network } = world();
    const client = connect('engine.io');
    await settle();
    await network.get.answer(text, status);
    const end = client.end();
    assert.deepEqual([end.refused, end.error.status, end.final, client.names()], [refused, status, false, ['closed']]);
  }
  const { connect, network } = world();
  const client = connect('engine.io');
  await settle();
  await network.get.fail('no network');
  assert.deepEqual([client.end().refused, client.end().reason, client.end().code], [undefined, 'no network', 1006]);
});

test('why a WebSocket was refused', async () => {
  const cases = [
    [401, '{"error":"no"}', true], [404, '', true], [400, '{"code":0,"message":"Transport unknown"}', true],
    [400, '{"code":3,"message":"Bad request"}', false], [400, 'Bad request', false], [426, '', false], [500, '', false], [200, '', false],
  ];
  for (const [status, text, isRefusal] of cases) {
    const { connect, network } = world();
    const client = connect('engine.io', { transports: ['websocket'] });
    await settle();
    last().fail('Unexpected server response');
    await settle();
    assert.equal(network.get.url, 'http://server/primus/?EIO=4&transport=websocket&a=b');
    await network.get.answer(text, status);
    const { refused } = client.end();
    assert.deepEqual([refused ? refused.status : 'failed', client.names()], [isRefusal ? status : 'failed', ['closed']], text);
  }
  const { connect, network } = world();
  const client = connect('engine.io', { transports: ['websocket'] });
  const blind = connect('engine.io', { transports: ['websocket'] }, { fetch: undefined });
  await settle();
  const [first, second] = [...new Set([last().constructor.all[0], last()])];
  first.fail();
  second.fail();
  await settle();
  await network.get.fail();
  for (const { refused, error } of [client.end(), blind.end()]) assert.deepEqual([refused, error.message], [undefined, 'the WebSocket could not be opened']);
});

test('a WebSocket that closes before the handshake', async () => {
  const { connect, network } = world();
  const client = connect('engine.io', { transports: ['websocket'] });
  await settle();
  last().accept();
  last().hangUp(1013, 'later');
  assert.deepEqual([client.end().code, client.end().reason, network.all.length], [1013, 'later', 0]);
});

test('polling where WebSockets fail', async () => {
  const { connect, network } = world();
  const client = connect('engine.io', { transports: ['websocket', 'polling'] });
  await settle();
  last().fail();
  await settle();
  await network.get.answer(`0${JSON.stringify(HANDSHAKE)}`);
  assert.deepEqual([client.names(), client.wire.transport, last().constructor.all.length], [['open'], 'polling', 1]); // no second try
});

test('what can be used', async () => {
  const refusing = function refusing() { throw new Error('a policy forbids it'); };
  const cases = [
    [{}, { fetch: undefined }, 'websocket'],
    [{}, { WebSocket: undefined }, 'polling'],
    [{ transports: ['websocket'] }, { websockets: false }, 'polling'],
    [{ transports: ['websocket'] }, { WebSocket: undefined }, 'no transport can be used here'],
    [{}, { fetch: undefined, WebSocket: undefined }, 'no transport can be used here'],
    [{ transports: ['polling'] }, { fetch: undefined }, 'no transport can be used here'],
    [{ transports: ['websocket'] }, { WebSocket: refusing }, 'a policy forbids it'],
  ];
  for (const [options, target, expected] of cases) {
    const { connect, network } = world();
    const client = connect('engine.io', options, target);
    await settle();
    const end = client.end();
    const used = network.all.length ? 'polling' : 'websocket';
    assert.equal(end ? end.error.message : used, expected);
  }
});

test('a server that does not answer', async () => {
  const { connect, network, clock } = world();
  const client = connect('engine.io');
  const hasty = connect('engine.io', { transports: ['websocket'], requestTimeout: 1000 });
  await clock.advance(999);
  assert.equal(hasty.end(), undefined);
  await clock.advance(1);
  assert.deepEqual([hasty.end().reason, Boolean(last().closed)], ['timeout', true]);
  await clock.advance(19000);
  assert.deepEqual([client.end().reason, network.open('GET').length, clock.timers.size], ['timeout', 0, 0]);
});

test('a server that falls silent', async () => {
  const { polling, clock, network, listeners } = world();
  const client = await polling({ upgrade: false });
  await clock.advance(40000);
  await network.get.answer('2');
  await network.post.answer('ok');
  await clock.advance(44999);
  assert.deepEqual(client.names(), ['open', 'heartbeat']);
  await clock.advance(1);
  assert.deepEqual([client.end().reason, client.end().code, network.open('GET').length], ['ping timeout', 1006, 0]);
  assert.deepEqual([clock.timers.size, listeners.size], [0, 0]);
});

test('timers that come late', async () => {
  const { socket, clock, listeners } = world();
  const client = await socket();
  clock.sleep(3600000); // the machine sleeps
  await clock.advance(0); // what came meanwhile is still to be delivered
  last().say('4still here');
  await clock.advance(44999);
  assert.deepEqual(client.names(), ['open', 'message']);
  clock.sleep(3600000);
  await clock.advance(4999);
  assert.deepEqual(client.names(), []);
  await clock.advance(1);
  assert.equal(client.end().reason, 'ping timeout');

  const other = await socket();
  clock.sleep(40000);
  listeners.get('visibilitychange')(); // somebody looks at the page: the server may still be there
  await clock.advance(4999);
  assert.deepEqual(other.names(), ['open']);
  clock.sleep(1000);
  listeners.get('online')();
  last().say('2');
  assert.deepEqual([other.names(), last().sent], [['heartbeat'], ['3']]);
  clock.sleep(-1000000); // somebody sets the clock back; timers don't mind
  clock.timers.forEach((timer) => { timer.at -= 1000000; });
  await clock.advance(49999);
  assert.deepEqual(other.names(), []);
  await clock.advance(1);
  assert.equal(other.end().reason, 'ping timeout');
});

test('timers that are always late do not keep the dead alive', async () => {
  const { socket, clock, listeners } = world();
  const client = await socket();
  for (let minute = 0; minute < 2; minute += 1) {
    clock.sleep(60000); // a tab in the background
    await clock.advance(0);
  }
  assert.equal(client.end().reason, 'ping timeout');

  const other = await socket();
  clock.sleep(60000);
  await clock.advance(2000);
  listeners.get('visibilitychange')(); // that it is looked at does not prolong what it is given
  await clock.advance(2999);
  assert.deepEqual(other.names(), ['open']);
  await clock.advance(1);
  assert.equal(other.end().reason, 'ping timeout');
});

test('intervals longer than a timer can wait', async () => {
  const { polling, clock, network } = world();
  const client = await polling({ upgrade: false }, { pingInterval: 1e12 });
  await clock.advance(1000000);
  assert.deepEqual([client.names(), network.get.over], [['open'], false]);
});

test('a POST or poll that fails', async () => {
  for (const [method, status] of [['get', 400], ['post', 400], ['post', 413], ['get', 502], ['post', 0]]) {
    const { polling, network } = world();
    const client = await polling({ upgrade: false });
    client.wire.send('x');
    await settle();
    if (status) await network[method].answer('{"code":1,"message":"Session ID unknown"}', status);
    else await network[method].fail();
    const end = client.end();
    assert.deepEqual([end.refused, end.code, end.error.status || 0, client.names()], [undefined, 1006, status, ['open', 'closed']]);
    assert.deepEqual([network.open('GET').length, network.open('POST').length], [0, 0]); // aborted
  }
});

test('one POST at a time, none too large', async () => {
  const { polling, network } = world();
  const { wire } = await polling({ upgrade: false }, { maxPayload: 10 });
  ['1', '2', 'ééé', '3', '12345678901234567890'].forEach((text) => wire.send(text));
  wire.send(Uint8Array.of(1, 2, 3)); // 5 bytes in base64
  wire.send('4567');
  const bodies = [];
  await settle();
  while (network.open('POST').length) {
    bodies.push(network.post.body.split('\x1e'));
    await network.post.answer('ok');
  }
  assert.deepEqual(bodies, [['41', '42'], ['4ééé', '43'], ['412345678901234567890'], ['bAQID'], ['44567']]);
});

test('closed by the server', async () => {
  const { polling, network } = world();
  const client = await polling({ upgrade: false });
  client.wire.send('x');
  await settle();
  await network.get.answer('4last\x1e1\x1e4more');
  assert.deepEqual([client.end().code, client.end().error, client.names()], [1000, undefined, ['open', 'message', 'closed']]);
  assert.equal(network.open('POST').length, 0);
});

test('the goodbye of a session that polls', async () => {
  const { polling, network, clock, listeners } = world();
  const client = await polling({ upgrade: false });
  client.wire.send('first');
  await settle();
  client.wire.send('second');
  client.wire.close();
  client.wire.send('third');
  const poll = network.get;
  assert.deepEqual([network.post.body, network.post.keepalive], ['4first', false]);
  await network.post.answer('ok');
  assert.deepEqual([network.post.body, network.post.keepalive, poll.over], ['4second\x1e1', true, false]);
  await poll.answer('4not heard any more');
  await network.post.answer('ok');
  assert.deepEqual([client.names(), network.all.filter(({ over }) => !over).length], [['open'], 0]);
  assert.deepEqual([clock.timers.size, listeners.size], [0, 0]);

  const stuck = await polling({ upgrade: false });
  stuck.wire.send('x'.repeat(70000));
  stuck.wire.close();
  await settle();
  assert.equal(network.post.keepalive, false); // too large for what browsers allow
  await clock.advance(5000);
  assert.deepEqual([stuck.names(), network.open('POST').length, network.open('GET').length], [['open'], 0, 0]);
});

test('the goodbye of a WebSocket', async () => {
  for (const [code, reason, expected] of [[1000, 'enough', { code: 1000, reason: 'enough' }], [3001, '', { code: 3001, reason: '' }], [1011, 'x', { code: undefined, reason: undefined }]]) {
    const { socket } = world();
    const client = await socket();
    client.wire.close(code, reason);
    assert.deepEqual([last().closed, client.names()], [expected, ['open']]);
    last().hangUp();
    client.wire.send('x');
    assert.deepEqual([client.names(), last().sent], [[], []]);
  }
  const { socket } = world();
  const client = await socket();
  const closes = [];
  last().close = (...args) => {
    closes.push(args);
    if (args.length) throw new SyntaxError('the reason is too long');
  };
  client.wire.close(1000, 'x'.repeat(200));
  assert.deepEqual(closes.map(({ length }) => length), [2, 0]);
});

test('closed before it is open', async () => {
  const { connect, network, clock } = world();
  const early = connect('engine.io');
  early.wire.close();
  const late = connect('engine.io');
  await settle();
  const request = network.get;
  late.wire.close();
  late.wire.close();
  await clock.advance(60000);
  assert.deepEqual([network.all.length, request.over, early.names(), late.names(), clock.timers.size], [1, true, [], [], 0]);
});

test('closed by a listener', async () => {
  const { wires, network } = world();
  for (const event of ['open', 'message', 'heartbeat']) {
    const wire = new wires['engine.io']({ origin: 'http://server', pathname: '/', fetch: network.fetch }, { [event]: () => wire.close() });
    await settle();
    await network.get.answer(`0${JSON.stringify(HANDSHAKE)}\x1e4text\x1e2\x1e4text`);
    await network.post.answer('ok');
    assert.equal(network.open('GET').length, 0, event);
  }
});
