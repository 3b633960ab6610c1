'use strict';
// Drives clients that ask for compression, and records what they agreed on and how many bytes it took.
//
//   node compression_driver.cjs SCENARIO URL [OPTIONS]
//
// OPTIONS are JSON: what `ws` asks for.

const zlib = require('node:zlib');
const { WebSocket } = require('ws');
const { Socket, Fetch } = require('engine.io-client');
const { io } = require('socket.io-client');
const { record, next, main } = require('./tape.cjs');

const [scenario, url, options = '{}'] = process.argv.slice(2);
const TEXT = Array.from({ length: 2000 }, (_, number) => `word ${number % 40}`).join(' ');

const connect = async () => {
  const client = new WebSocket(`${url.replace('http', 'ws')}/primus`, { perMessageDeflate: { threshold: 0, ...JSON.parse(options) } });
  await next(client, 'open');
  return client;
};

const ask = async (client, message) => {
  const answer = next(client, 'message');
  client.send(JSON.stringify(message));
  return JSON.parse((await answer)[0]);
};

const SCENARIOS = {
  /** Messages of every size, and what they took on the wire. */
  async echo() {
    const client = await connect();
    record({ extensions: client.extensions });
    for (const size of [0, 1, 1021, 1022, 1023, 5000, 100_000, 2_000_000]) {
      const sent = TEXT.repeat(Math.ceil(size / TEXT.length)).slice(0, size);
      const before = client._socket.bytesRead;
      const got = await ask(client, sent);
      record({ size, same: got === sent, bytes: client._socket.bytesRead - before });
    }
    const noise = zlib.deflateRawSync(TEXT.repeat(3)).toString('base64'); // many at once, each like the last
    for (let i = 0; i < 50; i += 1) client.send(JSON.stringify(i % 2 ? noise + i : i));
    const messages = [];
    client.on('message', (data) => messages.push(JSON.parse(data)));
    while (messages.length < 50) await next(client, 'message');
    record({ inOrder: messages.every((message, i) => message === (i % 2 ? noise + i : i)) });
    client.close(1000);
    record({ code: (await next(client, 'close'))[0] });
  },

  /** A broadcast reaches those who compress and those who don't. */
  async broadcast() {
    const clients = [await connect(), await connect(), new WebSocket(`${url.replace('http', 'ws')}/primus`, { perMessageDeflate: false })];
    await next(clients[2], 'open');
    const answers = clients.map((client) => next(client, 'message'));
    clients[0].send(JSON.stringify({ do: 'broadcast', message: TEXT }));
    for (const [data] of await Promise.all(answers)) record({ same: JSON.parse(data) === TEXT });
    record({ bytes: clients.map((client) => client._socket.bytesRead) });
  },

  /** What a message becomes counts against the limit. */
  async bomb() {
    const client = await connect();
    client.send(JSON.stringify('x'.repeat(20_000_000)));
    record({ code: (await next(client, 'close'))[0] });
  },

  /** engine.io-client, once by WebSocket and once by polling with fetch(), which asks for gzip as browsers do. */
  async engine() {
    const encodings = new Set();
    const { fetch } = globalThis;
    globalThis.fetch = async (...args) => {
      const response = await fetch(...args);
      encodings.add(response.headers.get('content-encoding'));
      return response;
    };
    for (const [name, transports] of [['fetch', [Fetch]], ['websocket', ['websocket']]]) {
      const client = new Socket(url, { path: '/primus/', transports, perMessageDeflate: { threshold: 0 } });
      await next(client, 'open');
      for (const text of ['short', TEXT, TEXT.repeat(20)]) {
        const answer = next(client, 'message');
        client.send(JSON.stringify(text));
        if (JSON.parse((await answer)[0]) !== text) throw new Error(`${name}: something else came back`);
      }
      record({ name, extensions: client.transport.ws?.extensions, encodings: [...encodings].map(String).sort() });
      client.close();
    }
  },

  async socket() {
    const client = io(url, { transports: ['websocket'], perMessageDeflate: { threshold: 0 } });
    await next(client, 'connect');
    for (const value of [TEXT, Buffer.alloc(50_000, TEXT), { deep: [TEXT, Buffer.alloc(3000, 'x')] }]) {
      const answer = next(client, 'message');
      client.send(value);
      const [got] = await answer;
      record({ same: JSON.stringify(got) === JSON.stringify(value) });
    }
    record({ extensions: client.io.engine.transport.ws.extensions });
  },
};

main(SCENARIOS[scenario]);
