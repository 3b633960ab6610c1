"""Certificates for the tests: an authority of their own, and what it has signed."""

from __future__ import annotations

import functools
import select
import ssl
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import trio
import trustme

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

NAMES = ("localhost", "127.0.0.1")


@functools.cache
def authority() -> trustme.CA:
    """Give the authority that the tests' clients trust."""
    return trustme.CA()


@functools.cache
def _leaf() -> trustme.LeafCert:
    return authority().issue_cert(*NAMES)


def secured(directory: Path, leaf: trustme.LeafCert | None = None) -> dict[str, Any]:
    """Write a certificate and its key; give the server's options for them."""
    leaf = leaf or _leaf()
    cert, key = directory / "cert.pem", directory / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    return {"secure": True, "cert": str(cert), "key": str(key)}


def authority_file(directory: Path) -> str:
    """Write the authority's own certificate, for clients that take a file; give its path."""
    path = directory / "authority.pem"
    authority().cert_pem.write_to_path(path)
    return str(path)


class SharedSocket(ssl.SSLSocket):
    """A TLS socket for a thread that reads and one that writes, as those of `websockets.sync`.

    OpenSSL takes one call at a time for a connection, and Python's own class does not see to that: who
    writes while the other takes the tickets that a server sends first (RFC 8446, section 4.6.1) may leave
    both waiting for good. It happened in a few connections of a thousand, with any server. Here nobody
    waits within OpenSSL, so that each call may have the connection for itself.
    """

    #: What `settimeout` was told; the socket below never blocks.
    _patience: float | None = None
    _turn: threading.Lock

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        self._turn = threading.Lock()
        super().settimeout(0)

    def settimeout(self, value: float | None) -> None:
        self._patience = value
        if not hasattr(self, "_turn"):  # the handshake may block
            super().settimeout(value)

    def gettimeout(self) -> float | None:
        return self._patience

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return self._in_turn(lambda: super(SharedSocket, self).recv(buflen, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return self._in_turn(lambda: super(SharedSocket, self).send(data, flags))

    def _in_turn(self, call: Callable[[], T]) -> T:
        while True:
            with self._turn:
                try:
                    return call()
                except (ssl.SSLWantReadError, BlockingIOError):
                    event = select.POLLIN
                except ssl.SSLWantWriteError:
                    event = select.POLLOUT
            if not self._ready(event):
                raise TimeoutError("the TLS connection is not ready")

    def _ready(self, event: int) -> bool:
        poll = select.poll()
        poll.register(self, event)
        return bool(poll.poll(None if self._patience is None else self._patience * 1000))


@functools.cache
def client_context() -> ssl.SSLContext:
    """Give the rules of a client that trusts the authority."""
    context = ssl.create_default_context()
    context.sslsocket_class = SharedSocket
    authority().configure_trust(context)
    return context


async def dial(address: tuple[str, int]) -> trio.SSLStream[trio.SocketStream]:
    """Connect, and shake hands.

    Raises:
        trio.BrokenResourceError: there was no handshake.
    """
    return await shake_hands(await trio.open_tcp_stream(*address))


async def shake_hands(
    stream: trio.SocketStream, context: ssl.SSLContext | None = None
) -> trio.SSLStream[trio.SocketStream]:
    """Have TLS on a connection.

    Raises:
        trio.BrokenResourceError: there was no handshake; the connection is closed.
    """
    secure = trio.SSLStream(stream, context or client_context(), server_hostname="localhost", https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure
