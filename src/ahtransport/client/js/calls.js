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
    this._waiting = new Map(); // id → {answered, failed, sent}
  }

  /** Send an event. `answered` gets the answer, `failed` why there is none; both may be left out. */
  send(event, args, answered, failed) {
    const packet = { type: EVENT, data: [event, ...args] };
    if (answered) {
      this._last += 1;
      packet.id = this._last;
      this._waiting.set(packet.id, { answered, failed, sent: this._primus.readyState === Primus.OPEN });
    }
    this._primus.write(packet);
    return packet.id;
  }

  /** Carry an event on a wire that knows events. */
  carry(wire, { data: [event, ...args], id }) {
    wire.emit(event, args, id ? (...answer) => this._answer(id, answer) : undefined);
  }

  /** A message came: true when it was an event that somebody listens to, or an answer that is waited for. */
  take(data, reply) {
    if (!data || !Array.isArray(data.data) || (data.id && typeof data.id !== 'number')) return false;
    if (data.type === ACK) return this._answer(data.id, data.data);
    const primus = this._primus;
    if (!isEvent(data) || primus.reserved(data.data[0])) return false;
    const answer = reply || (data.id && ((...args) => primus.write({ type: ACK, data: args, id: data.id })));
    return primus.emit(...data.data, ...(answer ? [this._once(answer)] : []));
  }

  /** What waits to be sent is on its way now. */
  sent() {
    this._waiting.forEach((call) => { call.sent = true; });
  }

  /** The connection is gone; the next one can't answer what was asked on this one. */
  lost() {
    this._waiting.forEach(({ sent }, id) => {
      if (sent) this.fail(id, new Error('The connection was lost before the answer came'));
    });
  }

  fail(id, error) {
    const call = this._waiting.get(id);
    this._waiting.delete(id);
    if (call && call.failed) call.failed(error);
  }

  _answer(id, answer) {
    const call = this._waiting.get(id);
    if (!call) return false;
    this._waiting.delete(id);
    try {
      call.answered(...answer);
    } catch (error) {
      throwLater(error);
    }
    return true;
  }

  /** A second answer is none. */
  _once(answer) {
    let done = false;
    return (...args) => {
      if (!done) answer(...args);
      done = true;
    };
  }
}
