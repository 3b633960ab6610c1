'use strict';
// Hundreds of clients lose their server at one moment, and come back.
//
//   node storm_driver.cjs KIND COUNT URL [FILE]
//
// KIND is "generated" (our client, in FILE) or a generation of npm's Primus. All have the options of the factory. The server
// (app.py) restarts when it is told to. Recorded: the waits that the clients chose before the first attempt, and who is back.

const path = require('node:path');
const WebSocket = require('ws');
const { compileClient } = require('./primus.cjs');
const { record, main } = require('./tape.cjs');

const [kind, count, url, file] = process.argv.slice(2);
const Socket = kind === 'generated' ? require(path.resolve(file)).Primus : compileClient(kind, { transformer: 'websockets' });
const options = kind === 'generated' ? { WebSocket } : {};

/** Wait for an event of each of them, and read what it says at once: Primus changes the object of an attempt with the next. */
function all(clients, event, read = (value) => value) {
  return Promise.all(clients.map((client) => new Promise((resolve) => client.once(event, (value) => resolve(read(value))))));
}

main(async () => {
  const clients = Array.from({ length: Number(count) }, () => new Socket(url, options));
  await all(clients, 'open');
  const waits = all(clients, 'reconnect scheduled', (attempt) => attempt.scheduled);
  const back = all(clients, 'reconnected');
  const began = Date.now();
  clients[0].write({ do: 'restart' });
  record({ waits: await waits });
  await back;
  const echoes = all(clients, 'data');
  clients.forEach((client, number) => client.write({ number }));
  record({ echoes: (await echoes).map(({ number }) => number), seconds: (Date.now() - began) / 1000 });
  clients.forEach((client) => client.end());
});
