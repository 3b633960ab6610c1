// Events, as Node.js and npm eventemitter3 have them.
//
// One thing is as in the DOM: a listener that throws stops neither the other listeners nor the one who emitted. What it
// threw is thrown again on its own, where the page's error reporting sees it.

function throwLater(error) {
  setTimeout(() => { throw error; });
}

/** Call it; what it throws is reported as an uncaught error, but does not keep others from being called. */
function callSafely(run) {
  try {
    run();
  } catch (error) {
    throwLater(error);
  }
}

class EventEmitter {
  /** Call `listener` on every `event`, with `this` being `context` (the emitter itself by default). */
  on(event, listener, context) {
    return this._listen(event, listener, context, false);
  }

  /** The same, for one time. */
  once(event, listener, context) {
    return this._listen(event, listener, context, true);
  }

  /** Call the listeners. False: there is none. */
  emit(event, ...args) {
    const entries = this._entries(event);
    // The list is replaced and never changed, so what a listener adds or removes counts from the next time on.
    entries.forEach((entry) => {
      if (entry.once) this._keep(event, (other) => other !== entry);
      try {
        entry.listener.apply(entry.context, args);
      } catch (error) {
        throwLater(error);
      }
    });
    return entries.length > 0;
  }

  /** Take away a listener; without one, all of this event. */
  removeListener(event, listener) {
    this._keep(event, (entry) => listener !== undefined && entry.listener !== listener);
    return this;
  }

  /** Take away every listener, or every one of this event. */
  removeAllListeners(event) {
    if (event === undefined) this._events = undefined;
    else this.removeListener(event);
    return this;
  }

  listeners(event) {
    return this._entries(event).map((entry) => entry.listener);
  }

  listenerCount(event) {
    return this.listeners(event).length;
  }

  eventNames() {
    return this._events ? [...this._events.keys()] : [];
  }

  _entries(event) {
    // Made here and not in a constructor: nothing has to be called for a class to be an emitter.
    if (!this._events) this._events = new Map();
    return this._events.get(event) || [];
  }

  _listen(event, listener, context = this, once) {
    if (typeof listener !== 'function') throw new TypeError('The listener must be a function');
    const entries = this._entries(event).concat({ listener, context, once });
    this._events.set(event, entries);
    return this;
  }

  _keep(event, fits) {
    const kept = this._entries(event).filter(fits);
    if (kept.length) this._events.set(event, kept);
    else this._events.delete(event);
  }
}

EventEmitter.prototype.addListener = EventEmitter.prototype.on;
EventEmitter.prototype.off = EventEmitter.prototype.removeListener;
