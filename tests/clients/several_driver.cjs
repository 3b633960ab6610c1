'use strict';
// One client of each kind, each at its own address, in one room.
//
//   node several_driver.cjs CLIENTS      CLIENTS: [{"name", "kind", "url", "path"}, …] as JSON
//
// KIND is "websockets" or "engine.io" (Primus with that transformer), or "engine.io-client" or "socket.io-client" (no Primus
// at all). Each client
// in turn says something, and all hear it. Prints who heard what, how it came, and what each answers to a plain question.

const EventEmitter = require('node:events');
const { compileClient } = require('./primus.cjs');
const { Socket } = require('engine.io-client');
const { record, next, main } = require('./tape.cjs');

const clients = JSON.parse(process.argv[2]);

async function open({ kind, url, path }) {
  if (kind === 'engine.io-client') {
    const client = new Socket(url, { path: `${path}/` });
    client.on('message', (text) => client.emit('said', JSON.parse(text)));
    await next(client, 'upgrade');
    client.write = (message) => client.send(JSON.stringify(message));
    return client;
  }
  if (kind === 'socket.io-client') {
    const client = require('socket.io-client')(url, { path: `${path}/` });
    const peer = new EventEmitter(); // the emit of a socket sends
    client.on('message', (message) => peer.emit('said', message));
    await next(client, 'connect');
    if (client.io.engine.transport.name !== 'websocket') await next(client.io.engine, 'upgrade');
    peer.write = (message) => client.send(message);
    return peer;
  }
  const client = new (compileClient(8, { transformer: kind, pathname: path }))(url);
  client.on('data', (message) => client.emit('said', message));
  await next(client, 'open');
  if (kind === 'engine.io') await next(client.socket, 'upgrade');
  return client;
}

main(async () => {
  const peers = await Promise.all(clients.map(open));
  for (const [i, peer] of peers.entries()) {
    const own = next(peer, 'said', (message) => message.you);
    peer.write({ do: 'who' });
    record({ name: clients[i].name, ...(await own)[0] });
  }
  for (const [i, peer] of peers.entries()) {
    const heard = peers.map((other) => next(other, 'said', (message) => message.from));
    peer.write({ say: `hello from ${clients[i].name}` });
    record({ name: clients[i].name, heard: (await Promise.all(heard)).map(([message]) => message) });
  }
});
