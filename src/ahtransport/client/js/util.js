// Small things that the rest is built on.

const LONGEST_WAIT = 2 ** 31 - 1; // ms; a timer that is set for longer fires at once

/** setTimeout that may be told "infinitely". */
function wait(callback, ms) {
  return setTimeout(callback, Math.min(Math.max(ms, 0), LONGEST_WAIT));
}

/** One object of several; the later ones win, and what is null or undefined says nothing. */
function combine(...sources) {
  const target = {};
  sources.forEach((source) => Object.keys(source || {}).forEach((key) => {
    if (source[key] !== undefined && source[key] !== null) target[key] = source[key];
  }));
  return target;
}

let lastUnique = 0;

/** A short text that no earlier call gave, so that no cache answers. */
function unique() {
  lastUnique = Math.max(lastUnique + 1, Date.now());
  return lastUnique.toString(36);
}
