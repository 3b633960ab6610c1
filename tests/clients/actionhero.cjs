'use strict';
// ActionheroWebsocketClient as ActionHero's server generates it for the browser: the template of the npm package with
// the configured defaults put in, behind the library of a Primus server. Loaded into a page-like context.

const fs = require('node:fs');
const path = require('node:path');
const util = require('node:util');
const vm = require('node:vm');
const { createRequire } = require('node:module');
const { EventEmitter } = require('node:events');
const { XMLHttpRequest } = require('xmlhttprequest-ssl');
const { load } = require('./primus.cjs');

const TEMPLATE = path.join(path.dirname(require.resolve('actionhero/package.json')), 'client', 'ActionheroWebsocketClient.js');

/** The whole script, for clients of `url` over a transformer. */
function script(url, transformer) {
  const primus = new (load(8))(new EventEmitter(), { transformer });
  clearInterval(primus.heartbeatInterval);
  const defaults = util.inspect({ apiPath: '/api', cookieKey: 'sessionID', url });
  const client = fs.readFileSync(TEMPLATE, 'utf8').replace(/%%URL%%/g, url).replace('%%DEFAULTS%%', `return ${defaults}`);
  return `${primus.library()}\r\n(function(exports){ \r\n${client}\r\n`
    + "exports.ActionheroWebsocketClient = ActionheroWebsocketClient; \r\n})(typeof exports === 'undefined' ? window : exports);";
}

/** The client's constructor, in a page that has this cookie. */
function page(url, transformer, cookie = '') {
  const window = {};
  const timers = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate };
  // Primus asks its surroundings for `ws` or `engine.io-client`, as it does on Node: here those of the npm package.
  const surroundings = { window, document: { cookie }, XMLHttpRequest, console, Buffer, process, ...timers,
    require: createRequire(require.resolve('primus')), Uint8Array, Object, RegExp, Array, Error, Date, JSON };
  vm.runInNewContext(script(url, transformer), surroundings, { filename: 'ActionheroWebsocketClient.js' });
  return window.ActionheroWebsocketClient;
}

module.exports = { page };
