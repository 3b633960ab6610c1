'use strict';
// Drives the generated browser client in Node.js and records what it does.
//
//   node generated_actionhero.cjs SCENARIO URL OPTIONS FILE
//
// OPTIONS is JSON, for the client; FILE is the generated ActionheroWebsocketClient.js.

const WebSocket = require('ws');
const scenarios = require('./generated_scenarios.cjs');
const { record, called, main } = require('./tape.cjs');

const [scenario, url, options, file] = process.argv.slice(2);
const ActionheroWebsocketClient = require(file);

const EVENTS = ['connected', 'disconnected', 'reconnecting', 'reconnect', 'timeout', 'refused', 'dropped', 'error'];

/** A client that is not connected yet; its own events are recorded under its name. */
function create(name, more) {
  const client = new ActionheroWebsocketClient({ url, WebSocket, ...JSON.parse(options), ...more });
  for (const event of EVENTS) {
    client.on(event, (detail) => record({ client: name, event, state: client.state, detail: detail?.message ?? detail ?? null }));
  }
  return client;
}

/** A connected one. */
async function connect(name, more) {
  const client = create(name, more);
  const [error, details] = await called((done) => client.connect(done));
  if (error) throw error;
  record({ client: name, id: client.id, details });
  return client;
}

const { Primus } = ActionheroWebsocketClient;
const means = { url, create, connect, ActionheroWebsocketClient, WebSocket, Primus };
main(() => scenarios[scenario](means, file, JSON.parse(options)));
