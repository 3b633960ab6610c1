// Whether the other side is still there, where the wire has no heartbeat of its own.
//
// Any traffic is proof of life. After `ping` ms without, we ask; after `pong` ms more without an answer the connection
// is given up. The time of the last traffic decides and never a count of timers, because timers come late: once a
// minute in a hidden tab, hours late after a laptop slept. An answer that arrived meanwhile may still wait to be
// delivered then, so before a late timer's verdict the other side is asked once more.

const LATE = 1000; // ms after which a timer was held up
const SHORT = 3000; // ms for an answer, where there is reason for doubt

class Liveness {
  /**
   * @param ping ms of silence after which we ask
   * @param pong ms in which an answer is expected
   * @param ask called to ask; null: we only listen
   * @param giveUp called once, when nobody is there
   */
  constructor(ping, pong, ask, giveUp) {
    this._ping = ping;
    this._pong = pong;
    this._ask = ask;
    this._giveUp = giveUp;
  }

  start() {
    this.heard();
    this._wait(this._ping);
  }

  stop() {
    clearTimeout(this._timer);
    this._timer = undefined;
  }

  /** Something came. This is called for every message, so it sets no timer. */
  heard() {
    this._last = Date.now();
    this._asked = false;
    this._askedAgain = false;
  }

  /** There is reason for doubt: the network changed, or a page that was hidden is looked at again. */
  doubt() {
    if (this._timer === undefined || this._asked || !this._ask) return;
    this._askWithin(Math.min(this._pong, SHORT));
  }

  _askWithin(ms) {
    this._asked = true;
    this._wait(ms); // first: whoever hears of the question may stop us
    if (this._ask) this._ask();
  }

  _wait(ms) {
    clearTimeout(this._timer);
    this._due = Date.now() + ms;
    this._timer = wait(() => this._look(), ms);
  }

  _look() {
    const now = Date.now();
    const late = now - this._due > LATE;
    if (now < this._last) this._last = now; // somebody set the clock back
    const left = this._last + this._ping - now;
    if (this._asked && late && !this._askedAgain) {
      this._askedAgain = true;
      this._askWithin(SHORT);
    } else if (this._asked) {
      this.stop();
      this._giveUp();
    } else if (left > 0) {
      this._wait(left);
    } else {
      this._askWithin(Math.max(this._pong, late ? SHORT : 0));
    }
  }
}

/** A Liveness by the options: `pingTimeout` of Primus 7 and 8, or else `ping` and `pong` of Primus 6. */
function makeLiveness({ ping, pong, pingTimeout }, ask, giveUp) {
  const listen = (limit) => new Liveness(limit || Infinity, 0, null, giveUp);
  if (pingTimeout !== undefined) return listen(pingTimeout);
  if (!ping) return listen(pong && CONFIG.pingInterval && CONFIG.pingInterval + pong); // the server asks, and is heard
  // Who waits for ever for an answer goes on asking: the server may need to hear of us.
  const liveness = new Liveness(ping, pong || ping, ask, pong ? giveUp : () => liveness.start());
  return liveness;
}
