// What an Engine.IO session needs around it: requests, sockets that are let go, and the watch over the server's pings.

const KEEPALIVE_MAX = 60000; // bytes; what browsers still send when the page goes is 64 KiB
const LOOK_EVERY = 15000; // ms; timers may stand still while a machine sleeps, the clock does not
const LATE = 2000; // ms after which a timer was held up, and so was what has come
const GRACE = 5000; // ms in which it is to be delivered

function ignore() {}

/** Hang up, and hear no more of it. Listeners stay: without one for errors, npm ws would throw them. */
function discard(socket, code, reason) {
  ['onopen', 'onmessage', 'onerror', 'onclose'].forEach((event) => { socket[event] = ignore; });
  try {
    // Pages may only give these codes, and a reason of 123 bytes.
    if (code === 1000 || (code >= 3000 && code < 5000)) socket.close(code, reason);
    else socket.close();
  } catch (error) {
    socket.close();
  }
}

/** The words of a header that say what "user:password" of an address says. */
function basic(auth) {
  let text = auth.includes(':') ? auth : `${auth}:`;
  try {
    text = decodeURIComponent(text);
  } catch (error) {
    // A percent sign that stands for itself.
  }
  return `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(text)))}`;
}

/** The requests of one session. None has a time limit: `Pulse` tells a server that is gone, and is not misled by sleep. */
class Requests {
  constructor({ origin, pathname, query, options, fetch }) {
    this._auth = origin.slice(origin.indexOf('//') + 2, origin.lastIndexOf('@') + 1); // "user:password@", if anything
    this._address = `${origin}${pathname.replace(/\/$/, '')}/?EIO=4`;
    this._query = query ? `&${query}` : '';
    this._options = options || {};
    this._fetch = fetch;
    this._running = new Set();
    this.sid = '';
  }

  url(transport) {
    const sid = this.sid && `&sid=${encodeURIComponent(this.sid)}`;
    return `${this._address}&transport=${transport}${sid}${this._query}`;
  }

  /** Make a request; the answer is {ok, status, text, error}, and no rejection. */
  async make(method, transport, body, isLast) {
    const { _fetch: fetch } = this; // called by itself: a method of this object it is not
    const controller = new AbortController();
    this._running.add(controller);
    try {
      // A fetch does not take an address with credentials in it.
      const answer = await fetch(this.url(transport).replace(this._auth, ''), {
        method,
        body,
        signal: controller.signal,
        cache: 'no-store',
        credentials: this._options.withCredentials ? 'include' : 'same-origin',
        headers: this._headers(),
        keepalive: Boolean(isLast) && sizeOf(body) <= KEEPALIVE_MAX,
      });
      const { ok, status } = answer;
      const text = await answer.text();
      const error = ok ? undefined : Object.assign(new Error(`${method} was answered with ${status}`), { status });
      return { ok, status, text, error };
    } catch (error) {
      return { ok: false, status: 0, text: '', error };
    } finally {
      this._running.delete(controller);
    }
  }

  _headers() {
    const { extraHeaders } = this._options;
    if (!this._auth) return extraHeaders;
    const headers = new Headers(extraHeaders);
    if (!headers.has('Authorization')) headers.set('Authorization', basic(this._auth.slice(0, -1)));
    return headers;
  }

  abort() {
    this._running.forEach((controller) => controller.abort());
  }
}

/** Whether the server still pings. The time of the last packet decides, however late timers fire. */
class Pulse {
  constructor(limit, grace, giveUp) {
    this._limit = limit; // ms without a packet
    this._grace = Math.min(grace, GRACE);
    this._giveUp = giveUp;
    this._doubt = () => this._graced || this._look(true); // in its grace it is looked at anyway
    this.heard();
    this._wait(limit);
    if (typeof addEventListener === 'function') {
      addEventListener('online', this._doubt);
      addEventListener('visibilitychange', this._doubt, true); // of the document, heard on its way down
    }
  }

  heard() {
    this._heardAt = Date.now();
    this._graced = false; // whether this silence has had its grace
  }

  stop() {
    clearTimeout(this._timer);
    if (typeof removeEventListener === 'function') {
      removeEventListener('online', this._doubt);
      removeEventListener('visibilitychange', this._doubt, true);
    }
  }

  _wait(ms) {
    clearTimeout(this._timer);
    const wait = Math.min(ms, LOOK_EVERY);
    const due = Date.now() + wait;
    this._timer = setTimeout(() => this._look(Date.now() - due > LATE), wait);
  }

  _look(late) {
    const now = Date.now();
    if (now < this._heardAt) this.heard(); // somebody set the clock back
    const left = this._heardAt + this._limit - now;
    if (left > 0) this._wait(left);
    else if (late && !this._graced) {
      this._graced = true; // once: where timers are throttled, each of them is late
      this._wait(this._grace); // the page slept: what came meanwhile is only now being delivered
    } else this._giveUp();
  }
}
