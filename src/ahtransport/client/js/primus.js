// The client API of npm primus 8, on whichever wire the server speaks.
//
//   readyState   what happens
//   ----------   -----------------------------------------------------------------------------------------------------
//   CLOSED       nothing; or `recovery` waits to try again. What is written waits in `buffer`
//   OPENING      `socket` (the wire) connects; the connect timer runs, or recovery's
//   OPEN         messages flow; `liveness` watches, where the wire does not
//
// A wire that was let go is not heard any more: every event of a wire is held against `socket` first. A listener may
// call anything, end() and open() too, so after each event what is to follow from it is looked at again.

class Client extends Messenger {
  constructor(url, options) {
    super();
    const isAddress = typeof url === 'string' || url instanceof URL;
    const given = combine(isAddress ? options : url || options);
    this.options = completeOptions(given);
    this.url = parseAddress((isAddress && url) || given.url || given.uri || defaultAddress());
    this.readyState = Primus.CLOSED;
    this.writable = this.readable = true; // as a stream has them
    this.online = !HAS_NETWORK_EVENTS || navigator.onLine;
    this.socket = null;
    this.destroyed = false;
    this.recovery = new Recovery(this.options.reconnect);
    this.AVOID_WEBSOCKETS = this.options.websockets === false;
    this.NETWORK_EVENTS = HAS_NETWORK_EVENTS && this.options.network !== false;
    this._server = chooseServer(this.options.transformer);
    this.pathname = this.options.pathname || this._server.pathname;
    this._liveness = makeLiveness(
      { ...this.options, pingTimeout: given.pingTimeout },
      () => this._transmit(`primus::ping::${Date.now()}`),
      () => { // nothing was heard for too long
        this._hangUp();
        this._setOnline(false);
        this._lose({ code: 1006, reason: 'Nothing was heard from the server' });
      },
    );
    this._wanted = false; // whether the user wants a connection, and the server too
    this.initialise(this.options);
    if (!this.options.manual) this._openTimer = setTimeout(() => this.open());
  }

  /** Connect what is connected by events, then the plug-ins. */
  initialise(options) {
    const { recovery } = this;
    recovery.on('reconnect scheduled', this.emits('reconnect scheduled'));
    recovery.on('reconnected', this.emits('reconnected'));
    recovery.on('reconnect', (attempt) => {
      this.emit('outgoing::reconnect');
      if (recovery.attempt !== attempt) return; // a listener ended it, or opened it by itself
      this._connect();
      this.emit('reconnect', attempt);
    });
    recovery.on('reconnect timeout', (error, attempt) => {
      this._hangUp();
      this._setState(Primus.CLOSED, 'end');
      this.emit('reconnect timeout', error, attempt);
    });
    recovery.on('reconnect failed', (error, attempt) => {
      this.emit('end');
      this.emit('reconnect failed', error, attempt);
    });
    this._stopWatching = watchPage(this);
    Object.keys(this.ark).forEach((name) => this.ark[name].call(this, this, options));
    return this;
  }

  // -- what there is to call, beyond what a Messenger has

  /** Connect. This is done for you, unless the option `manual` says otherwise. */
  open() {
    if (this.destroyed) return this.critical(new Error('This client was destroyed'));
    this._wanted = true;
    clearTimeout(this._openTimer);
    this._openTimer = undefined;
    if (this.readyState !== Primus.CLOSED || this.recovery.hurry()) return this;
    this.recovery.reset(); // a listener hears of an attempt that failed: this one is not part of it
    const { timeout } = this.options;
    if (timeout) this._connectTimer = wait(() => {
      this._hangUp();
      this.emit('timeout');
      this._giveUpOpening();
    }, timeout);
    this._connect();
    return this;
  }

  /** Close the connection, after a last message if there is one. */
  end(data) {
    this._wanted = false;
    this._leave(data);
    return this;
  }

  /** End, and let go of everything. False: that was done before. */
  destroy() {
    if (this.destroyed) return false;
    this.end();
    this.destroyed = true;
    this._clearTimers(); // a listener may have opened it again
    this._hangUp();
    this.readyState = Primus.CLOSED;
    this._stopWatching();
    this.recovery.destroy();
    this.buffer = [];
    this._calls.lost(true);
    this.transformers = { incoming: [], outgoing: [] };
    this.emit('destroy');
    this.removeAllListeners();
    return true;
  }

  /** The plug-in of that name; without a name all of them. */
  plugin(name) {
    return name ? this.ark[name] : { ...this.ark };
  }

  /** Whether an event's name is ours and not an application's. */
  reserved(event) {
    return /^(incoming|outgoing)::/.test(event) || event in this.reserved.events;
  }

  /**
   * A function that emits the event with its arguments. A parser may change them: it gets a callback (error, arguments)
   * before them. Arguments that are undefined leave them as they are; null leaves none.
   */
  emits(...args) {
    const parser = typeof args[args.length - 1] === 'function' ? args.pop() : (done) => done();
    return (...given) => parser.call(this, (error, changed) => {
      if (error) this.emit('error', error);
      else this.emit(...args, ...(changed === undefined ? given : [].concat(changed === null ? [] : changed)));
    }, ...given);
  }

  /** Report an error that must not go unseen: it is thrown where nobody listens. */
  critical(error) {
    if (!this.emit('error', error)) throw error;
    return this;
  }

  /** What carries it now, "websocket" or "polling"; undefined without a connection. */
  get transport() {
    return this._isOpen() ? this.socket.transport : undefined;
  }

  /** The server's name for how they talk, such as "engine.io". */
  get transformer() {
    return this._server.wire;
  }

  // -- connecting

  _connect() {
    this._setState(Primus.OPENING, 'opening');
    const target = describeTarget(this);
    if (this.readyState !== Primus.OPENING || this.socket) return; // a listener ended it
    const Wire = wires[this._server.wire];
    const wire = new Wire(target, {
      open: (details) => this.socket === wire && this._opened(wire, details || {}),
      message: (data) => this.socket === wire && this._receive(data),
      event: (name, args, reply) => this.socket === wire && this._receiveEvent(name, args, reply),
      transport: (name) => this.socket === wire && this.emit('transport', name),
      heartbeat: () => this.socket === wire && this.emit('incoming::ping', Date.now()),
      closed: (details) => this.socket === wire && this._closed(details || {}),
    });
    this.socket = wire;
    this.emit('outgoing::open');
  }

  _opened(wire, { id }) {
    const { online } = this;
    const tell = (...args) => this.socket === wire && this.emit(...args);
    this._clearTimers();
    this.readyState = Primus.OPEN;
    this.writable = this.readable = true;
    this.online = true;
    this._id = id;
    if (!wire.constructor.heartbeats) this._liveness.start();
    this._flush();
    tell('incoming::open');
    this.recovery.reconnected();
    if (!online) tell('online');
    tell('readyStateChange', 'open');
    if (id !== undefined) this._identify(id);
    tell('transport', wire.transport);
    tell('open');
  }

  /** The first attempt came to nothing. Listeners heard why, and may have decided already what is to follow. */
  _giveUpOpening() {
    if (this.readyState !== Primus.OPENING || this.socket) return;
    this._clearTimers();
    if (this._follows('timeout')) {
      this._setState(Primus.CLOSED, 'end');
      if (this._wanted) this.recovery.reconnect();
    } else {
      this._finish();
    }
  }

  // -- the end of a connection

  /** The wire is closed, and it was not us. */
  _closed({ code, reason = '', refused, final, error }) {
    const { readyState } = this;
    const sentAway = this._sentAway; // and then it does not matter how the connection ends
    const failure = error || new Error(reason || 'The connection failed');
    this._release();
    if (error) this.emit('incoming::error', error);
    this.emit('incoming::end', { code, reason });
    if (this.socket || this.readyState === Primus.CLOSED) return;
    if (refused) this._refuse(refused, failure);
    else if (readyState !== Primus.OPEN && !sentAway && !final) this._fail(failure);
    else {
      if (error && !sentAway) this.emit('error', error);
      this._lose({ code, reason }, sentAway || final);
    }
  }

  /** It did not open. While reconnecting that is no error, only one attempt of many. */
  _fail(error) {
    if (this.recovery.reconnecting()) {
      this._setState(Primus.CLOSED, 'end');
      this.recovery.reconnected(error);
    } else {
      this.emit('error', error);
      this._giveUpOpening();
    }
  }

  /** The server does not want us. That is not mended by trying again, as a failure may be. */
  _refuse({ status, reason, data }, failure) {
    const error = Object.assign(new Error(reason || failure.message), { status, reason, data, refused: true });
    const again = this.recovery.reconnecting();
    this.emit('error', error);
    this.emit('refused', { status, reason, data });
    if (this.readyState !== Primus.OPENING || this.socket) return;
    if (!this.options['retry refused']) this.end();
    else if (again) this._fail(error);
    else this._giveUpOpening();
  }

  /** A connection is gone that nobody here ended. */
  _lose(why, sentAway) {
    if (this.readyState === Primus.CLOSED || this.socket) return;
    if (sentAway) {
      this.end();
      return;
    }
    this.writable = this.readable = false;
    this._setState(Primus.CLOSED, 'end');
    this.emit('close', why);
    if (this.readyState !== Primus.CLOSED || !this._wanted) return;
    if (this._follows('disconnect')) {
      this.recovery.reconnect();
    } else {
      this.emit('outgoing::end');
      this.emit('end');
    }
  }

  /** Close what there is, or what was to come. */
  _leave(data) {
    if (this.readyState !== Primus.CLOSED || this._openTimer !== undefined) {
      if (data !== undefined) this.write(data);
      this._finish();
    } else if (this.recovery.reconnecting()) {
      this.recovery.reset();
      this.emit('end');
    }
  }

  /** Close this connection, or what was to become one. */
  _finish() {
    this._clearTimers();
    this.recovery.reset();
    this.writable = this.readable = false;
    this._hangUp();
    this._setState(Primus.CLOSED, 'end');
    this.emit('outgoing::end');
    this.emit('close', { code: 1000, reason: '' });
    this.emit('end');
  }

  _hangUp() {
    const wire = this.socket;
    this._release();
    if (wire) wire.close(1000, '');
  }

  _release() {
    this.socket = null;
    this._sentAway = false;
    this._id = undefined;
    this._liveness.stop();
    this._calls.lost();
  }

  // -- what the page says of the network

  _wentOnline() {
    this._liveness.doubt();
    if (!this._setOnline(true) || this.readyState !== Primus.CLOSED || !this._wanted) return;
    if (this._follows('online') && !this.recovery.hurry()) this.recovery.reconnect();
  }

  /** False: that was known. */
  _setOnline(online) {
    if (this.online === online) return false;
    this.online = online;
    this.emit(online ? 'online' : 'offline');
    return true;
  }

  // -- small things

  _setState(state, word) {
    if (this.readyState === state) return;
    this.readyState = state;
    this.emit('readyStateChange', word);
  }

  _clearTimers() {
    clearTimeout(this._openTimer);
    clearTimeout(this._connectTimer);
    this._openTimer = undefined;
  }

  _follows(strategy) {
    return this.options.strategy.split(',').includes(strategy);
  }
}
