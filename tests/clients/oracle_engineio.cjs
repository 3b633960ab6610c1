'use strict';
// A real Engine.IO server with the tests' application (tests/clients/app.py), as far as Engine.IO itself goes.
//
//   node oracle_engineio.cjs OPTIONS      OPTIONS: npm engine.io's own, as JSON
//
// Prints {"port": n} when it listens; ends when its standard input does.

const http = require('node:http');
const { Server } = require('engine.io');

let ended = 0; // sessions that are over, whoever ended them

const COMMANDS = {
  last: (socket) => {
    socket.send(JSON.stringify('the last word'));
    socket.close();
  },
  ended: (socket) => socket.send(JSON.stringify({ ended })),
  broadcast: (socket, { message }) => Object.values(engine.clients).forEach((one) => one.send(JSON.stringify(message))),
  transport: (socket) => socket.send(JSON.stringify(socket.transport.name)),
  freeze: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000),
  count: (socket, { to }, next = 0) => {
    if (next === to) return;
    socket.send(JSON.stringify({ number: next }));
    setTimeout(COMMANDS.count, 1, socket, { to }, next + 1);
  },
};

const engine = new Server(JSON.parse(process.argv[2]));
engine.on('connection', (socket) => {
  socket.on('close', () => { ended += 1; });
  socket.on('message', (data) => {
    const message = typeof data === 'string' ? JSON.parse(data) : data;
    const command = COMMANDS[message?.do];
    if (command) command(socket, message);
    else socket.send(data);
  });
});

const server = http.createServer();
engine.attach(server, { path: '/primus' });
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));

process.stdin.on('end', () => process.exit(0)).resume();
