// MessagePack, its specification of 2017.
//
// It carries what JSON would (toJSON is asked, properties that are undefined are left out, undefined elsewhere is null)
// and besides that bytes, NaN and the infinities, and 64-bit integers as BigInt where a number can't hold them. On the
// way in, timestamps become Dates, and what npm notepack.io has of its own (its type 0) is understood: undefined, dates,
// and bytes that are no Buffer.

const NOTHING = ['undefined', 'function', 'symbol']; // types that JSON leaves out

/** A value as JSON takes it: what toJSON says, if there is one, and a number for a Number. */
function plainly(given, key) {
  if (typeof given === 'number' || typeof given === 'string' || !given) return given;
  const isBytes = given instanceof ArrayBuffer || ArrayBuffer.isView(given);
  const value = !isBytes && typeof given.toJSON === 'function' ? given.toJSON(key) : given;
  const isBoxed = value instanceof Number || value instanceof String || value instanceof Boolean || value instanceof BigInt;
  return isBoxed ? value.valueOf() : value;
}

class Writer {
  constructor() {
    this._bytes = new Uint8Array(256);
    this._view = new DataView(this._bytes.buffer);
    this._size = 0;
  }

  finish() {
    return this._bytes.slice(0, this._size);
  }

  /** Make room for that many bytes; the offset at which they begin. */
  _room(count) {
    const at = this._size;
    this._size += count;
    if (this._size > this._bytes.length) {
      const larger = new Uint8Array(Math.max(this._size, 2 * this._bytes.length));
      larger.set(this._bytes);
      this._bytes = larger;
      this._view = new DataView(larger.buffer);
    }
    return at;
  }

  _byte(byte) {
    const at = this._room(1);
    this._bytes[at] = byte;
  }

  /** A first byte, and a number by the method of DataView's that writes so many bytes. */
  _number(first, method, size, number) {
    const at = this._room(1 + size);
    this._bytes[at] = first;
    this._view[method](at + 1, number);
  }

  /** A length: in the first byte if it is below `small`, else in 8 (where `first8` is one), 16 or 32 bits after it. */
  _length(length, small, fixed, first8, first16) {
    if (length < small) this._byte(fixed + length);
    else if (length < 0x100 && first8) this._number(first8, 'setUint8', 1, length);
    else if (length < 0x10000) this._number(first16, 'setUint16', 2, length);
    else this._number(first16 + 1, 'setUint32', 4, length);
  }

  _append(bytes) {
    const at = this._room(bytes.length);
    this._bytes.set(bytes, at);
  }

  _integer(number) {
    if (number >= 0) {
      if (number < 0x80) this._byte(number);
      else if (number < 0x100) this._number(0xcc, 'setUint8', 1, number);
      else if (number < 0x10000) this._number(0xcd, 'setUint16', 2, number);
      else if (number < 0x100000000) this._number(0xce, 'setUint32', 4, number);
      else this._number(0xcf, 'setBigUint64', 8, BigInt(number));
    } else if (number >= -0x20) this._byte(number + 0x100);
    else if (number >= -0x80) this._number(0xd0, 'setInt8', 1, number);
    else if (number >= -0x8000) this._number(0xd1, 'setInt16', 2, number);
    else if (number >= -0x80000000) this._number(0xd2, 'setInt32', 4, number);
    else this._number(0xd3, 'setBigInt64', 8, BigInt(number));
  }

  _bigint(number) {
    if (Number.isSafeInteger(Number(number))) this._integer(Number(number));
    else if (number === BigInt.asUintN(64, number)) this._number(0xcf, 'setBigUint64', 8, number);
    else if (number === BigInt.asIntN(64, number)) this._number(0xd3, 'setBigInt64', 8, number);
    else throw new RangeError('an integer must fit into 64 bits');
  }

  _binary(bytes) {
    this._length(bytes.length, 0, 0, 0xc4, 0xc5);
    this._append(bytes);
  }

  _text(text) {
    const bytes = new TextEncoder().encode(text);
    this._length(bytes.length, 0x20, 0xa0, 0xd9, 0xda);
    this._append(bytes);
  }

  _container(value) {
    if (Array.isArray(value)) {
      this._length(value.length, 16, 0x90, 0, 0xdc);
      for (let index = 0; index < value.length; index += 1) this.value(value[index], String(index));
      return;
    }
    const all = value instanceof Map ? [...value] : Object.keys(value).map((name) => [name, value[name]]);
    const entries = all.map(([name, item]) => [name, plainly(item, String(name))])
      .filter(([, item]) => !NOTHING.includes(typeof item));
    this._length(entries.length, 16, 0x80, 0, 0xde);
    entries.forEach(([name, item]) => {
      this.value(name);
      this._plain(item);
    });
  }

  value(given, key = '') {
    this._plain(plainly(given, key));
  }

  _plain(value) {
    switch (typeof value) {
      case 'string':
        this._text(value);
        break;
      case 'number':
        if (Number.isSafeInteger(value) && !Object.is(value, -0)) this._integer(value);
        else this._number(0xcb, 'setFloat64', 8, value);
        break;
      case 'boolean':
        this._byte(value ? 0xc3 : 0xc2);
        break;
      case 'bigint':
        this._bigint(value);
        break;
      case 'object':
        if (value === null) this._byte(0xc0);
        else if (value instanceof ArrayBuffer) this._binary(new Uint8Array(value));
        else if (ArrayBuffer.isView(value)) this._binary(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
        else this._container(value);
        break;
      default: // NOTHING, where it can't be left out
        this._byte(0xc0);
    }
  }
}

class Reader {
  constructor(bytes) {
    this._bytes = bytes;
    this._view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this._at = 0;
    this._utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  }

  /** Decode the one value that there must be. */
  all() {
    const value = this._value();
    if (this._at !== this._bytes.length) throw new RangeError('something follows the value');
    return value;
  }

  /** The offset of the next bytes, which are then behind us; reading past the end is DataView's error. */
  _skip(count) {
    const at = this._at;
    this._at += count;
    return at;
  }

  _uint(size) {
    const at = this._skip(size);
    return size === 1 ? this._view.getUint8(at) : size === 2 ? this._view.getUint16(at) : this._view.getUint32(at);
  }

  _wide(method) {
    const number = this._view[method](this._skip(8));
    return Number.isSafeInteger(Number(number)) ? Number(number) : number;
  }

  _take(length) {
    const at = this._skip(length);
    if (this._at > this._bytes.length) throw new RangeError('the value is cut off');
    return this._bytes.subarray(at, this._at);
  }

  _text(length) {
    return this._utf8.decode(this._take(length));
  }

  _array(length) {
    const array = [];
    for (let left = length; left; left -= 1) array.push(this._value());
    return array;
  }

  _map(length) {
    const map = {};
    for (let left = length; left; left -= 1) {
      const key = this._value();
      if (typeof key === 'object' && key !== null) throw new TypeError('a key can only be text or a number');
      const value = this._value();
      // Assigned, this one key would replace the prototype.
      if (key === '__proto__') Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
      else map[key] = value;
    }
    return map;
  }

  _extension(length, fixed) {
    const type = this._view.getInt8(this._skip(1));
    const data = this._take(length);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (type === -1 && length === 4) return new Date(1000 * view.getUint32(0));
    if (type === -1 && length === 8) {
      const seconds = (view.getUint32(0) % 4) * 0x100000000 + view.getUint32(4);
      return new Date(1000 * seconds + Math.floor(view.getUint32(0) / 4e6));
    }
    if (type === -1 && length === 12) {
      return new Date(1000 * Number(view.getBigInt64(4)) + Math.floor(view.getUint32(0) / 1e6));
    }
    if (type === 0 && !fixed) return new Uint8Array(data);
    if (type === 0 && length === 1) return undefined;
    if (type === 0 && length === 8) return new Date(Number(view.getBigInt64(0)));
    throw new TypeError(`extension type ${type} is not supported`);
  }

  _value() {
    const first = this._uint(1);
    if (first < 0x80) return first;
    if (first < 0x90) return this._map(first - 0x80);
    if (first < 0xa0) return this._array(first - 0x90);
    if (first < 0xc0) return this._text(first - 0xa0);
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return new Uint8Array(this._take(this._uint(1 << (first - 0xc4))));
      case 0xc7: case 0xc8: case 0xc9: return this._extension(this._uint(1 << (first - 0xc7)), false);
      case 0xca: return this._view.getFloat32(this._skip(4));
      case 0xcb: return this._view.getFloat64(this._skip(8));
      case 0xcc: case 0xcd: case 0xce: return this._uint(1 << (first - 0xcc));
      case 0xcf: return this._wide('getBigUint64');
      case 0xd0: return this._view.getInt8(this._skip(1));
      case 0xd1: return this._view.getInt16(this._skip(2));
      case 0xd2: return this._view.getInt32(this._skip(4));
      case 0xd3: return this._wide('getBigInt64');
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return this._extension(1 << (first - 0xd4), true);
      case 0xd9: case 0xda: case 0xdb: return this._text(this._uint(1 << (first - 0xd9)));
      case 0xdc: case 0xdd: return this._array(this._uint(2 << (first - 0xdc)));
      case 0xde: case 0xdf: return this._map(this._uint(2 << (first - 0xde)));
      default: throw new TypeError('a value can not begin with 0xc1');
    }
  }
}

parsers.msgpack = {
  /** Encode a value; the bytes. */
  encode(value) {
    const writer = new Writer();
    writer.value(value);
    return writer.finish();
  },

  /** Decode the value that a Uint8Array or an ArrayBuffer holds; throws when there is none, or more. */
  decode(data) {
    if (typeof data === 'string') throw new TypeError('MessagePack does not come as text');
    return new Reader(data instanceof ArrayBuffer ? new Uint8Array(data) : data).all();
  },
};
