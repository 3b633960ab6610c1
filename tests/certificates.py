"""Certificates for the tests: an authority of their own, and what it has signed."""

from __future__ import annotations

import functools
import ssl
from typing import TYPE_CHECKING, Any

import trio
import trustme

if TYPE_CHECKING:
    from pathlib import Path

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


@functools.cache
def client_context() -> ssl.SSLContext:
    """Give the rules of a client that trusts the authority."""
    context = ssl.create_default_context()
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
