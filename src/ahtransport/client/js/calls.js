// Events with arguments and acknowledgements, in the wire format of the npm plug-in primus-emitter:
//   {"type": 0, "data": [event, …arguments], "id": n}   an event; the id where an answer is wanted
//   {"type": 1, "data": [… answer], "id": n}            the answer
// A wire that knows events itself (Socket.IO) carries them in its own way.

const EVENT = 0;
const ACK = 1;

function isEvent(data) {
  return Boolean(data) && data.type === EVENT && Array.isArray(data.data) && typeof data.data[0] === 'string';
}

class Calls {
  constructor(primus) {
    this._primus = primus;
    this._last = 0; // the last id; counted from 1, as in primus-emitter
    this._waiting = new Map(); // id → {answered, failed, fail, …}: see Messenger._track
  }

  /** Send an event. `answered` gets the answer, `failed` why there is none; both may be left out. */
  send(event, args, answered, failed) {
    const packet = { type: EVENT, data: [event, ...args] };
    if (answered) {
      this._last += 1;
      packet.id = this._last;
      const call = { answered, failed, fail: (error) => this.fail(packet.id, error) };
      this._waiting.set(packet.id, call);
      this._primus._track(packet, call);
    }
    if (!this._primus.write(packet)) this.fail(packet.id, new Error('This client was destroyed'));
    return packet.id;
  }

  /** Carry an event on a wire that knows events. */
  carry(wire, { data: [event, ...args], id }) {
    const forget = wire.emit(event, args, id ? (...answer) => this._answer(id, answer) : undefined);
    const call = this._waiting.get(id);
    if (call) call.forget = forget;
  }

  /** A message came: true when it was an event that somebody listens to, or an answer that is waited for. */
  take(data, reply) {
    if (!data || !Array.isArray(data.data) || (data.id && typeof data.id !== 'number')) return false;
    if (data.type === ACK) return this._answer(data.id, data.data);
    const primus = this._primus;
    if (!isEvent(data) || primus.reserved(data.data[0])) return false;
    let answer = reply || (data.id && ((...args) => primus.write({ type: ACK, data: args, id: data.id })));
    const once = (...args) => { // a second answer is none
      if (answer) answer(...args);
      answer = undefined;
    };
    return primus.emit(...data.data, ...(answer ? [once] : []));
  }

  /**
   * The connection is gone; the next one can't answer what was asked on this one. What is still with the transformers,
   * or in the buffer, goes on waiting, unless `all` is lost.
   */
  lost(all = false) {
    this._waiting.forEach((call) => {
      if (call.sent || all) call.fail(new Error('The connection was lost before the answer came'));
    });
  }

  fail(id, error) {
    const call = this._waiting.get(id);
    if (!call) return;
    this._waiting.delete(id);
    this._primus._withdraw(call);
    if (call.forget) call.forget(); // the wire, too
    if (call.failed) call.failed(error);
  }

  _answer(id, answer) {
    const call = this._waiting.get(id);
    if (!call) return false;
    this._waiting.delete(id);
    callSafely(() => call.answered(...answer));
    return true;
  }
}
