'use strict';
// Units of the generated client: a server that does not want it.

const { world, socket, test, assert } = require('./generated_units.cjs');
const { FakeWebSocket, settle } = require('./generated_fakes.cjs');

const sockets = () => FakeWebSocket.all.length;

const refusal = (status, body) => ({ status, text: async () => (typeof body === 'string' ? body : JSON.stringify(body)) });

test('refused: is told, with status and reason, and is the end', async () => {
  const { clock, connect, events, plain, asked } = world({ answer: () => refusal(401, { error: 'a token is required' }) });
  connect();
  await clock.advance(0);
  socket().fail();
  await settle();
  const [, [, error], [, refused]] = events;
  assert.deepEqual([error.message, error.status, error.refused], ['a token is required', 401, true]);
  assert.deepEqual(JSON.parse(JSON.stringify(refused)), { status: 401, reason: 'a token is required', data: { error: 'a token is required' } });
  assert.deepEqual(plain(), ['error', 'refused', 'close', 'end']);
  assert.equal(asked[0].url, socket().url.replace('ws', 'http'));
  assert.equal(asked[0].options.credentials, 'include');
  await clock.advance(1e6);
  assert.equal(sockets(), 1);
});

test('refused: in words that are no JSON', async () => {
  for (const [body, reason] of [['go away', 'go away'], ['"quoted"', 'quoted'], [{ message: 'm' }, 'm'], [[1], '[1]'], ['', 'The WebSocket failed']]) {
    const { clock, connect, events } = world({ answer: () => refusal(403, body) });
    connect();
    await clock.advance(0);
    socket().fail();
    await settle();
    assert.equal(events[1][1].message, reason);
  }
});

test('refused: not by what may pass', async () => {
  for (const status of [200, 302, 408, 425, 426, 429, 500, 503]) {
    const { clock, connect, plain } = world({ answer: () => refusal(status, '') });
    connect();
    await clock.advance(0);
    socket().fail();
    await settle();
    assert.deepEqual(plain(), ['error', 'reconnect scheduled'], status);
  }
});

test('refused: on the way back, too', async () => {
  const { clock, opened, plain } = world({ answer: () => refusal(403, 'expired') });
  await opened({ reconnect: { min: 100 } });
  socket().hangUp();
  await clock.advance(100);
  socket().fail();
  await settle();
  assert.deepEqual(plain(), ['close', 'reconnect scheduled', 'reconnect', 'error', 'refused', 'close', 'end']);
  await clock.advance(1e6);
  assert.equal(sockets(), 2);
});

test('refused: a client may insist', async () => {
  const { clock, connect, plain } = world({ answer: () => refusal(401, 'no') });
  connect({ 'retry refused': true, reconnect: { min: 100 } });
  await clock.advance(0);
  socket().fail();
  await settle();
  await clock.advance(100);
  socket().fail();
  await settle();
  await clock.advance(200);
  socket().accept();
  assert.deepEqual(plain(), [
    'error', 'refused', 'reconnect scheduled', 'reconnect', 'error', 'refused', 'reconnect scheduled', 'reconnect',
    'reconnected', 'transport', 'open',
  ]);
});

test('refused: ending while it is asked why', async () => {
  let signal;
  const { clock, connect, plain } = world({ answer: (url, options) => { ({ signal } = options); return new Promise(() => {}); } });
  const client = connect();
  await clock.advance(0);
  socket().fail();
  await settle();
  client.end();
  assert.equal(signal.aborted, true);
  await settle();
  assert.deepEqual(plain(), ['close', 'end']);
});
