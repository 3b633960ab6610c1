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

/** Tell a client when the network comes and goes, and when it is looked at again. Gives back what stops it. */
function watchPage(primus) {
  const watched = [];
  const watch = (target, event, listener) => {
    target.addEventListener(event, listener);
    watched.push(() => target.removeEventListener(event, listener));
  };
  if (primus.NETWORK_EVENTS) {
    watch(self, 'online', () => primus._wentOnline());
    watch(self, 'offline', () => primus._wentOffline());
  }
  if (typeof document === 'object') {
    watch(document, 'visibilitychange', () => document.visibilityState === 'visible' && primus._liveness.doubt());
  }
  return () => watched.splice(0).forEach((stop) => stop());
}
