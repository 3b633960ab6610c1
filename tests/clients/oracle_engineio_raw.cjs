'use strict';
// A real Engine.IO server that sends back what it gets, text or binary, but for two words: "close" closes, and "say N"
// sends N numbered messages.
//
//   node oracle_engineio_raw.cjs OPTIONS      OPTIONS: npm engine.io's own, as JSON
//
// Prints {"port": n} when it listens; ends when its standard input does.

const http = require('node:http');
const { Server } = require('engine.io');

const engine = new Server(JSON.parse(process.argv[2]));
engine.on('connection', (socket) => {
  socket.on('message', (data) => {
    if (data === 'close') return socket.close();
    const [word, count] = String(data).split(' ');
    if (word !== 'say') return socket.send(data);
    for (let number = 0; number < Number(count); number += 1) socket.send(String(number));
  });
});

const server = http.createServer();
engine.attach(server, { path: '/primus', addTrailingSlash: false });
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));

process.stdin.on('end', () => process.exit(0)).resume();
