'use strict';
// Engine.IO's wire alone: the move from polling to a WebSocket. (Loaded by generated_wires_units.cjs.)

const { assert, world, last, sockets, settle, test } = require('./generated_wires_units.cjs');

test('a probe', async () => {
  const { polling, network } = world();
  const client = await polling();
  assert.equal(last().url, 'ws://server/primus/?EIO=4&transport=websocket&sid=S&a=b');
  assert.equal(last().binaryType, 'arraybuffer');
  last().accept();
  assert.deepEqual([last().sent, client.wire.transport], [['2probe'], 'polling']);
  client.wire.send('posted');
  await settle();
  const { get, post } = network;
  last().say('3probe');
  client.wire.send('waits');
  client.wire.send(Uint8Array.of(1));
  await settle();
  await get.answer('4by the last poll\x1e6');
  assert.deepEqual([network.open('GET').length, network.open('POST').length, last().sent.length], [1, 1, 1]);
  await post.answer('ok');
  assert.deepEqual([network.open('GET').length, network.open('POST').length, last().sent.length], [1, 0, 1]);
  await network.get.answer('6');
  assert.deepEqual(last().sent, ['2probe', '5', '4waits', Uint8Array.of(1)]);
  client.wire.send('directly');
  last().say('4answer');
  last().say('2');
  assert.deepEqual(last().sent.slice(4), ['4directly', '3']);
  assert.deepEqual(client.log.map(([event, data]) => data?.id || data || event), ['S', 'by the last poll', 'websocket', 'answer', 'heartbeat']);
  assert.equal(network.all.filter(({ over }) => !over).length, 0);
  last().hangUp(1006);
  assert.deepEqual([client.end().code, client.end().error], [1006, undefined]);
});

test('a probe with nothing under way', async () => {
  const { polling, network } = world();
  const client = await polling();
  last().accept();
  const poll = network.get;
  last().say('3probe');
  assert.equal(last().sent.length, 1); // the poll
  await poll.answer('6');
  assert.deepEqual([last().sent, client.wire.transport], [['2probe', '5'], 'websocket']);
});

test('a POST that the server takes only when what it says is fetched', async () => {
  const { polling, network } = world();
  const client = await polling();
  last().accept();
  client.wire.send('much to say');
  await settle();
  const { post } = network;
  last().say('3probe');
  for (const word of ['so', 'has', 'the server']) await network.get.answer(`4${word}`);
  client.wire.send('waits');
  await post.answer('ok');
  assert.deepEqual([network.open('POST').length, client.wire.transport], [0, 'polling']);
  await network.get.answer('6');
  assert.deepEqual([last().sent, client.wire.transport, network.open('GET').length], [['2probe', '5', '4waits'], 'websocket', 0]);
  assert.deepEqual(client.log.map(([event, data]) => data?.id || data || event), ['S', 'so', 'has', 'the server', 'websocket']);
});

test('a probe that comes to nothing', async () => {
  const ways = {
    refused: (socket) => socket.fail('no'),
    wrong: (socket) => { socket.accept(); socket.say('4hello'); },
    binary: (socket) => { socket.accept(); socket.say(new ArrayBuffer(1)); },
    twice: (socket) => { socket.accept(); socket.say('3probe'); socket.say('3probe'); },
    lost: (socket) => { socket.accept(); socket.say('3probe'); socket.hangUp(); },
  };
  for (const [name, go] of Object.entries(ways)) {
    const { polling, network, clock } = world();
    const client = await polling();
    go(last());
    client.wire.send('still by POST');
    await settle();
    assert.equal(network.post.body, '4still by POST', name);
    await network.post.answer('ok');
    await network.get.answer('4still by poll');
    assert.deepEqual([client.names(), client.wire.transport, network.get.over], [['open', 'message'], 'polling', false], name);
    await clock.advance(20000);
    assert.deepEqual([client.names(), sockets().length], [[], 1], name); // no second try
  }
});

test('a probe that takes too long', async () => {
  for (const answered of [false, true]) {
    const { polling, network, clock } = world();
    const client = await polling();
    last().accept();
    client.wire.send('a POST that is not answered');
    await settle();
    if (answered) last().say('3probe');
    client.wire.send('waits');
    await network.get.answer('4polled');
    await clock.advance(9999);
    assert.deepEqual([last().closed, network.open('GET').length], [undefined, 1]);
    await clock.advance(1);
    assert.ok(last().closed);
    assert.equal(network.get.over, false); // polling goes on
    await network.post.answer('ok');
    assert.equal(network.post.body, '4waits');
    last().say('3probe'); // too late
    assert.equal(client.wire.transport, 'polling');
  }
});

test('no probe', async () => {
  for (const [options, handshake, target] of [[{ upgrade: false }], [{ transports: ['polling'] }], [{}, { upgrades: [] }], [{}, {}, { websockets: false }]]) {
    const { polling } = world();
    await polling(options, handshake, target);
    assert.equal(last(), undefined);
  }
  const { polling, network } = world();
  const refusing = function refusing() { throw new Error('a policy forbids it'); };
  const client = await polling({}, {}, { WebSocket: refusing });
  assert.deepEqual([client.names(), network.get.over], [['open'], false]);
});

test('closed while it moves', async () => {
  const { polling, network, clock } = world();
  for (const dry of [false, true]) {
    const client = await polling();
    last().accept();
    if (dry) last().say('3probe');
    client.wire.send('last words');
    client.wire.close();
    await settle();
    assert.equal(network.post.body, '4last words\x1e1');
    await network.post.answer('ok');
    assert.deepEqual([client.names(), last().sent, Boolean(last().closed), network.open('GET').length], [['open'], ['2probe'], true, 0]);
    assert.equal(clock.timers.size, 0);
  }
  const client = await polling();
  last().accept();
  last().say('3probe');
  await network.get.answer('4the last word\x1e1'); // the server goes, meanwhile
  assert.deepEqual([client.names(), client.end(), last().sent], [['open', 'message', 'closed'], undefined, ['2probe']]);
  assert.ok(last().closed);
});
