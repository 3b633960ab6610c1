'use strict';
// Socket.IO's wire alone, by both parsers. (Loaded by generated_wires_units.cjs.)

const { assert, world, last, settle, test, HANDSHAKE } = require('./generated_wires_units.cjs');

/** A wire whose Engine.IO session is open; `options` are its own. */
async function begun(options = {}) {
  const all = world();
  const client = all.connect('socket.io', { transports: ['websocket'], ...options });
  await settle();
  last().accept();
  last().say(`0${JSON.stringify(HANDSHAKE)}`);
  const say = (...messages) => messages.forEach((message) => last().say(typeof message === 'string' ? `4${message}` : message));
  return { ...all, ...client, say };
}

async function opened(options) {
  const client = await begun(options);
  const { namespace = '/' } = options || {};
  client.say(`0${namespace === '/' ? '' : `${namespace},`}{"sid":"ID"}`);
  last().sent.length = 0;
  client.log.length = 0;
  return client;
}

const bytes = (...values) => Uint8Array.of(...values).buffer;

test('how it connects', async () => {
  const cases = [
    [{}, '40'], [{ auth: { token: 'x' } }, '40{"token":"x"}'], [{ auth: null }, '40'], [{ auth: (tell) => tell({ a: 1 }) }, '40{"a":1}'],
    [{ auth: { token: Uint8Array.of(1, 2), buffer: Buffer.from([3]) } }, '40{"token":{"0":1,"1":2},"buffer":{"type":"Buffer","data":[3]}}'], // as npm has it
    [{ namespace: '/admin', auth: { a: 1 } }, '40/admin,{"a":1}'], [{ namespace: 'admin' }, '40/admin,'],
  ];
  for (const [options, expected] of cases) assert.deepEqual([(await begun(options)), last().sent][1], [expected]);
  const { log, say, wire } = await begun();
  wire.send('too early');
  wire.emit('too early', []);
  say('0{"sid":"ID","pid":"x"}');
  assert.deepEqual([log, last().sent.length], [[['open', { id: 'ID' }]], 1]);
});

test('refused by the server', async () => {
  for (const [packet, refused] of [
    ['4{"message":"not you","data":{"code":7}}', { status: 401, reason: 'not you', data: { code: 7 } }],
    ['4"not you"', { status: 401, reason: 'not you', data: undefined }],
    ['4{"message":"Invalid namespace"}', { status: 404, reason: 'Invalid namespace', data: undefined }],
  ]) {
    const { say, end, names } = await begun();
    say(packet);
    assert.deepEqual([end().refused, end().final, end().error.message, names()], [refused, false, refused.reason, ['closed']]);
    assert.ok(last().closed);
  }
});

test('what is written', async () => {
  const { wire } = await opened();
  const own = JSON.parse('{"__proto__":1,"a":{"_placeholder":true,"num":0}}');
  wire.send({ a: [1, null] });
  wire.send(undefined);
  wire.send(own);
  wire.emit('event', []);
  wire.emit('asks', ['x'], () => {});
  wire.emit('parts', [Uint8Array.of(1), { deep: [bytes(2), new DataView(bytes(0, 3, 4), 1), new Uint16Array([5])] }, Buffer.from([6])], () => {});
  wire.emit('dates', [new Date(0), { toJSON: () => 'own' }]);
  assert.deepEqual(last().sent, [
    '42["message",{"a":[1,null]}]', '42["message",null]', '42["message",{"__proto__":1,"a":{"_placeholder":true,"num":0}}]', '42["event"]', '421["asks","x"]',
    '455-2["parts",{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2},{"_placeholder":true,"num":3}]},{"_placeholder":true,"num":4}]',
    Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3, 4), Uint8Array.of(5, 0), Uint8Array.of(6),
    '42["dates","1970-01-01T00:00:00.000Z","own"]',
  ]);
  const endless = {};
  endless.self = endless;
  assert.throws(() => wire.send(endless));
  for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
    assert.throws(() => wire.emit(name, []), TypeError);
  }
  const other = await opened({ namespace: '/admin' });
  other.wire.emit('event', [bytes(1)], () => {});
  assert.deepEqual(last().sent, ['451-/admin,1["event",{"_placeholder":true,"num":0}]', Uint8Array.of(1)]);
});

test('what is read', async () => {
  const { say, log } = await opened();
  say('2["message",{"a":1}]', '2["message",1,2]', '2["message"]', '2["event",1]', '2[7,"x"]', '2["primus::stale","a","b"]');
  say('52-["parts",{"x":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]', bytes(1), bytes(2));
  say('51-["message",{"_placeholder":true,"num":0}]', bytes(3));
  assert.deepEqual(log.map((entry) => entry.slice(0, 3)), [
    ['message', { a: 1 }], ['message', [1, 2]], ['message', []], ['event', 'event', [1]], ['event', '7', ['x']],
    ['event', 'primus::stale', ['a', 'b']], ['event', 'parts', [{ x: Uint8Array.of(2) }, Uint8Array.of(1)]], ['message', Uint8Array.of(3)],
  ]);
  assert.deepEqual(log.filter(([, , , reply]) => reply), []);
});

test('keys that are names of a prototype', async () => {
  const { say, log } = await opened();
  say('51-["event",{"__proto__":{"_placeholder":true,"num":0},"constructor":{"__proto__":{"polluted":1}}}]', bytes(9));
  const [[, , [value]]] = log;
  assert.deepEqual(Object.keys(value), ['__proto__', 'constructor']);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(Object.getOwnPropertyDescriptor(value, '__proto__').value, Uint8Array.of(9));
  assert.equal({}.polluted, undefined);
});

test('answers', async () => {
  const { say, log, wire } = await opened();
  const got = [];
  wire.emit('a', [], (...answer) => got.push(['a', ...answer]));
  wire.emit('b', [], (...answer) => got.push(['b', ...answer]));
  say('32["second"]', '31[]', '31["again"]', '377["nobody asked"]', '61-2[{"_placeholder":true,"num":0}]', bytes(1));
  assert.deepEqual(got, [['b', 'second'], ['a']]);
  say('25["asks",1]', '26["message",2]');
  const [[, , , reply], [event, name, args, second]] = log;
  assert.deepEqual([event, name, args], ['event', 'message', [2]]); // an answer is wanted
  reply('yes', bytes(7));
  reply('twice');
  second();
  assert.deepEqual(last().sent.slice(2), ['461-5["yes",{"_placeholder":true,"num":0}]', Uint8Array.of(7), '436[]']);
});

test('a packet that is none, or may not come', async () => {
  const broken = [
    '', 'x', '7', '8["a"]', '2', '2[', '2{}', '2[]', '2[null]', '2[{"a":1}]', '2"text"', '2["connect"]', '2["disconnect"]', '2["newListener"]',
    '2/other,["a"]', '2/["a"]', '3["no id"]', '31{}', '3', '1{}', '1[]', '0{"sid":"again"}', '4{"message":"late"}', '2["a"]x', '2-1["a"]', '299999999999999999999["a"]',
    '5["a"]', '50-["a"]', '51["a"]', '51-["a"]', '51-["a",{"_placeholder":true,"num":1}]', '51-["a",{"_placeholder":true,"num":"0"}]', '51-["a",{"_placeholder":true}]',
    '52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', '51-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    '51-[{"_placeholder":true,"num":0}]', '51-{"_placeholder":true,"num":0}', '5-1-["a"]', '54000000000-["a",{"_placeholder":true,"num":0}]', bytes(1),
  ];
  for (const packet of broken) {
    const { say, end, names } = await opened();
    say(packet, '2["not heard"]');
    assert.deepEqual([names(), end(), Boolean(last().closed)], [['closed'], undefined, true], String(packet));
  }
  const { say, end } = await opened();
  say('51-["a",{"_placeholder":true,"num":0}]', '2["text meanwhile"]');
  assert.deepEqual([end().code, end().reason, end().final], [1002, 'parse error', false]);
  for (const packet of ['2["early"]', '31[]', '1', '0', '0[]', '0{}', '0{"sid":1}', '4', '41', '4[]', '0/other,{"sid":"x"}']) {
    const early = await begun();
    early.say(packet);
    assert.deepEqual(early.names(), ['closed'], packet);
  }
});

test('the end, from either side', async () => {
  const { say, end, names } = await opened();
  say('1', '2["not heard"]');
  assert.deepEqual([end().final, end().code, names()], [true, 1000, ['closed']]);
  const mine = await opened();
  mine.wire.close();
  mine.wire.send('x');
  mine.wire.emit('x', []);
  mine.say('2["not heard"]');
  assert.deepEqual([last().sent, Boolean(last().closed), mine.names()], [['41'], true, []]);
  const lost = await opened({ namespace: '/a' });
  last().hangUp(1006);
  assert.deepEqual([lost.end().code, lost.end().final, lost.names()], [1006, false, ['closed']]);
});

test('by MessagePack', async () => {
  const client = await begun({ parser: 'msgpack', auth: { token: 'x' }, namespace: '/a' });
  const { encode, decode } = client.parsers.msgpack;
  const say = (packet) => last().say(encode(packet).buffer);
  const sent = () => last().sent.splice(0).map(decode);
  assert.deepEqual(sent(), [{ type: 0, nsp: '/a', data: { token: 'x' } }]);
  say({ type: 0, nsp: '/a', data: { sid: 'ID' } });
  const answers = [];
  client.wire.emit('asks', [{ deep: [bytes(1), undefined] }], (...answer) => answers.push(answer));
  client.wire.send('plain');
  assert.deepEqual(sent(), [
    { type: 2, nsp: '/a', id: 1, data: ['asks', { deep: [Uint8Array.of(1), null] }] }, { type: 2, nsp: '/a', data: ['message', 'plain'] },
  ]);
  say({ type: 3, nsp: '/a', id: 1, data: [Uint8Array.of(2)] });
  say({ type: 2, nsp: '/a', id: null, data: ['message', { x: 1 }] });
  assert.deepEqual([answers, client.log.slice(1)], [[[Uint8Array.of(2)]], [['message', { x: 1 }]]]);
  say({ type: 1, nsp: '/a', data: null });
  assert.equal(client.end().final, true);
});

test('by MessagePack, packets that are none', async () => {
  const { parsers } = world();
  const { encode } = parsers.msgpack;
  const broken = [
    null, 1, [], {}, 'text', { type: 5, nsp: '/' }, { type: '2', nsp: '/', data: ['a'] }, { type: 2, data: ['a'] }, { type: 2, nsp: '/', data: {} },
    { type: 2, nsp: '/', data: ['a'], id: 1.5 }, { type: 2, nsp: '/', data: ['a'], id: -1 }, { type: 3, nsp: '/', data: [] }, { type: 2, nsp: '/b', data: ['a'] },
  ].map((value) => encode(value).buffer);
  for (const packet of [...broken, '2["text"]', bytes(0xc1), bytes(), bytes(0x81)]) {
    const client = await begun({ parser: 'msgpack' });
    last().say(encode({ type: 0, nsp: '/', data: { sid: 'ID' } }).buffer);
    client.say(packet);
    assert.deepEqual([client.end().code, client.names()], [1002, ['open', 'closed']]);
  }
});
