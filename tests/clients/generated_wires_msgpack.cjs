'use strict';
// The generated client's MessagePack alone, and beside npm notepack.io. (Loaded by generated_wires_units.cjs.)

const notepack = require('notepack.io');
const { assert, world, test } = require('./generated_wires_units.cjs');

const { encode, decode } = world().parsers.msgpack;
const hex = (value) => Buffer.from(encode(value)).toString('hex');
const from = (text) => decode(new Uint8Array(Buffer.from(text, 'hex')));

/** Numbers that look random, the same in each run. */
function generator(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const LENGTHS = [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536];

const INTEGERS = [0, 1, 7, 8, 15, 16, 31, 32, 33, 53].flatMap((bits) => [2 ** bits - 1, 2 ** bits, -(2 ** bits), -(2 ** bits) - 1])
  .filter((number) => Math.abs(number) <= Number.MAX_SAFE_INTEGER);

function randomValue(random, depth) {
  switch (random(depth > 4 ? 8 : 11)) {
    case 0: return null;
    case 1: return random(2) === 1;
    case 2: return INTEGERS[random(INTEGERS.length)];
    case 3: return random(2 ** 32) / (1 + random(1000));
    case 4: return -random(2 ** 32);
    case 5: return String.fromCodePoint(...Array.from({ length: random(40) }, () => random(3) ? random(0x80) : random(0xd800)));
    case 6: return Buffer.from(Array.from({ length: random(300) }, () => random(256)));
    case 7: return ['', '\u{1f9a9}', '__proto_', 'x'.repeat(random(300))][random(4)];
    case 8: return Array.from({ length: random(20) }, () => randomValue(random, depth + 1));
    default: return Object.fromEntries(Array.from({ length: random(20) }, (_, i) => [`key ${i} ${random(100)}`, randomValue(random, depth + 1)]));
  }
}

/** Uint8Array and Buffer are one to us. */
const plain = (value) => {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  return value;
};

test('MessagePack: values, there and back, also by notepack.io', () => {
  const random = generator(7);
  for (let i = 0; i < 300; i += 1) {
    const value = randomValue(random, 0);
    const bytes = encode(value);
    assert.deepEqual(decode(bytes), plain(value));
    assert.deepEqual(plain(notepack.decode(Buffer.from(bytes))), plain(value));
    assert.deepEqual(decode(notepack.encode(value)), plain(value));
  }
});

test('MessagePack: lengths', () => {
  for (const length of LENGTHS) {
    for (const value of ['é'.repeat(length), 'x'.repeat(length), new Uint8Array(length).fill(7), Array(length).fill(0)]) {
      assert.deepEqual(decode(encode(value)), value);
      assert.deepEqual(plain(notepack.decode(Buffer.from(encode(value)))), value);
    }
    const map = Object.fromEntries(Array.from({ length }, (_, i) => [`${i}`, i]));
    assert.deepEqual(decode(encode(map)), map);
  }
  for (const [value, expected] of [
    ['', 'a0'], ['x'.repeat(31), `bf${'78'.repeat(31)}`], ['x'.repeat(32), `d920${'78'.repeat(32)}`], [[], '90'], [{}, '80'], [new Uint8Array(0), 'c400'],
    [Array(15).fill(0), `9f${'00'.repeat(15)}`], [Array(16).fill(0), `dc0010${'00'.repeat(16)}`],
  ]) assert.equal(hex(value), expected);
});

test('MessagePack: numbers', () => {
  for (const number of INTEGERS) {
    assert.equal(decode(encode(number)), number);
    assert.equal(notepack.decode(Buffer.from(encode(number))), number);
    assert.equal(hex(number), notepack.encode(number).toString('hex')); // the shortest form
    assert.equal(hex(BigInt(number)), hex(number));
  }
  for (const number of [0.1, -1.5, 1e21, -(2 ** 60), 5e-324, Infinity, -Infinity, NaN, -0]) assert.ok(Object.is(decode(encode(number)), number), String(number));
  for (const text of ['9007199254740992', '9223372036854775807', '9223372036854775808', '18446744073709551615', '-9007199254740992', '-9223372036854775808']) {
    assert.equal(decode(encode(BigInt(text))), BigInt(text));
  }
  for (const text of ['18446744073709551616', '-9223372036854775809']) assert.throws(() => encode(BigInt(text)), RangeError);
  assert.deepEqual(['cf0000000000000001', 'd3ffffffffffffffff', 'ca3fc00000', 'd0ff', 'd1ff00', 'd2ffffff00', 'cc05', 'e0', 'ff'].map(from), [1, -1, 1.5, -1, -256, -256, 5, -32, -1]);
});

test('MessagePack: what JSON would make of it', () => {
  const values = [
    undefined, [undefined, () => {}, Symbol('x')], { a: undefined, b: () => {}, c: [] }, new Date(5), { when: new Date(0) }, [1, , 3], // eslint-disable-line no-sparse-arrays
    { toJSON: (key) => `called ${key}` }, { a: { toJSON: (key) => ({ key }) }, b: [{ toJSON: (key) => [key] }] }, { toJSON: () => undefined },
    { a: { toJSON: () => undefined }, b: { toJSON: () => () => {} }, c: 1 }, [{ toJSON: () => undefined }], { s: Symbol('x'), t: [Symbol('x')] },
    [new Number(5), new String('s'), new Boolean(false)], { a: new Number(1.5), b: { toJSON: () => new String('t') } }, // eslint-disable-line no-new-wrappers
    Object.create({ inherited: 1 }), Object.assign(Object.create(null), { own: 1 }), new (class Point { constructor() { this.x = 1; } })(),
  ];
  for (const value of values) assert.deepEqual(decode(encode(value)), JSON.parse(JSON.stringify(value) || 'null'));
  const own = { a: 1 };
  own.toJSON = () => own;
  assert.deepEqual(decode(encode(own)), { a: 1 });
  assert.deepEqual(decode(encode([Object(1n), { toJSON: () => Uint8Array.of(1) }])), [1, Uint8Array.of(1)]);
  const endless = [];
  endless.push(endless);
  assert.throws(() => encode(endless), RangeError);
});

test('MessagePack: bytes of all kinds', () => {
  const { buffer } = Uint8Array.of(0, 1, 2, 3);
  for (const [value, expected] of [
    [buffer, [0, 1, 2, 3]], [new Uint8Array(buffer, 1, 2), [1, 2]], [new DataView(buffer, 2), [2, 3]], [new Uint16Array(buffer, 2), [2, 3]], [Buffer.from([9]), [9]],
  ]) assert.deepEqual(decode(encode(value)), Uint8Array.from(expected));
  const source = encode([Uint8Array.of(1)]);
  const [copy] = decode(source);
  source.fill(0);
  assert.deepEqual(copy, Uint8Array.of(1));
  assert.deepEqual(decode(encode('x').buffer), 'x'); // an ArrayBuffer
  assert.deepEqual(decode(new Uint8Array([0, 0xa1, 0x78, 0]).subarray(1, 3)), 'x');
});

test('MessagePack: maps', () => {
  assert.deepEqual(decode(encode(new Map([['a', 1], [2, 'b'], [null, undefined], [true, 3]]))), { a: 1, 2: 'b', true: 3 });
  const tricky = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":1}}');
  const got = decode(encode(tricky));
  assert.deepEqual(Object.keys(got), ['__proto__', 'constructor']);
  assert.equal(Object.getPrototypeOf(got), Object.prototype);
  assert.equal(got.polluted ?? {}.polluted, undefined);
  assert.throws(() => from('819001')); // an array as a key
  assert.throws(() => from('8180c0'));
  assert.throws(() => from('81c40101c0'));
});

test('MessagePack: extension types', () => {
  for (const [text, ms] of [
    ['d6ff00000000', 0], ['d6ffffffffff', 1000 * (2 ** 32 - 1)], ['d7ff1dcd650000000001', 1125], ['d7ff00000003ffffffff', 1000 * (2 ** 34 - 1)],
    ['c70cff00000000ffffffffffffffff', -1000], ['c70cff3b9ac9ff0000000000000000', 999],
  ]) assert.deepEqual([from(text).getTime(), from(text).toJSON()], [ms, new Date(ms).toJSON()], text);
  const later = new Date(1700000000123);
  assert.equal(decode(notepack.encode(later)).getTime(), later.getTime());
  assert.deepEqual([decode(notepack.encode([undefined])), decode(notepack.encode(Uint8Array.of(1).buffer))], [[undefined], Uint8Array.of(1)]);
  for (const text of ['d40100', 'd5ff0000', 'c7020500ff', 'd8ff00000000000000000000000000000000', 'c701ff00']) assert.throws(() => from(text), text);
});

test('MessagePack: what is none', () => {
  for (const text of ['', 'c1', '0000', 'c000', 'a1', 'a1ff', 'a2c328', 'd9', 'd905', 'dbffffffff', 'c6ffffffff00', 'ddffffffff', 'dfffffffff', 'dc', '91', '81', '81a161', 'cf', 'd4', 'd6ff', 'c7', 'c9ffffffff00']) {
    assert.throws(() => from(text), undefined, text);
  }
  assert.throws(() => decode('\u0090'), TypeError);
  assert.throws(() => decode(new Uint8Array(1000000).fill(0x91))); // nested without end
  const random = generator(11);
  for (let i = 0; i < 40; i += 1) {
    const whole = encode([randomValue(random, 2), 'end']);
    for (let end = 0; end < Math.min(whole.length, 400); end += 1) {
      if (end < whole.length) assert.throws(() => decode(whole.subarray(0, end)));
    }
  }
  for (let i = 0; i < 3000; i += 1) { // whatever comes, it returns or throws
    const noise = Uint8Array.from({ length: random(30) }, () => random(256));
    try { decode(noise); } catch (error) { assert.ok(error instanceof Error); }
  }
});
