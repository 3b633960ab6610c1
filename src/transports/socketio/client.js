// Socket.IO, protocol 5, on top of Engine.IO: one namespace, events, acknowledgements, binary parts.
//
// A packet is an Engine.IO message: a digit for the kind, the number of binary parts and "-" where there are some, the
// namespace and "," unless it is "/", an id where an acknowledgement is wanted or given, then JSON. Binary parts follow
// as messages of their own; in the JSON {"_placeholder": true, "num": n} stands where they belong. With the option
// parser = "msgpack" a packet is one binary message (npm socket.io-msgpack-parser).

const EngineIO = wires['engine.io'];

const CONNECT = 0;
const DISCONNECT = 1;
const EVENT = 2;
const ACK = 3;
const CONNECT_ERROR = 4;
const BINARY = 3; // what is added to EVENT and ACK when binary parts follow

// Events that would look like the other side's own.
const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];

const HEADER = /^([0-4]|[56]([0-9]{1,10})-)(?:(\/[^,]*)(?:,|$))?([0-9]{1,15})?/;

const isBytes = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether there may be binary parts in a value; JSON.stringify with a replacer finds them, but takes its time. */
function mayHaveBytes(value) {
  if (typeof value !== 'object' || value === null) return false;
  if (isBytes(value) || typeof value.toJSON === 'function') return true;
  return Array.isArray(value) ? value.some(mayHaveBytes) : Object.keys(value).some((key) => mayHaveBytes(value[key]));
}

/** Whether a packet holds what its kind may hold. */
function fits({ type, nsp, id, data }) {
  if (typeof nsp !== 'string' || (id !== undefined && !(Number.isSafeInteger(id) && id >= 0))) return false;
  switch (type) {
    case CONNECT: return isObject(data) && typeof data.sid === 'string';
    case DISCONNECT: return data === undefined;
    case EVENT: return Array.isArray(data) && (typeof data[0] === 'number'
      || (typeof data[0] === 'string' && !RESERVED.includes(data[0])));
    case ACK: return Array.isArray(data) && id !== undefined;
    case CONNECT_ERROR: return isObject(data) || typeof data === 'string';
    default: return false;
  }
}

function check(packet) {
  if (!fits(packet)) throw new TypeError('the packet is malformed');
  return packet;
}

/** Where the placeholders of parsed JSON are: the holder and key of each, by number. */
function findPlaceholders(data, count) {
  const places = new Map();
  const walk = (holder) => Object.keys(holder).forEach((key) => {
    const value = holder[key];
    if (isObject(value) && value._placeholder === true) places.set(value.num, [holder, key]);
    else if (typeof value === 'object' && value !== null) walk(value);
  });
  walk(data);
  for (let number = 0; number < count; number += 1) {
    if (!places.has(number)) throw new TypeError('an attachment has no place');
  }
  if (places.size !== count) throw new TypeError('attachments are missing');
  return places;
}

/** The default parser. */
class TextCodec {
  constructor() {
    this._incomplete = undefined; // {packet, places, count} while attachments are missing
  }

  /** A packet as messages. */
  encode({ type, nsp, id, data }) {
    const attachments = [];
    const replace = function replace(key, value) {
      const original = this[key]; // before toJSON, which Node's buffers have
      if (!isBytes(original)) return value;
      const bytes = original instanceof ArrayBuffer ? new Uint8Array(original)
        : new Uint8Array(original.buffer, original.byteOffset, original.byteLength);
      return { _placeholder: true, num: attachments.push(bytes) - 1 };
    };
    // What is said on connecting has no attachments: bytes are whatever JSON makes of them.
    const mayAttach = type === EVENT || type === ACK;
    const text = data === undefined ? '' : JSON.stringify(data, mayAttach && mayHaveBytes(data) ? replace : undefined);
    const head = attachments.length ? `${type + BINARY}${attachments.length}-` : String(type);
    return [head + (nsp === '/' ? '' : `${nsp},`) + (id === undefined ? '' : id) + text, ...attachments];
  }

  /** The packet that a message completes, if it does. Throws if it is none. */
  decode(message) {
    if (typeof message !== 'string') return this._attach(message);
    const header = HEADER.exec(message);
    if (this._incomplete || !header) throw new TypeError('the packet is malformed');
    const [all, kind, attachments, nsp = '/', id] = header;
    const text = message.slice(all.length);
    const count = Number(attachments || 0);
    const packet = check({
      type: Number(kind[0]) - (attachments === undefined ? 0 : BINARY),
      nsp,
      id: id === undefined ? undefined : Number(id),
      data: text === '' ? undefined : JSON.parse(text),
    });
    if (attachments === undefined) return packet;
    if (!count) throw new TypeError('a binary packet without attachments');
    this._incomplete = { packet, places: findPlaceholders(packet.data, count), count, got: 0 };
    return undefined;
  }

  _attach(value) {
    const waiting = this._incomplete;
    if (!waiting) throw new TypeError('an attachment without a packet');
    const [holder, key] = waiting.places.get(waiting.got);
    // Not assigned: a key may be "__proto__".
    Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true });
    waiting.got += 1;
    if (waiting.got < waiting.count) return undefined;
    this._incomplete = undefined;
    return check(waiting.packet);
  }
}

/** Packets as npm socket.io-msgpack-parser has them. */
const MessagePackCodec = {
  encode: (packet) => [parsers.msgpack.encode(packet)],
  decode: (message) => {
    const { type, nsp, id, data } = parsers.msgpack.decode(message);
    return check({ type, nsp, id: id === null ? undefined : id, data: data === null ? undefined : data });
  },
};

class SocketIO {
  constructor(target, events) {
    const options = target.options || {};
    this._events = events;
    this._auth = options.auth;
    this._namespace = (options.namespace || '/').replace(/^(?!\/)/, '/');
    this._codec = options.parser === 'msgpack' ? MessagePackCodec : new TextCodec();
    this._open = false;
    this._acks = new Map(); // callbacks by the id of their event
    this._lastId = 0;
    this._engine = new EngineIO(target, {
      open: () => this._connect(),
      message: (message) => this._receive(message),
      transport: (name) => this._open && this._tell('transport', name),
      heartbeat: () => this._tell('heartbeat'),
      closed: (info) => this._end(info),
    });
  }

  /** "websocket" or "polling": what carries it now. */
  get transport() {
    return this._engine.transport;
  }

  /** Send a value, as the event "message". */
  send(value) {
    this._write(EVENT, ['message', value]);
  }

  /**
   * Send an event; `ack` is called with what the server answers. Throws a TypeError for a reserved name.
   *
   * Gives a function that forgets `ack`, for when nobody waits for the answer any more.
   */
  emit(name, args, ack) {
    if (RESERVED.includes(name)) throw new TypeError(`"${name}" is not for applications to emit`);
    if (ack) this._lastId += 1;
    const id = ack ? this._lastId : undefined;
    this._write(EVENT, [name, ...args], id); // throws what can't be encoded
    if (ack && this._open) this._acks.set(id, ack);
    return () => this._acks.delete(id);
  }

  /** Leave, and hang up; no event follows. */
  close(code, reason) {
    this._write(DISCONNECT);
    this._leave(code, reason);
  }

  _leave(code, reason) {
    this._open = false;
    this._events = {};
    this._acks.clear();
    this._engine.close(code, reason);
  }

  _connect() {
    const go = (auth) => this._put({ type: CONNECT, nsp: this._namespace, data: auth === null ? undefined : auth });
    if (typeof this._auth === 'function') this._auth(go);
    else go(this._auth);
  }

  _write(type, data, id) {
    if (this._open) this._put({ type, nsp: this._namespace, id, data });
  }

  _put(packet) {
    this._codec.encode(packet).forEach((message) => this._engine.send(message));
  }

  _receive(message) {
    let packet;
    try {
      packet = this._codec.decode(message);
      if (packet && (packet.nsp !== this._namespace || this._open === (packet.type === CONNECT || packet.type === CONNECT_ERROR))) {
        throw new TypeError('the packet may not come now');
      }
    } catch (error) {
      this._end({ code: 1002, reason: 'parse error', final: false, error });
      return;
    }
    if (packet) this._act(packet);
  }

  _act({ type, id, data }) {
    if (type === CONNECT) {
      this._open = true;
      this._tell('open', { id: data.sid });
    } else if (type === EVENT) {
      this._event(String(data[0]), data.slice(1), id);
    } else if (type === ACK) {
      const ack = this._acks.get(id);
      this._acks.delete(id);
      if (ack) ack(...data);
    } else if (type === DISCONNECT) {
      this._end({ code: 1000, reason: 'server namespace disconnect', final: true });
    } else {
      const reason = typeof data === 'string' ? data : String(data.message || '');
      // The status does not travel; only the server itself says this when there is no such namespace.
      const refused = { status: reason === 'Invalid namespace' ? 404 : 401, reason, data: data.data };
      this._end({ code: 1006, reason, refused, final: false, error: new Error(reason) });
    }
  }

  _event(name, args, id) {
    if (name === 'message' && id === undefined) {
      this._tell('message', args.length === 1 ? args[0] : args);
      return;
    }
    let answered = id === undefined;
    const reply = (...answer) => {
      if (!answered) this._write(ACK, answer, id);
      answered = true;
    };
    if (this._events.event) this._events.event(name, args, id === undefined ? undefined : reply);
  }

  _end(info) {
    const { closed } = this._events;
    this._leave();
    if (closed) closed(info);
  }

  _tell(name, value) {
    if (this._events[name]) this._events[name](value);
  }
}

SocketIO.values = true;
SocketIO.emits = true;
SocketIO.heartbeats = true;

wires['socket.io'] = SocketIO;
