// Engine.IO, protocol 4, as a browser speaks it: polling through fetch, a move to WebSocket by probe, or WebSocket from
// the start. (packets.js and carriers.js stand before it, in the same scope.)
//
//   what carries it   next
//   ---------------   -----------------------------------------------------------------------------------------------
//   polls, POSTs      a WebSocket asks ("2probe"); polls and POSTs go on meanwhile
//   they run dry      the server agreed ("3probe"): no new POST begins, what is sent waits; and no new poll, unless a
//                     POST is under way: a server may take that only when somebody fetches what it has to say
//   a WebSocket       the last poll and POST were answered: "5", then what waited
//   nothing           closed

const HANDSHAKE_LIMIT = 20000; // ms
const UPGRADE_LIMIT = 10000; // ms, as servers allow
const GOODBYE_LIMIT = 5000; // ms for the last POST of a session that was closed

class EngineIO {
  constructor(target, events) {
    this._target = target;
    this._options = target.options || {};
    this._events = events;
    this._requests = new Requests(target);
    this._state = 'opening'; // 'open', 'closing' (the goodbye is still to be sent), 'closed'
    this._socket = undefined; // the WebSocket that carries the session
    this._probe = undefined; // the one that would like to
    this._dry = false; // whether polls and POSTs run dry, for the probe
    this._polling = false;
    this._posting = false;
    this._buffer = []; // packets that wait for a POST
    this._maxPayload = Infinity; // bytes of one POST
    this._pulse = undefined;
    this._timer = undefined; // of the handshake, or the goodbye
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
    this._events = {};
    if (this._state === 'opening' || this._socket) {
      this._stop(code, reason);
      return;
    }
    this._state = 'closing';
    this._pulse.stop();
    this._stopProbe();
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
    const answer = await this._requests.make('GET', 'polling');
    if (this._state !== 'opening') return;
    if (!answer.ok) {
      this._end({ refused: readRefusal(answer), error: answer.error });
      return;
    }
    const [first, ...packets] = answer.text.split(SEPARATOR);
    const handshake = this._open(first);
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
        this._end({ code, reason });
        return;
      }
      this._socket = undefined;
      discard(socket);
      if (this._ways.includes('polling')) this._beginPolling(false);
      else this._ask();
    };
  }

  /** Pages are not told why a WebSocket was refused; a plain request is. */
  async _ask() {
    const error = new Error('the WebSocket could not be opened');
    const answer = this._target.fetch ? await this._requests.make('GET', 'websocket') : { status: 0 };
    if (this._state !== 'opening') return;
    const refused = readRefusal(answer);
    // Whom it would let in, a server can only tell that this is no WebSocket: Engine.IO's code 3, or another 400.
    const harmless = refused && refused.status === 400 && (!refused.data || refused.data.code === 3);
    this._end(refused && !harmless ? { refused, error: answer.error } : { error });
  }

  /** Take the handshake, and give it back. */
  _open(packet) {
    const handshake = readHandshake(packet);
    if (!handshake) {
      this._fail('parse error', 1002);
      return undefined;
    }
    const { sid, pingInterval, pingTimeout, maxPayload } = handshake;
    clearTimeout(this._timer);
    this._state = 'open';
    this._requests.sid = sid;
    if (maxPayload > 0) this._maxPayload = maxPayload;
    this._pulse = new Pulse(pingInterval + pingTimeout, pingTimeout, () => this._fail('ping timeout'));
    this._tell('open', { id: sid });
    return handshake;
  }

  // -- polls and POSTs

  async _poll() {
    this._polling = true;
    const answer = await this._requests.make('GET', 'polling');
    if (this._state !== 'open') return;
    if (!answer.ok) {
      this._end({ error: answer.error });
      return;
    }
    this._pulse.heard();
    answer.text.split(SEPARATOR).forEach((packet) => this._receive(packet));
    this._polling = false;
    if (this._state !== 'open') return;
    if (this._dry && !this._posting) this._upgrade();
    else this._poll();
  }

  _write(packet) {
    if (this._socket) {
      this._socket.send(packet);
      return;
    }
    // It may have to wait, so the caller's bytes are copied.
    this._buffer.push(typeof packet === 'string' ? packet : new Uint8Array(packet));
    // What is sent in one go travels in one POST.
    if (this._buffer.length === 1) Promise.resolve().then(() => this._flush());
  }

  async _flush() {
    if (this._posting || this._dry || this._socket || !this._buffer.length) return;
    this._posting = true;
    const body = takeBody(this._buffer, this._maxPayload);
    const answer = await this._requests.make('POST', 'polling', body, this._state === 'closing');
    this._posting = false;
    if (this._state === 'closed') return;
    if (!answer.ok) this._end({ error: answer.error });
    else if (this._dry) this._upgrade();
    else if (this._buffer.length) this._flush();
    else if (this._state === 'closing') this._stop();
  }

  // -- WebSockets

  _dial() {
    const { WebSocket } = this._target;
    try {
      const socket = new WebSocket(this._requests.url('websocket').replace(/^http/, 'ws'));
      socket.binaryType = 'arraybuffer';
      socket.onerror = ignore; // "close" follows
      return socket;
    } catch (error) { // such as a page's policy, which leaves polling
      if (this._state === 'opening') this._end({ error });
      return undefined;
    }
  }

  _carry(socket) {
    this._socket = socket;
    socket.onclose = ({ code, reason }) => this._end({ code, reason });
    socket.onmessage = ({ data }) => {
      if (this._pulse) this._pulse.heard();
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
    if (!this._probe) return;
    clearTimeout(this._probeTimer);
    discard(this._probe);
    this._probe = undefined;
    if (!this._dry) return;
    this._dry = false;
    if (this._state !== 'open') return;
    if (!this._polling) this._poll();
    this._flush();
  }

  // -- packets

  _receive(packet) {
    if (this._state === 'opening') this._open(packet);
    else if (this._state !== 'open') return;
    else if (typeof packet !== 'string') this._tell('message', packet);
    else if (packet[0] === '4') this._tell('message', packet.slice(1));
    else if (packet[0] === 'b') this._receiveBinary(packet.slice(1));
    else if (packet[0] === '1') this._end({ code: 1000 });
    else if (packet[0] === '2') {
      this._write('3');
      this._tell('heartbeat');
    } else if (packet[0] !== '6') this._fail('parse error', 1002);
  }

  _receiveBinary(text) {
    let bytes;
    try {
      bytes = fromBase64(text);
    } catch (error) {
      this._fail('parse error', 1002);
      return;
    }
    this._tell('message', bytes);
  }

  // -- ending

  _fail(reason, code) {
    this._end({ code, error: new Error(reason) });
  }

  /** It is over, and not because we wanted it. */
  _end({ code = 1006, reason, refused, error }) {
    if (this._state === 'closed') return;
    this._stop();
    this._tell('closed', { code, reason: reason || (error ? error.message : ''), refused, final: false, error });
  }

  _stop(code, reason) {
    this._state = 'closed';
    clearTimeout(this._timer);
    if (this._pulse) this._pulse.stop();
    this._stopProbe();
    this._buffer = [];
    this._requests.abort();
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
