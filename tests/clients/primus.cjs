'use strict';
// Every generation of npm Primus under one roof, each with the `ws` that it was made for, and with an Engine.IO of
// protocol 4. (Primus 6 and 7 come with an older one; on Node.js they take the one that the application installs.)
//
// Primus does not list these among its dependencies, so npm cannot nest the right ones beneath each alias; what
// `require('ws')` means inside an alias is therefore decided here.

const Module = require('node:module');
const path = require('node:path');
const { EventEmitter } = require('node:events');

const PACKAGES = {
  6: { name: 'primus6', ws: 'ws2', 'engine.io': 'engine.io4', 'engine.io-client': 'engine.io-client4' },
  7: { name: 'primus7', ws: 'ws7', 'engine.io': 'engine.io5', 'engine.io-client': 'engine.io-client5' },
  8: { name: 'primus', ws: 'ws', 'engine.io': 'engine.io', 'engine.io-client': 'engine.io-client' },
};

const home = (name) => path.join(__dirname, 'node_modules', name) + path.sep;

const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  if (request in PACKAGES[8] && parent?.filename) {
    const asking = Object.values(PACKAGES).find(({ name }) => parent.filename.startsWith(home(name)));
    if (asking) return resolve.call(this, asking[request], parent, ...rest);
  }
  return resolve.call(this, request, parent, ...rest);
};

/** The npm package of one generation (6, 7 or 8). */
const load = (generation) => require(PACKAGES[generation].name);

/**
 * The client constructor as a page would get it from a server with these options.
 *
 * Not `Primus.createSocket`, which compiles a client without the ping timeout that the generated library has.
 */
function compileClient(generation, options) {
  const primus = new (load(generation))(new EventEmitter(), options);
  clearInterval(primus.heartbeatInterval);
  return primus.Socket;
}

module.exports = { load, compileClient };
