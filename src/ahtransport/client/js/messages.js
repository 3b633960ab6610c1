// What flows through a connection: messages, events and Primus' own control messages, both ways.

// Control messages are strings; what else begins with "primus::" is an ordinary message, as in Primus.
const CONTROL = /^primus::(ping|pong|server|id|stale)::([^]*)$/;

/**
 * Have a packet pass the transformers, one after the other: then it is `done(packet)`. One that says false drops it, and
 * one that fails, too, which is told as an error, also to the message's `call`.
 */
function transformMessage(primus, type, packet, done, call = {}) {
  const steps = primus.transformers[type].slice();
  const fail = (error) => primus._failed(error, call);
  const pass = () => {
    const step = steps.shift();
    if (!step) {
      done(packet);
      return;
    }
    const next = (error, answer) => {
      if (error) fail(error);
      else if (answer === false) call.sent = true; // for all that we know: a transformer may have its own way
      else pass();
    };
    let answer;
    try {
      answer = step.call(primus, packet, next);
    } catch (error) {
      fail(error);
      return;
    }
    if (step.length > 1) return; // it calls back
    if (answer && typeof answer.then === 'function') answer.then((result) => next(undefined, result), fail);
    else next(undefined, answer);
  };
  pass();
}

class Messenger extends EventEmitter {
  constructor() {
    super();
    this.buffer = []; // what was written too early
    this.transformers = { incoming: [], outgoing: [] };
    this.latency = 0; // ms of the last round trip of ours
    this._id = undefined;
    this._idWaiters = [];
    this._calls = new Calls(this);
    this._tracked = new WeakMap(); // messages that are to be answered, as they were written and as they are sent → call
    this._sentAway = false; // whether the server said not to come back
  }

  /** Send a message, or keep it until there is a connection. */
  write(data) {
    if (this.destroyed) return false;
    const call = this._callOf(data);
    transformMessage(this, 'outgoing', { data }, (packet) => this._write(packet.data, call), call);
    return true;
  }

  /** Send an event, for `connection.on(event)` on the server. A function as the last argument gets the answer. */
  send(event, ...args) {
    const answered = typeof args[args.length - 1] === 'function' ? args.pop() : undefined;
    this._calls.send(event, args, answered);
    return this;
  }

  /**
   * Send an event that is to be answered: a promise of the answer, an array when it is several values. It fails with
   * the connection, or after `timeout`.
   */
  call(event, ...args) {
    return new Promise((resolve, reject) => {
      let timer;
      const answered = (...answer) => {
        clearTimeout(timer);
        resolve(answer.length > 1 ? answer : answer[0]);
      };
      const failed = (error) => {
        clearTimeout(timer);
        reject(error);
      };
      const { timeout } = this.options;
      if (timeout) timer = wait(() => this._calls.fail(id, new Error(`No answer to "${event}" came in time`)), timeout);
      const id = this._calls.send(event, args, answered, failed);
    });
  }

  /** Call back with the connection's id on the server. */
  id(callback) {
    if (this._id !== undefined) {
      callback(this._id);
    } else {
      this._idWaiters.push(callback);
      if (this._isOpen() && this._idWaiters.length === 1) this._transmit('primus::id::');
    }
    return this;
  }

  /** Have every message changed or dropped on its way in ("incoming") or out ("outgoing"). */
  transform(type, transformer) {
    if (!Array.isArray(this.transformers[type])) return this.critical(new Error('Invalid transformer type'));
    this.transformers[type].push(transformer);
    return this;
  }

  /** Encode what is written: `done(error, packet)`. */
  encoder(data, done) {
    runParser('encode', data, done);
  }

  /** Decode what came: `done(error, data)`. */
  decoder(data, done) {
    runParser('decode', data, done);
  }

  // -- out

  /**
   * Remember whose a message is that is to be written. `call` gets `packet`, which is the message behind the transformers,
   * `sent` when it has left, and `over` when it is withdrawn. Its `fail(error)` is called when it can't be sent.
   */
  _track(data, call) {
    this._tracked.set(data, call);
  }

  /** Whose a message is; nothing is to be told of most of them. */
  _callOf(data) {
    return this._tracked.get(data) || {};
  }

  /** Something went wrong on a message's way. */
  _failed(error, call) {
    this.emit('error', error);
    if (call.fail) call.fail(error);
  }

  /** Nobody waits for the answer any more, so the message is not sent, unless it has been. */
  _withdraw(call) {
    call.over = true;
    const at = call.packet && !call.sent ? this.buffer.indexOf(call.packet) : -1;
    if (at >= 0) this.buffer.splice(at, 1);
  }

  _write(data, call) {
    if (this.destroyed || call.over) return;
    call.packet = data;
    if (typeof data !== 'object' || data === null) call.sent = true; // it can't be recognised later
    else if (call.fail) this._track(data, call);
    if (this._isOpen()) {
      this._transmit(data);
      return;
    }
    this.buffer.push(data);
    while (this.buffer.length > this.options.queueSize) {
      const lost = this.buffer.shift();
      this.emit('dropped', lost);
      const call = this._callOf(lost);
      if (call.fail) call.fail(new Error('Too much was waiting to be sent'));
    }
  }

  _flush() {
    const waiting = this.buffer.splice(0);
    // A listener may end it meanwhile: then the rest goes on waiting.
    const left = waiting.filter((data) => !this._isOpen() || this._transmit(data));
    if (!this.destroyed) this.buffer = left.concat(this.buffer);
    if (this._idWaiters.length && this._id === undefined && this._isOpen()) this._transmit('primus::id::');
  }

  _transmit(data) {
    const wire = this.socket;
    const { emits, values } = wire.constructor;
    const call = this._callOf(data);
    if (call.over) return;
    call.sent = true;
    const put = (packet) => {
      this.emit('outgoing::data', packet);
      wire.send(packet);
    };
    try {
      if (emits && isEvent(data)) this._calls.carry(wire, data);
      else if (values) put(data);
      else this.encoder(data, (error, packet) => (error ? this._failed(error, call) : put(packet)));
    } catch (error) {
      this._failed(error, call); // a wire that encodes by itself could not
    }
  }

  // -- in

  _receive(raw) {
    const { values } = this.socket.constructor; // a listener may end it
    this._liveness.heard();
    this.emit('incoming::data', raw);
    if (values) this._receiveValue(raw, raw);
    else this.decoder(raw, (error, data) => (error ? this.emit('error', error) : this._receiveValue(data, raw)));
  }

  _receiveValue(data, raw, text = data, reply) {
    const control = typeof text === 'string' && CONTROL.exec(text);
    if (control) this._control(control[1], control[2]);
    else {
      transformMessage(this, 'incoming', { data }, (packet) => {
        if (!this._calls.take(packet.data, reply)) this.emit('data', packet.data, raw);
      });
    }
  }

  /** An event came by a wire that knows events. */
  _receiveEvent(name, args, reply) {
    const data = { type: EVENT, data: [name, ...args] };
    this._receiveValue(data, data, typeof args[0] === 'string' && `${name}::${args[0]}`, reply);
  }

  _control(word, value) {
    const time = Number(value);
    if (word === 'ping') {
      this.online = true;
      this.emit('incoming::ping', time);
      if (!this._isOpen()) return; // a listener ended it
      this.emit('outgoing::pong', time);
      this._transmit(`primus::pong::${value}`);
    } else if (word === 'pong') {
      this.online = true;
      this.latency = Math.max(0, Date.now() - time);
      this.emit('incoming::pong', time);
    } else if (word === 'id') {
      this._identify(value);
    } else if (word === 'stale') {
      this.emit('stale', CONFIG.hash, value);
    } else if (value === 'close') { // the word is "server"
      this._sentAway = true;
    }
  }

  _identify(id) {
    this._id = id;
    this.emit('incoming::id', id);
    this._idWaiters.splice(0).forEach((callback) => callSafely(() => callback(id)));
  }

  /** Whether a message can go out now. While listeners hear of a loss there may be no wire any more. */
  _isOpen() {
    return this.readyState === Primus.OPEN && this.socket !== null;
  }
}

function runParser(method, data, done) {
  let result;
  try {
    result = parsers[PARSER][method](data);
  } catch (error) {
    done(error);
    return;
  }
  done(undefined, result);
}
