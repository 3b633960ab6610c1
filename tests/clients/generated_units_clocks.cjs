'use strict';
// Units of the generated client: when it tries again (recovery), and whether anybody is there (liveness).

const { world, test, assert } = require('./generated_units.cjs');

// -- recovery

/** A Recovery on a clock of its own, with what it told. */
function recovering(options, random) {
  const { clock, connect } = world({ random });
  const client = connect({ manual: true });
  const told = [];
  const recovery = new client.recovery.constructor(options);
  for (const event of ['reconnect scheduled', 'reconnect', 'reconnected']) {
    recovery.on(event, (attempt) => told.push([event, attempt.attempt, attempt.scheduled, attempt.duration]));
  }
  for (const event of ['reconnect timeout', 'reconnect failed']) {
    recovery.on(event, (error, attempt) => told.push([event, error.message, attempt.attempt]));
  }
  return { clock, recovery, told, take: () => told.splice(0) };
}

test('recovery: grows by the factor, is spread at random, has a limit', () => {
  for (const [random, first, waits] of [[0, 100, [100, 300, 900, 1000]], [0.5, 150, [150, 450, 1000, 1000]]]) {
    const { recovery, take } = recovering({ min: 100, max: 1000, factor: 3, retries: 4 }, random);
    const scheduled = [];
    recovery.on('reconnect scheduled', (attempt) => scheduled.push(attempt.scheduled));
    recovery.reconnect();
    while (recovery.hurry()) recovery.reconnected(new Error('no'));
    assert.deepEqual(scheduled, waits);
    assert.equal(scheduled[0], first);
    assert.deepEqual(take().pop(), ['reconnect failed', 'Unable to recover', 4]);
    assert.equal(recovery.reconnecting(), false);
  }
});

test('recovery: what an attempt tells', async () => {
  const { clock, recovery, take } = recovering({ min: 100 }, 0);
  let attempt;
  recovery.on('reconnect', (details) => { attempt = details; });
  recovery.reconnect();
  recovery.reconnect(); // is the same
  assert.equal(recovery.reconnecting(), true);
  recovery.reconnected(); // of what? Nothing was tried
  await clock.advance(99);
  assert.deepEqual(take(), [['reconnect scheduled', 1, 100, 0]]);
  await clock.advance(1);
  assert.deepEqual(take(), [['reconnect', 1, 100, 100]]);
  await clock.advance(50);
  recovery.reconnected(new Error('no'));
  assert.deepEqual(take(), [['reconnect scheduled', 2, 200, 150]]);
  await clock.advance(200);
  recovery.reconnected();
  assert.deepEqual(take(), [['reconnect', 2, 200, 350], ['reconnected', 2, 200, 350]]);
  assert.deepEqual(Object.keys(attempt).sort(), [
    'attempt', 'backoff', 'duration', 'factor', 'max', 'min', 'reconnect timeout', 'retries', 'scheduled', 'start',
  ]);
  recovery.reconnect(); // it begins anew
  assert.deepEqual(take(), [['reconnect scheduled', 1, 100, 0]]);
});

test('recovery: an attempt has its time', async () => {
  const { clock, recovery, take } = recovering({ min: 100, 'reconnect timeout': 1000, retries: 2 }, 0);
  recovery.reconnect();
  await clock.advance(100 + 999);
  take();
  await clock.advance(1);
  const late = 'Failed to reconnect in a timely manner';
  assert.deepEqual(take(), [['reconnect timeout', late, 1], ['reconnect scheduled', 2, 200, 1100]]);
  await clock.advance(200 + 1000);
  assert.deepEqual(take().slice(1), [['reconnect timeout', late, 2], ['reconnect failed', 'Unable to recover', 2]]);
});

test('recovery: reset, no retries, infinitely long', async () => {
  const { clock, recovery, take } = recovering({ min: 100 }, 0);
  recovery.reconnect();
  recovery.reset();
  await clock.advance(1e6);
  assert.equal(take().length, 1);
  const none = recovering({ retries: 0 });
  none.recovery.reconnect();
  assert.deepEqual(none.take(), [['reconnect failed', 'Unable to recover', 0]]);
  const long = recovering({ min: Infinity, 'reconnect timeout': Infinity }, 0);
  long.recovery.reconnect();
  await long.clock.advance(1e6);
  assert.deepEqual(long.take().map(([event]) => event), ['reconnect scheduled']);
});

// -- liveness

/** A Liveness on a clock of its own: how often it asked, and whether it gave up. */
function watching(ping, pong, mayAsk = true) {
  const { clock, connect } = world();
  const told = [];
  const { constructor: Liveness } = connect({ manual: true })._liveness;
  const liveness = new Liveness(ping, pong, mayAsk ? () => told.push('ask') : null, () => told.push('give up'));
  liveness.start();
  return { clock, liveness, take: () => told.splice(0) };
}

test('liveness: asks after silence, gives up after more of it', async () => {
  const { clock, take } = watching(1000, 300);
  await clock.advance(999);
  assert.deepEqual(take(), []);
  await clock.advance(1);
  assert.deepEqual(take(), ['ask']);
  await clock.advance(299);
  assert.deepEqual(take(), []);
  await clock.advance(1);
  assert.deepEqual(take(), ['give up']);
  await clock.advance(1e5);
  assert.deepEqual(take(), []);
});

test('liveness: any traffic is proof', async () => {
  const { clock, liveness, take } = watching(1000, 300);
  for (let i = 0; i < 20; i += 1) {
    await clock.advance(900);
    liveness.heard();
  }
  assert.deepEqual(take(), []);
  await clock.advance(1200);
  liveness.heard();
  await clock.advance(999);
  assert.deepEqual(take(), ['ask']);
  liveness.stop();
  await clock.advance(1e6);
  assert.deepEqual(take(), []);
});

test('liveness: a late timer asks once more before it gives up', async () => {
  const { clock, liveness, take } = watching(1000, 300);
  await clock.advance(1000);
  assert.deepEqual(take(), ['ask']);
  clock.sleep(3_600_000); // the answer came, and is still to be delivered
  await clock.advance(0);
  assert.deepEqual(take(), ['ask']);
  liveness.heard();
  await clock.advance(900);
  assert.deepEqual(take(), []);
  clock.sleep(3_600_000); // and now it is gone
  await clock.advance(0);
  assert.deepEqual(take(), ['ask']);
  await clock.advance(3000);
  assert.deepEqual(take(), ['give up']);
});

test('liveness: timers that are always late do not keep the dead alive', async () => {
  const { clock, take } = watching(1000, 300);
  for (let i = 0; i < 3; i += 1) {
    clock.sleep(60_000);
    await clock.advance(0);
  }
  assert.deepEqual(take(), ['ask', 'ask', 'give up']);
});

test('liveness: timers once a minute do not hang up on a server that answers', async () => {
  const { clock, liveness, take } = watching(25000, 10000);
  for (let minute = 0; minute < 30; minute += 1) {
    clock.sleep(59_000);
    await clock.advance(0);
    if (take().includes('ask')) liveness.heard(); // messages are not held up, timers are
    await clock.advance(1000);
  }
  assert.deepEqual(take(), []);
});

test('liveness: doubt is asked about at once', async () => {
  const { clock, liveness, take } = watching(25000, 10000);
  await clock.advance(5000);
  liveness.doubt();
  liveness.doubt();
  assert.deepEqual(take(), ['ask']);
  liveness.heard();
  await clock.advance(24000);
  assert.deepEqual(take(), []);
  liveness.doubt();
  await clock.advance(3000);
  assert.deepEqual(take(), ['ask', 'give up']);
  liveness.doubt();
  assert.deepEqual(take(), []);
});

test('liveness: one that only listens', async () => {
  const { clock, liveness, take } = watching(1000, 0, false);
  await clock.advance(900);
  liveness.heard();
  liveness.doubt();
  await clock.advance(999);
  assert.deepEqual(take(), []);
  await clock.advance(1);
  assert.deepEqual(take(), ['give up']);
  const other = watching(1000, 0, false);
  other.clock.sleep(60_000); // late: what came is delivered first
  await other.clock.advance(0);
  assert.deepEqual(other.take(), []);
  other.liveness.heard();
  await other.clock.advance(999);
  assert.deepEqual(other.take(), []);
});

test('liveness: the clock is set back', async () => {
  const { clock, liveness, take } = watching(1000, 300);
  liveness.heard();
  clock.now -= 3_600_000;
  for (const timer of clock.timers.values()) timer.at -= 3_600_000; // timers don't look at that clock
  await clock.advance(1000);
  await clock.advance(1000);
  assert.deepEqual(take(), ['ask']);
  await clock.advance(300);
  assert.deepEqual(take(), ['give up']);
});
