'use strict';
// What the drivers share: records on standard output, one JSON text a line, and promises that do not wait for ever.

const PATIENCE = 10_000; // ms

const record = (entry) => process.stdout.write(`${JSON.stringify(entry)}\n`);

const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** The arguments of the emitter's next `event` (optionally: the next that `fits`); rejects when it takes too long. */
function next(emitter, event, fits = () => true) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no ${event} within ${PATIENCE} ms`)), PATIENCE);
    emitter.on(event, function heard(...args) {
      if (!fits(...args)) return;
      clearTimeout(timer);
      emitter.removeListener(event, heard);
      done(args);
    });
  });
}

/** What a function with a Node-like trailing callback calls back with. */
function called(start) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no answer within ${PATIENCE} ms: ${start}`)), PATIENCE);
    start((...args) => {
      clearTimeout(timer);
      done(args);
    });
  });
}

/** Run to the end, then leave at once: a client's timers would hold the process otherwise. */
function main(run) {
  run().then(() => 0, (error) => {
    process.stderr.write(`${error.stack}\n`);
    return 1;
  }).then((status) => process.stdout.write('', () => process.exit(status)));
}

module.exports = { record, sleep, next, called, main };
