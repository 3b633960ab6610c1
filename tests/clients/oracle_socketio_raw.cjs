'use strict';
// A real Socket.IO server with the application of tests/socket_io/support.py.
//
//   node oracle_socketio_raw.cjs OPTIONS      OPTIONS: npm socket.io's own, as JSON; {"parser": "msgpack"} for the other parser
//
// Prints {"port": n} when it listens; ends when its standard input does.

const http = require('node:http');
const { Server } = require('socket.io');

const options = JSON.parse(process.argv[2]);
if (options.parser === 'msgpack') options.parser = require('socket.io-msgpack-parser');

const server = http.createServer();
const io = new Server(server, options);

// What each event does; an array is its acknowledgement.
const EVENTS = {
  echo: (socket, args) => { socket.emit('echo', ...args); },
  return: (socket, args) => args,
  add: (socket, [a, b]) => [a + b],
  nothing: () => [],
  two: () => [1, 2],
  bytes: () => [Buffer.from([1, 2, 3])],
  blobs: (socket) => { socket.emit('blobs', Buffer.from([1]), { deep: [Buffer.from([2])] }); },
  ask: (socket) => { socket.emit('question', 6, 7, (...answer) => socket.emit('answered', ...answer)); },
  auth: (socket) => { socket.emit('auth', socket.handshake.auth); },
  leave: (socket) => { socket.disconnect(); },
};

function serve(socket) {
  socket.onAny((name, ...args) => {
    if (name === undefined || typeof name === 'function') return; // an event without any data
    const ack = typeof args.at(-1) === 'function' ? args.pop() : null;
    let result;
    if (Object.hasOwn(EVENTS, name)) result = EVENTS[name](socket, args);
    else socket.emit('any', String(name), ...args);
    if (ack) ack(...(result ?? []));
  });
}

io.on('connection', serve);
io.of('/other').on('connection', serve);
io.of('/admin').on('connection', serve);
io.of('/admin').use((socket, next) => {
  if (socket.handshake.auth.token === 'right') return next();
  const refusal = new Error('not you');
  if (socket.handshake.auth.why) refusal.data = { code: 7 };
  next(refusal);
});
io.of(/^\/dynamic-\d+$/).on('connection', serve);

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));

process.stdin.on('end', () => process.exit(0)).resume();
