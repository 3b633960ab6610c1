// Engine.IO, protocol 4, as a browser speaks it: polling through fetch, a move to WebSocket by probe, or WebSocket from
// the start.
//
// What carries it   next
// ---------------   -------------------------------------------------------------------------------------------------
// polls, POSTs      a WebSocket asks ("2probe"); polls and POSTs go on meanwhile
// they run dry      the server agreed ("3probe"): no new poll or POST begins, what is sent waits
// a WebSocket       the last poll and POST were answered: "5", then what waited
// nothing           closed
//
// Packets are text: a digit for the kind, then the data. A binary message is raw on a WebSocket, "b" and base64 elsewhere.

const SEPARATOR = '\x1e';
const HANDSHAKE_LIMIT = 20000; // ms, as npm engine.io-client's connections to a server that never answers
const UPGRADE_LIMIT = 10000; // ms, as servers allow
const GOODBYE_LIMIT = 5000; // ms for the last POST of a session that was closed
const LOOK_EVERY = 15000; // ms; timers may stand still while a machine sleeps, the clock does not
const LATE = 2000; // ms after which a timer was held up, and so was what has come
const KEEPALIVE_MAX = 60000; // bytes; what browsers still send when the page goes is 64 KiB

// Statuses that ask to come again, or speak of the way and not of the client: these are failures, not refusals.
const TRY_AGAIN = [408, 425, 426, 429];

function toBase64(bytes) {
  let text = '';
  // Piecewise: the arguments of one call are limited.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** The bytes that a packet takes in the body of a POST. */
function sizeOf(packet) {
  return typeof packet === 'string' ? new TextEncoder().encode(packet).length : 1 + 4 * Math.ceil(packet.length / 3);
}

/** The handshake that a packet holds; undefined: it is none. */
function readHandshake(packet) {
  if (typeof packet !== 'string' || packet[0] !== '0') return undefined;
  try {
    const said = JSON.parse(packet.slice(1));
    const fits = typeof said.sid === 'string' && said.sid !== '' && Array.isArray(said.upgrades)
      && said.pingInterval >= 0 && said.pingTimeout >= 0;
    return fits ? said : undefined;
  } catch (error) {
    return undefined;
  }
}

/** Why a server said no, as far as its answer tells. */
function readRefusal({ status, text }) {
  let data;
  try {
    data = JSON.parse(text);
  } catch (error) {
    return { status, reason: text.slice(0, 200), data };
  }
  const reason = data && typeof data === 'object' ? data.message || data.error : data;
  return { status, reason: reason === undefined || reason === null ? '' : String(reason), data };
}

const isRefusal = ({ status }) => status >= 400 && status < 500 && !TRY_AGAIN.includes(status);

function ignore() {}

/** Hang up, and hear no more of it. Listeners stay: without one for errors, npm ws would throw them. */
function discard(socket, code, reason) {
  socket.onopen = ignore;
  socket.onmessage = ignore;
  socket.onerror = ignore;
  socket.onclose = ignore;
  try {
    // Pages may only give these codes, and a reason of 123 bytes.
    if (code === 1000 || (code >= 3000 && code < 5000)) socket.close(code, reason);
    else socket.close();
  } catch (error) {
    socket.close();
  }
}

class EngineIO {
  constructor(target, events) {
    this._target = target;
    this._options = target.options || {};
    this._events = events;
    this._state = 'opening'; // 'open', 'closing' (the goodbye is still to be sent), 'closed'
    this._sid = '';
    this._socket = undefined; // the WebSocket that carries the session
    this._probe = undefined; // the one that would like to
    this._dry = false; // whether polls and POSTs run dry, for the probe
    this._polling = false;
    this._posting = false;
    this._buffer = []; // packets that wait for a POST
    this._requests = new Set(); // what aborts each request under way
    this._maxPayload = 0; // bytes of one POST; 0: there is no limit
    this._limit = 0; // ms without a packet after which the server is gone
    this._heardAt = 0;
    this._timer = undefined; // of the handshake, then of liveness
    this._look = () => this._checkLiveness(true);
    Promise.resolve().then(() => this._begin());
  }

  /** "websocket" or "polling": what carries it now. */
  get transport() {
    return this._socket ? 'websocket' : 'polling';
  }

  /** Send one message: a string, or a Uint8Array. */
  send(data) {
    if (this._state === 'open') this._write(typeof data === 'string' ? `4${data}` : data);
  }

  /** Say goodbye. What was sent before goes first; no event follows. */
  close(code = 1000, reason = '') {
    if (this._state === 'closed' || this._state === 'closing') return;
    const polls = this._state === 'open' && !this._socket;
    this._events = {};
    if (!polls) {
      this._stop(code, reason);
      return;
    }
    this._stopProbe();
    this._stopWatching();
    this._state = 'closing';
    this._timer = setTimeout(() => this._stop(), GOODBYE_LIMIT);
    this._buffer.push('1');
    this._flush();
  }

  // -- opening

  _begin() {
    if (this._state !== 'opening') return;
    const { fetch, WebSocket, websockets } = this._target;
    const can = { polling: Boolean(fetch), websocket: Boolean(WebSocket) && websockets !== false };
    this._ways = (this._options.transports || ['polling', 'websocket']).filter((name) => can[name]);
    if (!this._ways.length && fetch && websockets === false) this._ways = ['polling'];
    this._timer = setTimeout(() => this._fail('timeout'), this._options.requestTimeout || HANDSHAKE_LIMIT);
    if (this._ways[0] === 'websocket') this._beginSocket();
    else if (this._ways[0] === 'polling') this._beginPolling(this._options.upgrade !== false);
    else this._fail('no transport can be used here');
  }

  async _beginPolling(mayUpgrade) {
    const answer = await this._request('GET');
    if (this._state !== 'opening') return;
    if (!answer.ok) {
      this._close({ refused: isRefusal(answer) ? readRefusal(answer) : undefined, error: answer.error });
      return;
    }
    const [first, ...packets] = answer.text.split(SEPARATOR);
    const handshake = readHandshake(first);
    if (!handshake) {
      this._fail('parse error', 1002);
      return;
    }
    this._open(handshake);
    packets.forEach((packet) => this._receive(packet));
    if (this._state !== 'open') return;
    this._poll();
    if (mayUpgrade && this._ways.includes('websocket') && handshake.upgrades.includes('websocket')) this._beginProbe();
  }

  _beginSocket() {
    const socket = this._dial();
    if (!socket) return;
    let connected = false;
    this._carry(socket);
    socket.onopen = () => { connected = true; };
    socket.onclose = ({ code, reason }) => {
      if (connected) {
        this._close({ code, reason });
      } else {
        this._socket = undefined;
        discard(socket);
        // Pages are not told why a WebSocket was refused; a plain request is.
        if (this._ways.includes('polling')) this._beginPolling(false);
        else this._ask();
      }
    };
  }

  async _ask() {
    const failure = new Error('websocket error');
    const answer = this._target.fetch ? await this._request('GET', undefined, 'websocket') : { error: failure };
    if (this._state !== 'opening') return;
    // A server that lets the client in can only say here that this is no WebSocket: Engine.IO's "bad request".
    const refusal = isRefusal(answer) ? readRefusal(answer) : undefined;
    const harmless = refusal && refusal.status === 400 && (!refusal.data || refusal.data.code === 3);
    if (refusal && !harmless) this._close({ refused: refusal, error: answer.error });
    else this._close({ error: failure });
  }

  _open({ sid, pingInterval, pingTimeout, maxPayload }) {
    this._state = 'open';
    this._sid = sid;
    this._maxPayload = maxPayload > 0 ? maxPayload : 0;
    this._limit = pingInterval + pingTimeout;
    this._grace = Math.min(pingTimeout, GOODBYE_LIMIT);
    this._heard();
    clearTimeout(this._timer);
    this._watch();
    this._tell('open', { id: sid });
  }

  // -- polls and POSTs

  _url(transport) {
    const { origin, pathname, query } = this._target;
    const path = `${pathname.replace(/\/$/, '')}/?EIO=4&transport=${transport}`;
    return origin + path + (this._sid && `&sid=${encodeURIComponent(this._sid)}`) + (query ? `&${query}` : '');
  }

  /** Make a request; the answer is {ok, status, text, error}, and no rejection. */
  async _request(method, body, transport = 'polling') {
    const { fetch } = this._target; // called by itself: a method of an object it is not
    const controller = new AbortController();
    this._requests.add(controller);
    // The server can't have heard from us for longer than that, or we from it.
    const timer = this._limit && setTimeout(() => controller.abort(), this._limit);
    try {
      const answer = await fetch(this._url(transport), {
        method,
        body,
        signal: controller.signal,
        cache: 'no-store',
        credentials: this._options.withCredentials ? 'include' : 'same-origin',
        headers: this._options.extraHeaders,
        keepalive: this._state === 'closing' && sizeOf(body) <= KEEPALIVE_MAX,
      });
      const { ok, status } = answer;
      const text = await answer.text();
      return { ok, status, text, error: ok ? undefined : Object.assign(new Error(`${method} answered ${status}`), { status }) };
    } catch (error) {
      return { ok: false, status: 0, text: '', error };
    } finally {
      clearTimeout(timer);
      this._requests.delete(controller);
    }
  }

  async _poll() {
    this._polling = true;
    const answer = await this._request('GET');
    if (this._state !== 'open') return;
    if (!answer.ok) {
      this._close({ error: answer.error });
      return;
    }
    this._heard();
    answer.text.split(SEPARATOR).forEach((packet) => this._receive(packet));
    this._polling = false;
    if (this._state !== 'open') return;
    if (this._dry) this._upgrade();
    else this._poll();
  }

  _write(packet) {
    if (this._socket) {
      this._socket.send(packet);
      return;
    }
    // Kept for later, so the caller's bytes are copied.
    if (this._buffer.push(typeof packet === 'string' ? packet : new Uint8Array(packet)) === 1) {
      Promise.resolve().then(() => this._flush()); // what is sent in one go travels in one POST
    }
  }

  async _flush() {
    if (this._posting || this._dry || !this._buffer.length || this._socket || this._state === 'closed') return;
    this._posting = true;
    const answer = await this._request('POST', this._takeBatch());
    this._posting = false;
    if (this._state === 'closed') return;
    if (!answer.ok) this._close({ error: answer.error });
    else if (this._buffer.length && !this._dry) this._flush();
    else if (this._state === 'closing') this._stop();
    else if (this._dry) this._upgrade();
  }

  /** As many packets as one POST may carry, but always one. */
  _takeBatch() {
    let count = 0;
    let size = -1; // no separator before the first
    do {
      size += 1 + sizeOf(this._buffer[count]);
    } while ((!count || !this._maxPayload || size <= this._maxPayload) && ++count < this._buffer.length);
    const packets = this._buffer.splice(0, count);
    return packets.map((packet) => (typeof packet === 'string' ? packet : `b${toBase64(packet)}`)).join(SEPARATOR);
  }

  // -- WebSockets

  _dial() {
    const { WebSocket } = this._target;
    try {
      const socket = new WebSocket(this._url('websocket').replace(/^http/, 'ws'));
      socket.binaryType = 'arraybuffer';
      socket.onerror = ignore; // "close" follows
      return socket;
    } catch (error) {
      if (!this._sid) this._close({ error }); // a page's policy may forbid it; then polling stays
      return undefined;
    }
  }

  _carry(socket) {
    this._socket = socket;
    socket.onclose = ({ code, reason }) => this._close({ code, reason });
    socket.onmessage = ({ data }) => {
      this._heard();
      this._receive(typeof data === 'string' ? data : new Uint8Array(data));
    };
  }

  _beginProbe() {
    const socket = this._dial();
    if (!socket) return;
    this._probe = socket;
    this._probeTimer = setTimeout(() => this._stopProbe(), UPGRADE_LIMIT);
    socket.onopen = () => socket.send('2probe');
    socket.onclose = () => this._stopProbe();
    socket.onmessage = ({ data }) => {
      if (data === '3probe' && !this._dry) {
        this._dry = true;
        this._upgrade();
      } else {
        this._stopProbe();
      }
    };
  }

  /** Move to the WebSocket as soon as nothing is under way elsewhere: so nothing gets lost, doubled or overtaken. */
  _upgrade() {
    if (this._polling || this._posting) return;
    const socket = this._probe;
    this._probe = undefined;
    this._dry = false;
    clearTimeout(this._probeTimer);
    this._carry(socket);
    socket.send('5');
    this._buffer.splice(0).forEach((packet) => socket.send(packet));
    this._tell('transport', 'websocket');
  }

  /** The WebSocket will not do; polling goes on. */
  _stopProbe() {
    const socket = this._probe;
    if (!socket) return;
    this._probe = undefined;
    clearTimeout(this._probeTimer);
    discard(socket);
    if (!this._dry) return;
    this._dry = false;
    if (this._state === 'open' && !this._polling) this._poll();
    this._flush();
  }

  // -- packets

  _receive(packet) {
    if (this._state === 'opening') {
      const handshake = readHandshake(packet);
      if (handshake) this._open(handshake);
      else this._fail('parse error', 1002);
    } else if (this._state === 'open') {
      if (typeof packet === 'string') this._receiveText(packet);
      else this._tell('message', packet);
    }
  }

  _receiveText(packet) {
    switch (packet[0]) {
      case '4':
        this._tell('message', packet.slice(1));
        break;
      case 'b': {
        let bytes;
        try {
          bytes = fromBase64(packet.slice(1));
        } catch (error) {
          this._fail('parse error', 1002);
          return;
        }
        this._tell('message', bytes);
        break;
      }
      case '2':
        this._write('3');
        this._tell('heartbeat');
        break;
      case '6':
        break;
      case '1':
        this._close({ code: 1000 });
        break;
      default:
        this._fail('parse error', 1002);
    }
  }

  // -- liveness: the time of the last packet decides, however late timers fire

  _heard() {
    this._heardAt = Date.now();
  }

  _watch() {
    this._setLook(Math.min(this._limit, LOOK_EVERY));
    if (typeof addEventListener === 'function') {
      addEventListener('online', this._look);
      addEventListener('visibilitychange', this._look, true); // of the document, heard on its way down
    }
  }

  _stopWatching() {
    clearTimeout(this._timer);
    if (typeof removeEventListener === 'function') {
      removeEventListener('online', this._look);
      removeEventListener('visibilitychange', this._look, true);
    }
  }

  _setLook(wait) {
    clearTimeout(this._timer);
    const due = Date.now() + wait;
    this._timer = setTimeout(() => this._checkLiveness(Date.now() - due > LATE), wait);
  }

  _checkLiveness(late) {
    const now = Date.now();
    if (now < this._heardAt) this._heardAt = now; // somebody set the clock
    const left = this._heardAt + this._limit - now;
    if (left > 0) this._setLook(Math.min(left, LOOK_EVERY));
    else if (late) this._setLook(this._grace); // the page slept: what came meanwhile is only now being delivered
    else this._fail('ping timeout');
  }

  // -- ending

  _fail(reason, code) {
    this._close({ code, reason, error: new Error(reason) });
  }

  /** It is over, and not because we wanted it. */
  _close({ code = 1006, reason, refused, error }) {
    if (this._state === 'closed') return;
    const said = reason === undefined ? (error && error.message) || '' : reason;
    this._stop();
    this._tell('closed', { code, reason: said, refused, final: false, error });
  }

  _stop(code, reason) {
    this._state = 'closed';
    this._stopWatching();
    this._stopProbe();
    this._buffer = [];
    this._requests.forEach((controller) => controller.abort());
    if (this._socket) discard(this._socket, code, reason);
  }

  /** Call an event; what it throws must not stop us, so it is thrown where nobody else waits. */
  _tell(name, value) {
    try {
      if (this._events[name]) this._events[name](value);
    } catch (error) {
      setTimeout(() => { throw error; });
    }
  }
}

EngineIO.values = false;
EngineIO.emits = false;
EngineIO.heartbeats = true;

wires['engine.io'] = EngineIO;
