// When to try again after a connection was lost: randomised exponential back-off.
//
//             reconnect()               the wait is over               reconnected()
//   at rest ───────────────▶ waiting ───────────────────▶ attempting ───────────────▶ at rest
//                               ▲      "reconnect"            │       "reconnected"
//                               └─────────────────────────────┘
//           "reconnect scheduled"  reconnected(error), or "reconnect timeout"; "reconnect failed" after the last one
//
// Every event carries the attempt: {attempt, retries, scheduled, start, duration, min, max, factor, "reconnect timeout"}.

const RECOVERY = { min: 500, max: Infinity, retries: 10, factor: 2, 'reconnect timeout': 30000 };

class Recovery extends EventEmitter {
  constructor(options) {
    super();
    this.attempt = null; // what is told with the events; null: at rest
    Object.keys(RECOVERY).forEach((name) => {
      const value = Number(combine(RECOVERY, options)[name]);
      // Not a number would make a wait of nothing at all, and a server that is called upon without pause.
      this[name] = Number.isNaN(value) ? RECOVERY[name] : value;
    });
  }

  /** Whether it waits for an attempt, or for what becomes of one. */
  reconnecting() {
    return this.attempt !== null;
  }

  /** Begin, unless it has begun. */
  reconnect() {
    if (this.reconnecting()) return this;
    const attempt = { start: Date.now(), duration: 0, attempt: 0 };
    Object.keys(RECOVERY).forEach((name) => { attempt[name] = this[name]; });
    this._schedule(attempt);
    return this;
  }

  /** Don't wait any longer. False: it was not waiting. */
  hurry() {
    if (!this.attempt || !this.attempt.backoff) return false;
    this._try();
    return true;
  }

  /** Say what became of the attempt: without an error it went well. */
  reconnected(error) {
    const { attempt } = this;
    if (!attempt || attempt.backoff) return this;
    this.reset();
    attempt.duration = Date.now() - attempt.start;
    if (error) this._schedule(attempt);
    else this.emit('reconnected', attempt);
    return this;
  }

  /** Forget about it. */
  reset() {
    clearTimeout(this._timer);
    this.attempt = null;
    return this;
  }

  destroy() {
    this.reset().removeAllListeners();
  }

  _schedule(attempt) {
    if (attempt.attempt >= attempt.retries) {
      this.emit('reconnect failed', new Error('Unable to recover'), attempt);
      return;
    }
    attempt.attempt += 1;
    attempt.backoff = true;
    // The first wait is a matter of chance, too: those who were sent away together don't come back together.
    const longest = (1 + Math.random()) * attempt.min * attempt.factor ** (attempt.attempt - 1);
    attempt.scheduled = Math.min(Math.round(longest), attempt.max);
    this.attempt = attempt;
    this._timer = wait(() => this._try(), attempt.scheduled);
    this.emit('reconnect scheduled', attempt);
  }

  _try() {
    const { attempt } = this;
    clearTimeout(this._timer);
    attempt.backoff = false;
    attempt.duration = Date.now() - attempt.start;
    const limit = attempt['reconnect timeout'];
    if (limit) {
      this._timer = wait(() => {
        const error = new Error('Failed to reconnect in a timely manner');
        attempt.duration = Date.now() - attempt.start;
        this.emit('reconnect timeout', error, attempt);
        if (this.attempt === attempt) this.reconnected(error);
      }, limit);
    }
    this.emit('reconnect', attempt);
  }
}
