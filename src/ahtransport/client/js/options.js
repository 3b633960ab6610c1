// What a client is told: built-in defaults, then what the server was configured with (CONFIG), then what the page says.

const PARSER = CONFIG.parser || 'json';
const DEFAULTS = { queueSize: Infinity }; // the rest is in CONFIG

function completeOptions(given) {
  const options = combine(DEFAULTS, CONFIG.client, given);
  options.reconnect = combine(CONFIG.client.reconnect, given.reconnect);
  options.strategy = readStrategy(options.strategy);
  return options;
}

/** Strategies as one text: from an array or a text with commas in it. False, or no text, means none. */
function readStrategy(strategy) {
  if (!strategy) return '';
  const text = [].concat(strategy).join(',').toLowerCase().split(/[\s,]+/).filter(Boolean).join(',');
  return text || 'disconnect,online,timeout';
}

/** Which of the server's doors to knock at: {wire, pathname, options}. */
function chooseServer(name) {
  const { servers } = CONFIG;
  const server = name ? servers.find(({ wire }) => wire === String(name).toLowerCase()) : servers[0];
  if (server && wires[server.wire]) return server;
  const known = servers.map(({ wire }) => wire).join(', ');
  throw new Error(`There is no transformer "${name || servers[0].wire}" here; there is: ${known}`);
}

/**
 * The parts of a server's address, by the names that Primus gives them.
 *
 * Throws a TypeError when it is none.
 */
function parseAddress(address) {
  const text = String(address);
  const base = typeof location === 'object' && /^http/.test(location.href) ? location.href : undefined;
  const full = base || /^[a-z+]+:\/\//i.test(text) ? text : `http://${text}`;
  const { protocol, username, password, host, hostname, port, pathname, search, hash } = new URL(full, base);
  if (!/^(http|ws)s?:$/.test(protocol)) throw new TypeError(`Not the address of a server: ${text}`);
  const auth = username && username + (password && `:${password}`);
  return { href: text, protocol, auth, host, hostname, port, pathname, query: search, hash, secure: /s:$/.test(protocol) };
}

/** Where a client connects that was not told: what the configuration says, or where the page came from. */
function defaultAddress() {
  if (CONFIG.url && CONFIG.url !== 'window.location.origin') return CONFIG.url;
  if (pageOrigin()) return pageOrigin();
  throw new Error('The address of the server is needed: new Primus("https://example.com")');
}

/** What a wire is told: where the server is, and what there is to reach it with. */
function describeTarget(primus) {
  const { options, url } = primus;
  const parts = {
    secure: url.secure,
    host: url.auth ? `${url.auth}@${url.host}` : url.host,
    pathname: primus.pathname,
    query: [url.query.slice(1), `_primuscb=${unique()}`, CONFIG.hash && `_client=${CONFIG.hash}`].filter(Boolean).join('&'),
  };
  primus.emit('outgoing::url', parts); // a listener may change them
  return {
    origin: `http${parts.secure ? 's' : ''}://${parts.host}`,
    pathname: parts.pathname,
    query: parts.query,
    options: combine(primus._server.options, options.transport),
    websockets: !primus.AVOID_WEBSOCKETS,
    binary: Boolean(parsers[PARSER].binary),
    WebSocket: options.WebSocket || findWebSocket(),
    fetch: findFetch(options),
  };
}
