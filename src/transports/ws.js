// A plain WebSocket: one message of the WebSocket is one message of ours.

// Statuses that speak of the way or ask to come again: these are failures. Any other 4xx is a refusal. 426 is how a
// server answers a plain request where it would have let a WebSocket in.
const TRY_AGAIN = [408, 425, 426, 429];

function ignore() {}

class PlainWebSocket {
  constructor(target, events) {
    this._events = events;
    this._address = `${target.origin}${target.pathname}?${target.query}`;
    this._fetch = target.fetch;
    this._isOpen = false;
    this._error = undefined;
    this._inquiry = undefined; // what aborts the question why we were not let in
    try {
      if (!target.WebSocket) throw new Error('There is no WebSocket here: install npm ws, or give the option WebSocket');
      // Pages ignore the third argument. npm ws takes its options there, such as headers.
      this._socket = new target.WebSocket(this._address.replace(/^http/, 'ws'), [], target.options);
      this._listen();
    } catch (error) {
      // Pages that came by https may not use ws: either. Trying again does not help.
      Promise.resolve().then(() => this._close({ error, final: true }));
    }
  }

  get transport() {
    return 'websocket';
  }

  send(data) {
    // Of what is sent to a closing socket nobody hears.
    if (this._socket.readyState === 1) this._socket.send(data);
  }

  /** Hang up; no event follows. */
  close(code = 1000, reason = '') {
    this._events = {};
    if (this._inquiry) this._inquiry.abort();
    const socket = this._socket;
    if (!socket) return;
    // And not null: npm ws throws an error that nobody listens for.
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = ignore;
    socket.close(code, reason);
  }

  _listen() {
    const socket = this._socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this._isOpen = true;
      this._tell('open', {});
    };
    socket.onmessage = ({ data }) => this._tell('message', typeof data === 'string' ? data : new Uint8Array(data));
    socket.onerror = ({ error, message }) => {
      this._error = error || new Error(message || 'The WebSocket failed');
    };
    socket.onclose = ({ code, reason }) => {
      if (this._isOpen) this._close({ code, reason, error: this._error });
      else this._askWhy(code);
    };
  }

  /** A page is not told why a WebSocket did not open. A plain request to the same door is. */
  async _askWhy(code) {
    const fetch = this._fetch;
    let refused;
    if (fetch) {
      this._inquiry = new AbortController();
      try {
        const { signal } = this._inquiry;
        const answer = await fetch(this._address, { signal, cache: 'no-store', credentials: 'include' });
        const { status } = answer;
        if (status >= 400 && status < 500 && !TRY_AGAIN.includes(status)) refused = this._read(status, await answer.text());
      } catch (error) {
        // No answer: then it is the network, and no refusal.
      }
    }
    this._close({ code, refused, error: this._error || new Error('The WebSocket failed') });
  }

  /** Why a server said no: {"error": reason}, as Primus writes it, or a text. */
  _read(status, text) {
    try {
      const data = JSON.parse(text);
      const reason = data && typeof data === 'object' ? data.error || data.message : data;
      return { status, reason: typeof reason === 'string' ? reason : text.slice(0, 200), data };
    } catch (error) {
      return { status, reason: text.slice(0, 200) };
    }
  }

  _close(details) {
    this._tell('closed', details);
    this._events = {};
  }

  _tell(event, value) {
    if (this._events[event]) this._events[event](value);
  }
}

// Who sends values and events itself, and who has a heartbeat? Not a WebSocket: pages can't see its pings.
PlainWebSocket.values = false;
PlainWebSocket.emits = false;
PlainWebSocket.heartbeats = false;

wires.websockets = PlainWebSocket;
