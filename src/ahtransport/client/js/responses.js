// What the calls of ActionheroWebsocketClient have in common: callbacks, promises, errors, the way to the server and
// back; and the other way, over HTTP.

/**
 * Make an Error of a call. Its `code`:
 *   RESPONSE      the server answered with an error; `response` is the answer, `status` HTTP's where it came that way
 *   DISCONNECTED  the connection ended before the answer came, or there is none
 *   TIMEOUT       no answer within `responseTimeout`
 *   REFUSED       the server does not admit this client; `refused` is true, `status` and `reason` are what it said
 *   INVALID       the message can't be sent, such as a BigInt in JSON; `cause` says why
 *   DROPPED       the message fell out of a full queue (`queueSize`) before it was sent
 *   REPLACED      another call took the same messageId
 *   NETWORK       the request over HTTP did not get through, or there is no `fetch`
 */
function callError(code, message, properties) {
  return Object.assign(new Error(message), { code }, properties);
}

/** The Error that a response tells of; null when it is a good one. */
function errorIn(response, properties) {
  const error = response && response.error;
  if (!error) return null;
  if (error instanceof Error) return error;
  // Verbs answer with what JavaScript's error.toString() gives, actions with the message alone.
  const text = String(error.message || (typeof error === 'string' ? error : JSON.stringify(error)));
  return callError('RESPONSE', text.replace(/^Error: /, ''), { response, ...properties });
}

/** What stands in for a response that never came, for callbacks that look into one. */
function responseOf(error, messageId) {
  return { status: String(error), error, context: 'response', data: {}, messageId };
}

/** Start what calls back with (error, value); give a promise where there is no callback. */
function promised(callback, start) {
  if (callback) {
    start(callback);
    return undefined;
  }
  const promise = new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value)));
  });
  // Who ignores the promise, as pages do that were written for ActionHero, shall not be told of unhandled rejections.
  // (Who awaits it or chains to it still is.)
  promise.catch(() => {});
  return promise;
}

/** Adapt a callback of either signature to (error, response); undefined when it is none. */
function eitherCallback(callback) {
  if (typeof callback !== 'function') return undefined;
  return callback.length >= 2 ? callback : (error, response) => callback(response);
}

/** Messages on their way to the server, and who waits for the responses. */
class Exchange {
  /** @param owner has `client`, `callbacks`, `options`, `messageId`, `state`, `_ended` and `emit`. */
  constructor(owner) {
    this._owner = owner;
    this._queue = new Map(); // by messageId: what waits for the connection, and for its rooms
  }

  /** @param inside whether it belongs to connecting itself, so that it must not wait for that. */
  send(message, done, inside = false) {
    const owner = this._owner;
    owner.messageId += 1;
    const messageId = (message.params && message.params.messageId) || message.messageId || owner.messageId;
    if (owner._ended) {
      const error = callError('DISCONNECTED', 'not connected: call connect() first');
      Promise.resolve().then(() => done(error, responseOf(error, messageId)));
      return;
    }
    this._await(messageId, done, inside);
    const packet = { ...message, messageId };
    if (inside || this.isLive()) this._write(packet);
    else this._enqueue(packet);
  }

  /** Whether a message can go out now. While listeners hear of a loss, the state is still that of before. */
  isLive() {
    return this._owner.state === 'connected' && this.isOpen();
  }

  /** Whether there is a connection, be its rooms joined or not. */
  isOpen() {
    const { client } = this._owner;
    // npm's Primus has no such method.
    return client._isOpen ? client._isOpen() : client.readyState === Primus.OPEN;
  }

  _write(message) {
    const { client, callbacks } = this._owner;
    const call = callbacks[message.messageId] || {};
    if (client._track) {
      if (call.fail) client._track(message, call);
      client.write(message);
      return;
    }
    // npm's Primus tells of what can't be encoded by an event, and drops it.
    let cause;
    const heard = (error) => { cause = error; };
    client.on('error', heard);
    client.write(message);
    client.removeListener('error', heard);
    if (cause && call.fail) call.fail(cause);
  }

  _await(messageId, done, inside) {
    const { callbacks, options } = this._owner;
    let timer;
    const settle = (error, response) => {
      if (answered.over) return;
      answered.over = true;
      if (callbacks[messageId] === answered) delete callbacks[messageId];
      this._queue.delete(messageId);
      clearTimeout(timer);
      // What was said not to come shall not happen later.
      const { client } = this._owner;
      if (client && client._withdraw) client._withdraw(answered);
      done(error, response);
    };
    const answered = (response) => settle(errorIn(response), response); // and more: see Messenger._track
    answered.reject = (error) => callSafely(() => settle(error, responseOf(error, messageId)));
    answered.fail = (cause) => answered.reject(callError('INVALID', `it can't be sent: ${cause.message}`, { cause }));
    this._failOne(messageId, callError('REPLACED', 'another call took this messageId'));
    callbacks[messageId] = answered;
    // Connecting has a time of its own: without these answers there would be no going on.
    const patience = inside ? 0 : options.responseTimeout;
    if (patience > 0) {
      timer = wait(() => answered.reject(callError('TIMEOUT', `no answer within ${patience} ms`)), patience);
    }
  }

  /**
   * Keep it until there is a connection and its rooms are joined: what is said meanwhile is for them. (Primus' own
   * buffer is sent as soon as there is a connection, before anybody can join anything.)
   */
  _enqueue(message) {
    const { queueSize } = combine(DEFAULTS, CONFIG.client, this._owner.options);
    this._queue.set(message.messageId, message);
    if (this._queue.size <= queueSize) return;
    const [[messageId, dropped]] = this._queue;
    this._queue.delete(messageId);
    this.dropped(dropped);
  }

  /** Send what had to wait. If a listener ends the connection meanwhile, the rest goes on waiting. */
  flush() {
    for (const [messageId, message] of this._queue) {
      if (!this.isLive()) return;
      this._queue.delete(messageId);
      this._write(message);
    }
  }

  /** A message fell out of a queue. */
  dropped(message) {
    if (message) this._failOne(message.messageId, callError('DROPPED', 'the queue is full: the message was dropped'));
    this._owner.emit('dropped', message);
  }

  answered(response) {
    const { callbacks } = this._owner;
    const { messageId } = response;
    const answered = callbacks[messageId];
    delete callbacks[messageId];
    if (typeof answered === 'function') answered(response);
  }

  /** No response comes over the connection that was. What has to wait goes over the next, unless there is none. */
  fail(error, all) {
    const waiting = new Set(all ? [] : [...this._queue.keys()].map(String));
    Object.keys(this._owner.callbacks).filter((id) => !waiting.has(id)).forEach((id) => this._failOne(id, error));
  }

  _failOne(messageId, error) {
    const { callbacks } = this._owner;
    const answered = callbacks[messageId];
    delete callbacks[messageId];
    // A page may have put its own function there, which knows of responses only.
    if (answered && answered.reject) answered.reject(error);
  }
}

/** Where the API is: Primus takes addresses without a scheme and with a slash at the end, so these are good here, too. */
function addressOf({ url, apiPath }) {
  try {
    const { secure, host, pathname } = parseAddress(url);
    return `http${secure ? 's' : ''}://${host}${pathname.replace(/\/$/, '')}${apiPath}`;
  } catch (cause) {
    throw callError('NETWORK', `not connected, and this is no address to ask over HTTP: "${url}"`, { cause });
  }
}

/**
 * Ask for an action over HTTP. Gives [response, status]: an answer that is an error is a response as well.
 *
 * @param options `url`, `apiPath`, `responseTimeout`, and `fetch` if not the global one.
 * @param params `action` is its name, `httpMethod` is not sent.
 */
async function requestAction(options, params) {
  const ask = findFetch(options);
  if (!ask) throw callError('NETWORK', 'not connected, and there is no fetch to ask over HTTP');
  const { action, httpMethod, ...rest } = params;
  const method = String(httpMethod || 'POST').toUpperCase();
  let url = `${addressOf(options)}?action=${encodeURIComponent(action)}`;
  const request = { method, headers: { Accept: 'application/json' } };
  if (method === 'GET' || method === 'HEAD') {
    const given = combine(rest);
    Object.keys(given).forEach((name) => {
      const value = given[name];
      const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
      url += `&${encodeURIComponent(name)}=${encodeURIComponent(text)}`;
    });
  } else {
    request.headers['Content-Type'] = 'application/json';
    try {
      request.body = JSON.stringify({ action, ...rest });
    } catch (cause) {
      throw callError('INVALID', `it can't be sent: ${cause.message}`, { cause });
    }
  }
  const patience = options.responseTimeout;
  let timer;
  if (patience > 0 && typeof AbortController === 'function') {
    const inquiry = new AbortController();
    request.signal = inquiry.signal;
    timer = wait(() => inquiry.abort(), patience);
  }
  let text;
  let answer;
  try {
    answer = await ask(url, request);
    text = await answer.text();
  } catch (cause) {
    if (request.signal && request.signal.aborted) throw callError('TIMEOUT', `no answer within ${patience} ms`, { cause });
    throw callError('NETWORK', `the request over HTTP failed: ${cause.message}`, { cause });
  } finally {
    clearTimeout(timer);
  }
  const { status, statusText } = answer;
  try {
    const response = JSON.parse(text);
    if (typeof response === 'object' && response !== null) return [response, status];
  } catch (error) {
    // Not JSON: a proxy's page, perhaps. Handled below.
  }
  const said = `the server answered with ${status}${statusText && ` ${statusText}`}, but not with JSON`;
  throw callError('RESPONSE', said, { status, statusText, responseText: text });
}
