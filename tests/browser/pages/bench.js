// The tests' end of a client: makes one, and writes down what it tells.
'use strict'

const EVENTS = [
  'connected', 'disconnected', 'error', 'reconnect', 'reconnecting', 'timeout', 'alert', 'api', 'welcome', 'say',
  'message', 'refused', 'stale', 'dropped', 'transport'
]

window.bench = {
  client: null,
  events: [],

  make (options) {
    const client = bench.client = new window.ActionheroWebsocketClient(options)
    for (const event of EVENTS) {
      client.on(event, (...args) => bench.events.push([event, ...args.map(bench.plain)]))
    }
    return client
  },

  connect (options) {
    return bench.make(options).connect()
  },

  // What the tests' process can get to see of a value.
  plain (value) {
    if (value instanceof Error) {
      const { message, code, refused, status } = value
      return bench.plain({ message, code, refused, status })
    }
    return value === undefined ? null : JSON.parse(JSON.stringify(value))
  },

  // What a promise brings: [value] or [null, error].
  outcome (promise) {
    return promise.then((value) => [bench.plain(value)], (error) => [null, bench.plain(error)])
  }
}
