'use strict';
// Units of the generated client: what ActionheroWebsocketClient makes of a network that goes, and of addresses.

const { world, socket, test, assert } = require('./generated_units.cjs');
const { FakeWebSocket } = require('./generated_fakes.cjs');

/** Answer what a client asks for, as an ActionHero server does. */
function serve(place) {
  const send = place.send.bind(place);
  place.send = (text) => {
    send(text);
    const { event, messageId } = JSON.parse(text);
    const data = event === 'detailsView' ? { id: 'me', fingerprint: 'mine', rooms: [] } : true;
    if (messageId) Promise.resolve().then(() => place.say({ context: 'response', messageId, status: 'OK', data }));
  };
  place.accept();
}

/** A connected client, in a page; `fetch` is how it asks why a WebSocket failed, and for actions over HTTP. */
async function connected(surroundings, options) {
  const all = world({ inPage: true, ...surroundings });
  const { ActionheroWebsocketClient } = all.exports;
  const fetch = surroundings.fetch || (() => Promise.reject(new Error('down')));
  const client = new ActionheroWebsocketClient({ url: 'http://server.example', WebSocket: FakeWebSocket, fetch, ...options });
  const connecting = client.connect();
  serve(socket());
  await connecting;
  return { ...all, client };
}

/** What becomes of a promise: undefined while it waits. */
function watch(promise) {
  const seen = {};
  promise.then((value) => { seen.value = value; }, (error) => { seen.code = error.code; });
  return seen;
}

const RECONNECT = { min: 100, retries: 1, 'reconnect timeout': 500 };

test('actionhero: a server that fell silent for good is the end, and calls fail', async () => {
  for (const options of [{}, { network: false }, { strategy: 'online' }]) {
    const { clock, client } = await connected({}, { ping: 1000, pong: 300, reconnect: RECONNECT, ...options });
    await clock.advance(1300); // it is not there any more; of the network nothing was said
    const said = watch(client.say('room', 'anybody there?'));
    await clock.advance(1000);
    assert.deepEqual([client.state, said.code], ['disconnected', 'DISCONNECTED'], JSON.stringify(options));
    client.disconnect();
  }
});

test('actionhero: refused after it fell silent', async () => {
  const fetch = async () => ({ status: 403, text: async () => 'no more' });
  const { clock, client } = await connected({ fetch }, { ping: 1000, pong: 300, reconnect: RECONNECT });
  await clock.advance(1300);
  const said = watch(client.say('room', 'anybody there?'));
  await clock.advance(100);
  socket().hangUp();
  await clock.advance(0);
  assert.deepEqual([client.state, said.code], ['disconnected', 'REFUSED']);
});

test('actionhero: without a network calls wait until there is one', async () => {
  const { clock, client, navigator, fire } = await connected({}, { reconnect: RECONNECT });
  navigator.onLine = false;
  fire('window', 'offline');
  const said = watch(client.say('room', 'later'));
  await clock.advance(60000);
  assert.deepEqual([client.state, said], ['disconnected', {}]);
  navigator.onLine = true;
  fire('window', 'online');
  await clock.advance(100);
  serve(socket());
  await clock.advance(0);
  assert.deepEqual([client.state, said.value.status], ['connected', 'OK']);
});

test('actionhero: slow answers do not keep it from connecting again, whatever its calls have time for', async () => {
  const { clock, client } = await connected({}, { responseTimeout: 3000, reconnect: RECONNECT });
  await client.roomAdd('x');
  socket().hangUp();
  await clock.advance(100);
  socket().accept();
  await clock.advance(3500);
  const [{ event, messageId }] = socket().heard;
  socket().say({ context: 'response', messageId, status: 'OK', data: true });
  await clock.advance(3500);
  const details = socket().heard[1];
  assert.deepEqual([event, details.event, client.state], ['roomAdd', 'detailsView', 'reconnecting']);
  socket().say({ context: 'response', messageId: details.messageId, status: 'OK', data: { id: 'me', rooms: ['x'] } });
  assert.deepEqual([client.state, client.rooms], ['connected', ['x']]);
  const said = watch(client.say('x', 'anybody there?'));
  await clock.advance(3000);
  assert.equal(said.code, 'TIMEOUT');
});

test('actionhero: a room that is joined and left at once is left', async () => {
  const { clock, client } = await connected({}, { reconnect: RECONNECT });
  await Promise.all([client.roomAdd('left'), client.roomLeave('left')]);
  await Promise.all([client.roomAdd('kept'), client.roomLeave('kept'), client.roomAdd('kept')]);
  assert.deepEqual(client.rooms, ['kept']);
  socket().hangUp();
  await clock.advance(100);
  serve(socket());
  await clock.advance(0);
  assert.deepEqual(socket().heard.map(({ event, room }) => [event, room]), [['roomAdd', 'kept'], ['detailsView', undefined]]);
});

test('actionhero: what is called while the connection breaks waits for the next', async () => {
  const asked = [];
  const fetch = async (url) => {
    asked.push(url);
    return { status: 200, statusText: '', text: async () => '{"done":true}' };
  };
  const { clock, client } = await connected({ fetch }, { reconnect: RECONNECT });
  await client.roomAdd('x');
  let calls;
  client.once('error', () => {
    calls = [client.say('y', 'still here'), client.roomLeave('x'), client.action('a')].map(watch);
  });
  socket().fail('reset');
  await clock.advance(0);
  assert.deepEqual(calls, [{}, {}, { value: { done: true } }]); // actions have another way
  await clock.advance(100);
  socket().accept();
  const answer = (index, rest) => socket().say({ context: 'response', messageId: socket().heard[index].messageId, ...rest });
  answer(0, { status: 'OK', data: { id: 'me', rooms: [] } });
  assert.deepEqual(socket().heard.map(({ event }) => event), ['detailsView', 'say', 'roomLeave']);
  answer(1, { status: 'OK', data: true });
  answer(2, { status: 'Error', error: 'Error: connection is not in this room (x)' });
  await clock.advance(0);
  assert.deepEqual([calls[0].value.status, calls[1].value.status, asked.length], ['OK', 'OK', 1]);
});

test('actionhero: over HTTP, by every address that Primus takes', async () => {
  const cases = [
    ['http://server.example', 'http://server.example/api?action=a'],
    ['http://server.example:81/', 'http://server.example:81/api?action=a'],
    ['https://server.example/below/', 'https://server.example/below/api?action=a'],
    ['wss://server.example', 'https://server.example/api?action=a'],
    ['server.example:81', 'http://server.example:81/api?action=a'],
  ];
  for (const [url, expected] of cases) {
    const { exports } = world();
    const asked = [];
    const fetch = async (address) => {
      asked.push(address);
      return { status: 200, statusText: '', text: async () => '{"done":true}' };
    };
    const client = new exports.ActionheroWebsocketClient({ url, fetch });
    assert.deepEqual([await client.action('a'), asked], [{ done: true }, [expected]]);
  }
  const { exports } = world();
  const nowhere = new exports.ActionheroWebsocketClient({ url: 'ftp://server.example', fetch: () => assert.fail() });
  await assert.rejects(nowhere.action('a'), { code: 'NETWORK' });
});

test('actionhero: a server that answers nonsense does not leave who connects in the dark', async () => {
  const { clock, exports } = world();
  const client = new exports.ActionheroWebsocketClient({ url: 'http://server.example', WebSocket: FakeWebSocket });
  const outcome = watch(client.connect());
  socket().accept();
  const [{ messageId }] = socket().heard;
  socket().say({ context: 'response', messageId, status: 'OK' });
  await assert.rejects(clock.advance(0), /undefined/); // reported as an uncaught error
  await clock.advance(10000);
  assert.equal(outcome.code, 'TIMEOUT');
});

test('actionhero: what was told to be lost is not run later', async () => {
  const { clock, client } = await connected({}, { reconnect: RECONNECT, responseTimeout: 1000 });
  const waiting = [];
  client.client.transform('outgoing', ({ data }, next) => { if (data.event === 'action') waiting.push(next); else next(); });
  const lost = watch(client.action('once'));
  socket().hangUp();
  await clock.advance(100);
  serve(socket());
  await clock.advance(0);
  const late = watch(client.action('twice'));
  await clock.advance(1000);
  assert.deepEqual([lost.code, late.code], ['DISCONNECTED', 'TIMEOUT']);
  waiting.forEach((next) => next());
  const fails = watch(client.action('thrice'));
  waiting.pop()(new Error('not this'));
  await clock.advance(0);
  assert.equal(fails.code, 'INVALID');
  assert.deepEqual(socket().heard.map(({ event }) => event), ['detailsView']);
});

test('actionhero: what waits for the rooms goes on waiting when the connection breaks on the way', async () => {
  const { clock, client } = await connected({}, { reconnect: RECONNECT });
  socket().hangUp();
  const said = ['first', 'second'].map((message) => watch(client.say('room', message)));
  await clock.advance(100);
  client.client.on('outgoing::data', (text) => text.includes('first') && socket().hangUp());
  serve(socket());
  await clock.advance(0);
  assert.deepEqual([said[0].code, said[1]], ['DISCONNECTED', {}]);
  await clock.advance(100);
  serve(socket());
  await clock.advance(0);
  assert.deepEqual([said[1].value.status, socket().heard.map(({ message }) => message)], ['OK', [undefined, 'second']]);
});

test('actionhero: connect() calls back once each, also when it is called by who hears that it failed', async () => {
  for (const external of [false, true]) {
    const { clock, exports } = world();
    const { ActionheroWebsocketClient, Primus } = exports;
    const options = { url: 'http://server.example', WebSocket: FakeWebSocket };
    const client = new ActionheroWebsocketClient(options, external ? new Primus(options.url, { ...options, manual: true }) : undefined);
    const told = [];
    const again = (number) => client.connect((error) => {
      told.push([number, error ? error.message : null]);
      if (error) again(number + 1);
    });
    again(1);
    client.connect((error) => told.push(['other', error ? error.message : null]));
    await clock.advance(0);
    serve(socket());
    await clock.advance(0);
    assert.deepEqual(told, [[1, 'connect() was called again'], [2, null], ['other', null]]);
    assert.deepEqual(FakeWebSocket.all.filter(({ readyState }) => readyState < 3).length, 1); // nothing is left of the others
    assert.equal(client.state, 'connected');
    const lost = [];
    client.on('disconnected', () => lost.push(client.state));
    client.send({ event: 'unanswered' }, () => again(3));
    client.send({ event: 'unanswered' }, () => again(4));
    client.disconnect();
    await clock.advance(0);
    serve(socket());
    await clock.advance(0);
    assert.deepEqual([told.slice(3), client.state, lost.length], [[[4, null], [3, null]], 'connected', 1]);
    client.disconnect();
    await clock.advance(1e6);
    assert.deepEqual(FakeWebSocket.all.filter(({ readyState }) => readyState < 3).length, 0);
  }
});

test('actionhero: connect() tells by its callback that there is nothing to connect to', async () => {
  const { clock, exports } = world();
  const { ActionheroWebsocketClient, Primus } = exports;
  const destroyed = new Primus('http://server.example', { manual: true });
  destroyed.destroy();
  for (const client of [new ActionheroWebsocketClient({ url: 'ftp://server.example' }), new ActionheroWebsocketClient({}, destroyed)]) {
    const told = [];
    client.connect((error) => told.push(error));
    const waits = watch(client.say('room', 'x'));
    assert.deepEqual([told.length, client.state], [0, 'connecting']);
    await clock.advance(0);
    assert.deepEqual([told.map(({ code }) => code), waits.code, client.state], [['DISCONNECTED'], 'DISCONNECTED', 'disconnected']);
    assert.match(told[0].message, /^can't connect: .+/);
    assert.equal(told[0].message, `can't connect: ${told[0].cause.message}`);
    const first = watch(client.connect());
    const second = watch(client.connect());
    await clock.advance(0);
    assert.deepEqual([first.code, second.code], ['DISCONNECTED', 'DISCONNECTED']);
  }
});

test('actionhero: an error of a message is not the cause of a later end', async () => {
  const { clock, client } = await connected({}, { reconnect: RECONNECT });
  assert.equal(watch(client.say('room', 1n)).code, undefined);
  await clock.advance(0);
  const lost = client.say('room', 'x').catch((error) => error);
  client.client.end(); // not by disconnect()
  const { code, message, cause } = await lost;
  assert.deepEqual([code, message, cause], ['DISCONNECTED', 'the connection was lost', null]);
  const said = client.connect().catch((error) => error);
  serve(socket());
  await said;
  const failed = client.say('room', 'x').catch((error) => error);
  socket().fail('reset'); // this is one
  assert.equal((await failed).cause.message, 'reset');
});

test('actionhero: the session\'s cookie beside a query of the address', async () => {
  for (const [url, expected] of [['http://server.example', '?mine=a%20b&'], ['http://server.example?token=t', '?token=t&mine=a%20b&']]) {
    const { client, document } = await connected({}, { url, cookieKey: 'mine' });
    document.cookie = 'mine=a b';
    client.connect().catch(() => {});
    assert.ok(socket().url.startsWith(`ws://server.example/primus${expected}`), socket().url);
  }
});
