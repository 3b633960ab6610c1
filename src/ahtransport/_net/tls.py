"""TLS in front of a socket, so that whoever drives plain sockets drives these as well.

:class:`TlsSocket` has the methods of a non-blocking socket that channels use, and means the same by them: it takes and
gives plaintext, and raises BlockingIOError where it would have to wait. So the reactor serves HTTPS and WSS as it
serves everything else, and an idle connection owns no task.

========= ======================================= ==================================================
state     what arrives                            next
========= ======================================= ==================================================
HELLO     the first bytes                         HANDSHAKE, or PLAIN when they are no TLS record
HANDSHAKE the rest of the handshake               OPEN, or it raises
OPEN      data                                    ENDING, by :meth:`TlsSocket.shutdown`
ENDING    nothing that anybody wants              none
PLAIN     whatever it is, passed on as it is      none
========= ======================================= ==================================================
"""

from __future__ import annotations

import enum
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ahtransport._net.channel import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["State", "TlsSocket"]

_HANDSHAKE: Final = 0x16  # the type of the record that every connection begins with (RFC 8446 section 5.1)
_RECORD: Final = 16384  # plaintext of one record
_MAX_UNSENT: Final = 4 * CHUNK  # bytes of records for a peer that makes us answer and does not read


class State(enum.Enum):
    """Where a connection stands; the table is in the module's docstring."""

    HELLO = enum.auto()
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    ENDING = enum.auto()
    PLAIN = enum.auto()


class TlsSocket:
    """A server's end of a TLS connection on a non-blocking socket.

    What has been encrypted has to leave, in this order, so what does not fit into the socket is kept here: ``unsent``.
    Plaintext counts as sent when all of its records have left, so ``ahead`` bytes of what the caller still has are
    encrypted already; he has to come back with them.

    Args:
        sock: the socket; it is closed together with this one.
        context: the certificate and the rules.

    Attributes:
        state: see above.
        on_secure: called once, when the handshake is done.
        at_end: whether the peer has said that it sends no more, and everything before that was given out.
        unsent: records that wait for the socket.
        ahead: bytes of plaintext that are among them.
        failure: why there was no handshake, in OpenSSL's words; empty as long as there is nothing to say.
    """

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_raw",
        "_shut",
        "_tls",
        "ahead",
        "at_end",
        "failure",
        "on_secure",
        "state",
        "unsent",
    )

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._raw = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shut = False
        self.state = State.HELLO
        self.on_secure: Callable[[], None] | None = None
        self.at_end = False
        self.unsent = b""
        self.ahead = 0
        self.failure = ""

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self._raw.fileno()

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Ask the kernel, as of any socket."""
        return self._raw.getsockopt(level, option, size)

    def close(self) -> None:
        """Close the socket: without a word, unless the peer has said goodbye, who is answered."""
        self.on_secure = None  # it holds those who hold this
        if self.at_end and self.state is State.OPEN:
            with suppress(OSError):
                self.shutdown(socket.SHUT_WR)
        self._raw.close()

    # -- reading

    def recv(self, size: int) -> bytes:
        """Read at most about ``size`` bytes, all that can be decrypted; ``b""`` at the end.

        Raises:
            BlockingIOError: nothing is there yet; perhaps the handshake has gone a step further.
            OSError: the connection is broken, or what arrived is no TLS (``ssl.SSLError``).
        """
        data = self._raw.recv(size)
        state = self.state
        if state is State.OPEN:
            if not data:
                return data
            self._incoming.write(data)
            return self._decrypted()
        if not data or state is State.ENDING or state is State.PLAIN:
            return data
        if state is State.HELLO:
            if data[0] != _HANDSHAKE:
                self.state = State.PLAIN
                return data
            self.state = State.HANDSHAKE
        self._incoming.write(data)
        self._shake_hands()
        return self._decrypted()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._push()
            raise BlockingIOError from None
        except ssl.SSLError as error:
            self.failure = (error.reason or "unknown").replace("_", " ").lower()
            self._push()  # the alert that says why
            raise
        self._push()
        self.state = State.OPEN
        on_secure, self.on_secure = self.on_secure, None
        if on_secure is not None:
            on_secure()

    def _decrypted(self) -> bytes:
        """Give all that can be decrypted: nobody would be told that something is left."""
        tls, incoming = self._tls, self._incoming
        pieces = []
        try:
            while incoming.pending or tls.pending():
                piece = tls.read(_RECORD)
                if not piece:
                    self.at_end = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._push()
            raise
        if self._outgoing.pending:
            self._push()
        if not pieces:
            if self.at_end:
                return b""
            raise BlockingIOError
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- writing

    def send(self, data: bytes | memoryview) -> int:
        """Send some of ``data`` and tell how much of it has left.

        Raises:
            BlockingIOError: nothing of it counts as sent yet; come again with the same bytes when that has changed.
            OSError: the connection is broken.
        """
        if self.state is not State.OPEN:
            if self.state is State.PLAIN:
                return self._raw.send(data)
            raise BrokenPipeError("TLS is not spoken yet, or no longer")
        if self.unsent and not self.flush():
            raise BlockingIOError
        if self.ahead:
            sent, self.ahead = self.ahead, 0
            return sent
        size = self._tls.write(memoryview(data)[:CHUNK] if len(data) > CHUNK else data)
        self._push()
        if self.unsent:
            self.ahead = size
            raise BlockingIOError
        return size

    def sendmsg(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Send several pieces, small ones in one record."""
        if len(pieces) == 1 or len(pieces[0]) >= CHUNK or self.ahead:
            return self.send(pieces[0])
        size = count = 0
        for piece in pieces:
            if size + len(piece) > CHUNK:
                break
            size += len(piece)
            count += 1
        return self.send(b"".join(pieces[:count]))

    def _push(self) -> None:
        """Send what TLS itself wants to say, as far as the socket takes it.

        Raises:
            OSError: the connection is broken, or the peer makes us answer and reads nothing.
        """
        if self._outgoing.pending:
            self.unsent += self._outgoing.read()
        if self.unsent and not self.flush() and len(self.unsent) > _MAX_UNSENT:
            raise ConnectionAbortedError("the peer reads nothing")

    def flush(self) -> bool:
        """Send what waits here; tell whether all of it has left.

        Raises:
            OSError: the connection is broken.
        """
        if self.unsent:
            try:
                sent = self._raw.send(self.unsent)
            except (BlockingIOError, InterruptedError):
                return False
            self.unsent = self.unsent[sent:]
            if self.unsent:
                return False
        if self._shut:
            self._raw.shutdown(socket.SHUT_WR)
        return True

    def shutdown(self, how: int) -> None:
        """Tell the peer that no more follows: TLS's own goodbye (RFC 8446 section 6.1), then TCP's. Never waits for the
        peer's.

        Raises:
            OSError: the connection is broken.
        """
        if self.state is State.OPEN:
            self.state = State.ENDING
            with suppress(ssl.SSLError):  # it wants to read the peer's goodbye, too
                self._tls.unwrap()
            self.unsent += self._outgoing.read()
        self._shut = True
        self.flush()
