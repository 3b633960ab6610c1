// What a page knows of the network and of itself. Where there is no page, as in Node.js, nothing is ever said.

const HAS_NETWORK_EVENTS = typeof addEventListener === 'function' && typeof navigator === 'object' && 'onLine' in navigator;

function findWebSocket() {
  if (typeof WebSocket === 'function') return WebSocket;
  try {
    return Primus.requires('ws');
  } catch (error) {
    return undefined;
  }
}

function findFetch(options) {
  // Called by itself: it is the window's, and does not work as a method of another object.
  return options.fetch || (typeof fetch === 'function' ? (...args) => fetch(...args) : undefined);
}

/** The page's; undefined where there is none. That of a page that was opened as a file is the word "null". */
function pageOrigin() {
  return typeof location === 'object' && location.origin && location.origin !== 'null' ? location.origin : undefined;
}

/** Tell a client when the network comes and goes, and when it is looked at again. Gives back what stops it. */
function watchPage(primus) {
  const stops = [];
  const watch = (target, event, listener) => {
    target.addEventListener(event, listener);
    stops.push(() => target.removeEventListener(event, listener));
  };
  if (primus.NETWORK_EVENTS) {
    watch(self, 'online', () => primus._wentOnline());
    watch(self, 'offline', () => primus._setOnline(false) && primus._leave());
  }
  if (typeof document === 'object') {
    watch(document, 'visibilitychange', () => document.visibilityState === 'visible' && primus._liveness.doubt());
  }
  return () => stops.splice(0).forEach((stop) => stop());
}
