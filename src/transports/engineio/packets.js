// Engine.IO's packets, and what servers answer with.
//
// Packets are text: a digit for the kind, then the data. A binary message is raw on a WebSocket, "b" and base64 elsewhere.

const SEPARATOR = '\x1e';

// Statuses that ask to come again, or speak of the way and not of the client: these are failures, not refusals.
const TRY_AGAIN = [408, 425, 426, 429];

function toBase64(bytes) {
  let text = '';
  // Piecewise: the arguments of one call are limited.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** Throws when it is no base64. */
function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** The bytes that a packet takes in the body of a POST. */
function sizeOf(packet) {
  return typeof packet === 'string' ? new TextEncoder().encode(packet).length : 1 + 4 * Math.ceil(packet.length / 3);
}

/** Take as many packets out of the list as one POST of `limit` bytes may carry, but always one; its body. */
function takeBody(packets, limit) {
  let count = 0;
  let size = -1; // no separator before the first
  do {
    size += 1 + sizeOf(packets[count]);
    if (count && size > limit) break;
    count += 1;
  } while (count < packets.length);
  const taken = packets.splice(0, count);
  return taken.map((packet) => (typeof packet === 'string' ? packet : `b${toBase64(packet)}`)).join(SEPARATOR);
}

/** The handshake that a packet holds; undefined: it is none. */
function readHandshake(packet) {
  if (typeof packet !== 'string' || packet[0] !== '0') return undefined;
  try {
    const said = JSON.parse(packet.slice(1));
    const fits = typeof said.sid === 'string' && said.sid !== '' && Array.isArray(said.upgrades)
      && said.pingInterval >= 0 && said.pingTimeout >= 0;
    return fits ? said : undefined;
  } catch (error) {
    return undefined;
  }
}

/** How a server said no, as far as its answer tells; undefined: it did not, something failed. */
function readRefusal({ status, text }) {
  if (status < 400 || status >= 500 || TRY_AGAIN.includes(status)) return undefined;
  let data;
  try {
    data = JSON.parse(text);
  } catch (error) {
    return { status, reason: text.slice(0, 200), data };
  }
  const reason = data && typeof data === 'object' ? data.message || data.error : data;
  return { status, reason: reason === undefined || reason === null ? '' : String(reason), data };
}
