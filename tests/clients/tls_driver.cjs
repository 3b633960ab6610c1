'use strict';
// A client of each kind over TLS, with the certificates that NODE_EXTRA_CA_CERTS names. It echoes a few messages.
//
//   node tls_driver.cjs KIND MODE URL OPTIONS
//
// KIND: "primus6", "primus7", "primus8" (OPTIONS, JSON, are the server's), "engine.io-client", "socket.io-client". MODE: "websocket",
// "polling" or "upgrade" (polling first). Prints the echoes, and what carried the connection in the end.

const { compileClient } = require('./primus.cjs');
const { record, next, main } = require('./tape.cjs');

const [kind, mode, url, json] = process.argv.slice(2);
const transports = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] }[mode];
const MESSAGES = ['text', 'wörld', 'x'.repeat(200_000), 'last'];

async function engine() {
  const { Socket } = require(kind);
  const client = new Socket(url, { path: '/primus/', transports });
  client.on('error', (error) => { throw error; });
  await next(client, mode === 'upgrade' ? 'upgrade' : 'open');
  for (const message of MESSAGES) {
    const answer = next(client, 'message');
    client.send(JSON.stringify(message));
    record({ echo: JSON.parse((await answer)[0]) === message });
  }
  record({ transport: client.transport.name });
}

async function io() {
  const client = require(kind)(url, { transports, forceNew: true });
  await next(client, 'connect');
  if (mode === 'upgrade' && client.io.engine.transport.name === 'polling') await next(client.io.engine, 'upgrade');
  for (const message of MESSAGES) {
    const answer = next(client, 'message');
    client.send(message);
    record({ echo: (await answer)[0] === message });
  }
  record({ transport: client.io.engine.transport.name });
}

async function primus() {
  const client = new (compileClient(kind.slice(6), JSON.parse(json)))(url, { websockets: mode !== 'polling' });
  client.on('error', (error) => process.stderr.write(`${error.message}\n`));
  await next(client, 'open');
  for (const message of MESSAGES) {
    const answer = next(client, 'data');
    client.write(message);
    record({ echo: (await answer)[0] === message });
  }
  record({ transport: client.socket.transport?.name ?? 'websocket' });
}

main({ 'engine.io-client': engine, 'socket.io-client': io }[kind] ?? primus);
