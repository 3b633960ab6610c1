// ActionheroWebsocketClient: actions, rooms, chat and files over a Primus connection, as ActionHero's users know it.
//
// A callback that takes one parameter gets the response, whose `error` says what went wrong, as in ActionHero. One that
// takes two gets (error, response), as in the examples of ActionHero's documentation. Where none is given there is a
// promise, which rejects on an error. A response that never comes is an error, too; callError() tells the codes of all.

class ActionheroWebsocketClient extends EventEmitter {
  /**
   * @param options Primus' options, and `url`, `apiPath`, `cookieKey` ('' sends no cookie's value with the handshake),
   *   `responseTimeout` (ms that a call may wait for its answer; 0, the default: as long as the connection lives).
   * @param client a Primus client to use instead of an own one; `connect()` (re)opens it.
   */
  constructor(options, client) {
    super();
    this.callbacks = Object.create(null); // what gets a response, by messageId
    this.messageId = 0;
    this.id = null;
    this.fingerprint = null;
    this.details = null; // what the server last said of this connection
    this.welcomeMessage = null;
    this.rooms = []; // where it is, or will be again after a reconnect
    this.state = 'disconnected'; // | 'connecting' | 'connected' | 'reconnecting' | 'timeout'
    this.options = Object.assign(this.defaults(), options);
    this.client = client || null;
    this.externalClient = Boolean(client);
    this._ended = true; // nothing will come without another connect()
    this._session = 0; // counts connections, so that what was meant for one does not touch the next
    this._wasConnected = false; // since connect()
    this._connecting = []; // who waits for connect()
    this._cause = null; // why the connection failed, as far as is known
    this._leaving = new Set(); // rooms whose roomLeave is not answered yet
    this._exchange = new Exchange(this);
    this._patience = undefined; // the timer of a server that does not answer
    this._unfollow = () => {};
  }

  defaults() {
    const { apiPath, cookieKey } = CONFIG;
    const url = CONFIG.url === 'window.location.origin' ? pageOrigin() || '' : CONFIG.url;
    return { url, apiPath, cookieKey, responseTimeout: 0 };
  }

  /** The Primus client; null before the first connect(). */
  get primus() {
    return this.client;
  }

  /** What carries the messages now: "websocket" or "polling"; undefined when nothing does. */
  get transport() {
    return this.client ? this.client.transport : undefined;
  }

  // Connecting

  /**
   * Connect. The callback, called once, gets (error, details): when the connection is there and its rooms are joined,
   * or when it will not come: refused, given up, ended.
   */
  connect(callback) {
    return promised(typeof callback === 'function' ? callback : undefined, (done) => this._connect(done));
  }

  _connect(done) {
    this._end(callError('DISCONNECTED', 'connect() was called again'));
    this._connecting.push(done);
    if (!this._ended) return; // who heard of that end has called connect(), too: it is one connection for both
    this._wasConnected = this._ended = false;
    this._cause = null;
    this.state = 'connecting';
    const session = this._session;
    try {
      if (!this.externalClient) {
        if (this.client) this.client.destroy();
        this.client = new Primus(this.urlWithSession(), { ...this.options, manual: true });
      }
      if (this.client.destroyed) throw new Error('the Primus client was destroyed');
      this._follow(this.client);
      this.client.open();
    } catch (cause) {
      const error = callError('DISCONNECTED', `can't connect: ${cause.message}`, { cause });
      Promise.resolve().then(() => session === this._session && this._end(error));
    }
  }

  /** Leave for good. Calls that wait for an answer fail; the rooms are joined again by another connect(). */
  disconnect() {
    this._end(callError('DISCONNECTED', 'disconnect() was called'));
  }

  /** @param byUs false: Primus has ended already. */
  _end(error, byUs = true) {
    this._ended = true;
    const before = this.state;
    const session = this._session + 1;
    this.state = 'disconnected';
    this._stop(error);
    // Who is told may have called connect(), and what there is by now is another connection.
    if (byUs && this.client && session === this._session) this.client.end();
    if (before !== 'disconnected') this.emit('disconnected');
  }

  /** Nothing comes any more over the connection that was. */
  _stop(error) {
    this._session += 1;
    clearTimeout(this._patience);
    this._exchange.fail(error, this._ended);
    if (this._ended) this._connected(error);
  }

  /** Settle connect(), if that has not been done. */
  _connected(error, details) {
    clearTimeout(this._patience);
    this._connecting.splice(0).forEach((done) => callSafely(() => done(error, details)));
  }

  _follow(primus) {
    this._unfollow();
    const heard = {
      open: () => this._configure(),
      data: (message) => this.handleMessage(message),
      error: (error) => {
        if (!this._exchange.isOpen()) this._cause = error; // else it is of some message
        this.emit('error', error);
      },
      timeout: () => {
        this.state = 'timeout';
        this.emit('timeout');
      },
      'reconnect scheduled': (attempt) => {
        this.state = 'reconnecting';
        this.emit('reconnecting', attempt);
      },
      close: (why) => { // Primus may try again: it says so by 'reconnect scheduled', or by 'end'
        const before = this.state;
        this.state = before === 'connected' ? 'disconnected' : before;
        const text = why && why.reason ? `the connection was lost: ${why.reason}` : 'the connection was lost';
        this._stop(callError('DISCONNECTED', text, { cause: this._cause }));
        if (before === 'connected') this.emit('disconnected');
      },
      end: () => this._gone(),
      refused: (refusal) => {
        const { status, reason, data } = refusal || {};
        const text = `the server refused the connection: ${reason || status}`;
        this._cause = callError('REFUSED', text, { status, reason, data, refused: true });
        this.emit('refused', refusal);
      },
      dropped: (message) => this._exchange.dropped(message),
      stale: (own, servers) => this.emit('stale', own, servers),
      transport: (name) => this.emit('transport', name),
    };
    for (const event of Object.keys(heard)) primus.on(event, heard[event]);
    this._unfollow = () => {
      for (const event of Object.keys(heard)) primus.removeListener(event, heard[event]);
    };
  }

  /** Primus has given up, or was told to; or the device is offline, and it comes back when the network does. */
  _gone() {
    if (this._ended || this._waitsForNetwork()) return;
    const cause = this._cause;
    const refused = cause && cause.code === 'REFUSED';
    const text = cause ? `the connection failed: ${cause.message}` : 'the connection has ended';
    this._end(refused ? cause : callError('DISCONNECTED', text, { cause }), false);
  }

  /** Not so when nothing was heard of the server: Primus says "offline" of that, too, but no network comes back. */
  _waitsForNetwork() {
    const { NETWORK_EVENTS, _wanted, online, options } = this.client;
    return NETWORK_EVENTS && !navigator.onLine && !online && _wanted !== false && String(options.strategy).includes('online');
  }

  /** A connection is there, always a stranger to the server: join the rooms in their order, then ask who we are. */
  _configure() {
    this._session += 1;
    const session = this._session;
    const ask = (message, done) => {
      this._exchange.send(message, (...outcome) => session === this._session && done(...outcome), true);
    };
    this._ended = false;
    this._cause = null;
    // A server without actions never answers. That shall not leave who waits for connect() in the dark.
    const { timeout } = combine(CONFIG.client, this.options);
    clearTimeout(this._patience);
    if (timeout) {
      this._patience = wait(() => {
        const error = callError('TIMEOUT', 'connected, but the server does not answer: has it actions?');
        this.emit('error', error);
        this._connected(error);
      }, timeout);
    }

    const refused = new Map();
    const finish = () => ask({ event: 'detailsView' }, (failed, response) => {
      if (failed) {
        this.emit('error', failed);
        this._connected(failed);
        return;
      }
      const { rooms } = response.data;
      this.rooms = this.rooms.filter((room) => !refused.has(room) || rooms.includes(room));
      for (const room of rooms) if (!this._leaving.has(room)) this._inside(room);
      this._know(response.data);
      const again = this._wasConnected;
      this._wasConnected = true;
      this.state = 'connected';
      this._exchange.flush();
      this.emit(again ? 'reconnect' : 'connected');
      this._connected(null, response);
      refused.forEach((error, room) => this.rooms.includes(room) || this.emit('error', error));
    });
    let waiting = this.rooms.length;
    this.rooms.forEach((room) => ask({ event: 'roomAdd', room }, (error) => {
      if (error) refused.set(room, Object.assign(error, { room }));
      waiting -= 1;
      if (waiting === 0) finish();
    }));
    if (waiting === 0) finish();
  }

  _know(details) {
    this.details = details;
    this.id = details.id;
    this.fingerprint = details.fingerprint;
  }

  /** The server's origin, with the session's cookie where the page may read it (the handshake may not carry it). */
  urlWithSession() {
    const { url, cookieKey } = this.options;
    const value = cookieKey ? this.getCookie(cookieKey) : undefined;
    if (!value) return url;
    return `${url}${String(url).includes('?') ? '&' : '?'}${encodeURIComponent(cookieKey)}=${encodeURIComponent(value)}`;
  }

  getCookie(name) {
    if (typeof document === 'undefined' || !document.cookie) return undefined;
    const pair = document.cookie.split(/; */).find((one) => one.startsWith(`${name}=`));
    return pair && pair.slice(name.length + 1);
  }

  // Messages

  /** Send a message that the server answers: `{event: verb, …}`. It gets a messageId unless it has one. */
  send(message, callback) {
    return promised(eitherCallback(callback), (done) => this._exchange.send(message, done));
  }

  /** What Primus received; every message is told by the event 'message', also responses. */
  handleMessage(message) {
    this.emit('message', message);
    if (typeof message !== 'object' || message === null) return;
    const { context } = message;
    if (context === 'response') {
      this._exchange.answered(message);
    } else if (context === 'user') {
      this.emit('say', message);
    } else if (context === 'alert') {
      this.emit('alert', message);
    } else if (context === 'api') {
      if (message.welcome) this.welcomeMessage = message.welcome;
      this.emit(message.welcome ? 'welcome' : 'api', message);
    }
  }

  // Actions

  /** Run an action: over the connection, or over HTTP when there is none, by `params.httpMethod` ("POST"). */
  action(name, params, callback) {
    if (typeof params === 'function') return this.action(name, null, params);
    const all = { ...params, action: name };
    return promised(eitherCallback(callback), (done) => {
      if (this._exchange.isLive()) this._exchange.send({ event: 'action', params: all }, done);
      else this._actionWeb(all, done);
    });
  }

  /** Run an action over HTTP, whether connected or not. `params.action` is its name. */
  actionWeb(params, callback) {
    return promised(eitherCallback(callback), (done) => this._actionWeb(params, done));
  }

  /** Run an action over the connection. `params.action` is its name. */
  actionWebSocket(params, callback) {
    return this.send({ event: 'action', params }, callback);
  }

  _actionWeb(params, done) {
    requestAction(this.options, params).then(
      ([response, status]) => done(errorIn(response, { status }), response),
      (error) => done(error, responseOf(error)),
    );
  }

  // Verbs

  say(room, message, callback) {
    return this.send({ event: 'say', room, message }, callback);
  }

  file(file, callback) {
    return this.send({ event: 'file', file }, callback);
  }

  detailsView(callback) {
    return promised(eitherCallback(callback), (done) => this._exchange.send({ event: 'detailsView' }, (error, response) => {
      if (!error) this._know(response.data);
      done(error, response);
    }));
  }

  roomView(room, callback) {
    return this.send({ event: 'roomView', room }, callback);
  }

  /** Join a room, now and after every reconnect. */
  roomAdd(room, callback) {
    return promised(eitherCallback(callback), (done) => this._exchange.send({ event: 'roomAdd', room }, (error, response) => {
      if (!error || /already in this room/.test(error.message)) this._inside(room);
      done(error, response);
    }));
  }

  _inside(room) {
    if (!this.rooms.includes(room)) this.rooms.push(room);
  }

  /** Leave a room, and forget it. */
  roomLeave(room, callback) {
    // Who leaves a room while away is not in it when the message arrives, which is as it was wished.
    const away = !this._exchange.isLive() && this.rooms.includes(room);
    this.rooms = this.rooms.filter((one) => one !== room);
    this._leaving.add(room);
    return promised(eitherCallback(callback), (done) => this._exchange.send({ event: 'roomLeave', room }, (error, response) => {
      this._leaving.delete(room);
      // A roomAdd that was on its way before may have put it back.
      if (!error) this.rooms = this.rooms.filter((one) => one !== room);
      if (away && error && /not in this room/.test(error.message)) {
        const { context, messageId } = response;
        done(null, { status: 'OK', context, data: true, messageId });
      } else done(error, response);
    }));
  }

  documentation(callback) {
    return this.send({ event: 'documentation' }, callback);
  }
}
