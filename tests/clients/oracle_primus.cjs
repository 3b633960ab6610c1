'use strict';
// A real Primus server with the same little application as the tests' own (tests/clients/app.py): what a client sees of
// this one is what it has to see of ours.
//
//   node oracle_primus.cjs GENERATION OPTIONS      OPTIONS: Primus' own, as JSON; "emitter": true adds primus-emitter
//
// Prints {"port": n} when it listens; ends when its standard input does.

const http = require('node:http');
const { load } = require('./primus.cjs');

const [generation, json] = process.argv.slice(2);
const { emitter, msgpack, polling, ...options } = JSON.parse(json);
if (msgpack) options.parser = require('./msgpack_parser.cjs');

let ended = 0; // connections that are over, whoever ended them

function authorize(request, done) {
  const token = new URL(request.url, 'http://oracle').searchParams.get('token');
  if (token === 'none') return done({ statusCode: 401, message: 'a token is required', authenticate: 'Bearer realm="test"' });
  if (token === 'wrong') return done({ statusCode: 403, message: 'this token is not known' });
  return done();
}

const COMMANDS = {
  end: (spark) => spark.end(),
  last: (spark) => spark.end('the last word'),
  bounce: (spark) => spark.end(undefined, { reconnect: true }),
  restart: () => restart(),
  destroy: (spark, message, primus) => primus.destroy(),
  ended: (spark) => spark.write({ ended }),
  broadcast: (spark, { message }, primus) => primus.write(message),
};

function serve(port, ready) {
  const server = http.createServer((request, response) => response.end());
  const primus = new (load(generation))(server, { transformer: 'websockets', ...options });
  primus.authorize(authorize);
  if (emitter) primus.plugin('emitter', require('primus-emitter'));
  primus.on('connection', (spark) => {
    spark.on('end', () => { ended += 1; });
    spark.on('error', () => {}); // a message that cannot be decoded
    spark.on('data', (message) => {
      if (emitter && Array.isArray(message?.data)) return; // the plugin's
      const command = COMMANDS[message?.do];
      if (command) command(spark, message, primus);
      else spark.write(message);
    });
    if (emitter) answerEvents(spark);
  });
  server.listen(port, '127.0.0.1', () => ready(server.address().port));
  return primus;
}

function answerEvents(spark) {
  spark.on('greet', (name, reply) => reply(`hello ${name}`));
  spark.on('add', (a, b, reply) => reply(a + b));
  spark.on('note', (note) => spark.send('noted', note));
  spark.on('ask me', () => spark.send('question', 6, 7, (answer) => spark.send('answered', answer)));
}

let primus = serve(0, (port) => {
  console.log(JSON.stringify({ port }));
  primus.port = port;
});

function restart() {
  const { port } = primus;
  primus.destroy({ reconnect: true }, () => setTimeout(() => {
    primus = serve(port, () => { primus.port = port; });
  }, 200));
}

process.stdin.on('end', () => process.exit(0)).resume();
