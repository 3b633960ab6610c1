"""A TLS socket beneath a channel: what counts as sent, what may be forgotten, and what can't."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ahtransport._heartbeat import Deadlines
from ahtransport._net.certificate import Certificate
from ahtransport._net.channel import CHUNK
from ahtransport._net.secure import TlsSocketChannel
from ahtransport._net.tls import State, TlsSocket
from certificates import client_context, secured

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pair:
    """A server's end on a small socket, and a client that shakes hands and reads when it is told to."""

    def __init__(self, context: ssl.SSLContext) -> None:
        ours, self.theirs = socket.socketpair()
        for end in (ours, self.theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.tls = TlsSocket(ours, context)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client_context().wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def shake_hands(self) -> None:
        while self.tls.state is not State.OPEN:
            with suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.pump()
            with suppress(BlockingIOError):
                self.tls.recv(CHUNK)
            self.tls.flush()

    def pump(self) -> bool:
        """Carry what is there between the client and its socket; tell whether anything came."""
        if self._outgoing.pending:
            self.theirs.sendall(self._outgoing.read())
        try:
            data = self.theirs.recv(2000)
        except BlockingIOError:
            return False
        self._incoming.write(data)
        return bool(data)

    def read(self) -> bytes:
        """Read what has arrived at the client."""
        self.pump()
        with suppress(ssl.SSLWantReadError):
            return self.client.read(1_000_000)
        return b""

    def close(self) -> None:
        self.tls.close()
        self.theirs.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    options = secured(tmp_path_factory.mktemp("tls"))
    return Certificate(options["cert"], options["key"]).context


@pytest.fixture
def pair(context: ssl.SSLContext) -> Iterator[Pair]:
    pair = Pair(context)
    pair.shake_hands()
    yield pair
    pair.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 150_000) | st.integers(1, 300), min_size=1, max_size=12), st.booleans())
def test_everything_arrives_in_order(context: ssl.SSLContext, sizes: list[int], gather: bool) -> None:
    """Whatever the socket takes at once: one piece after the other, or several in one go."""
    pair = Pair(context)
    pair.shake_hands()
    pieces = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    waiting = [memoryview(piece) for piece in pieces]
    got = b""
    while waiting:
        try:
            sent = pair.tls.sendmsg(waiting) if gather else pair.tls.send(waiting[0])
        except BlockingIOError:
            assert pair.tls.unsent
            assert pair.tls.ahead <= sum(map(len, waiting))
            got += pair.read()
            continue
        while sent:
            taken = min(sent, len(waiting[0]))
            waiting[0] = waiting[0][taken:]
            sent -= taken
            if not waiting[0]:
                waiting.pop(0)
    assert not pair.tls.unsent  # what counts as sent has left
    while len(got) < sum(sizes):
        got += pair.read()
    assert got == b"".join(pieces)
    pair.close()


def test_nothing_is_sent_before_the_handshake_or_after_the_goodbye(context: ssl.SSLContext, pair: Pair) -> None:
    early = Pair(context)
    with pytest.raises(BrokenPipeError):
        early.tls.send(b"early")
    early.close()
    pair.tls.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        pair.tls.send(b"late")


def test_a_goodbye_that_does_not_fit_leaves_later(pair: Pair) -> None:
    with suppress(BlockingIOError):
        while True:
            pair.tls.send(b"x" * 1000)
    pair.tls.shutdown(socket.SHUT_WR)
    assert pair.tls.unsent
    while True:
        pair.pump()
        pair.tls.flush()
        with suppress(ssl.SSLWantReadError):
            if not pair.client.read(1_000_000):
                break  # TLS's goodbye
    assert not pair.tls.unsent
    assert pair.theirs.recv(1) == b""  # and TCP's


@pytest.mark.parametrize("sizes", [[300_000, 10, 10], [10] * 5000, [70_000] * 5])
def test_what_is_encrypted_is_not_forgotten(pair: Pair, sizes: list[int]) -> None:
    """A client over its backlog is told why: after what it has a part of, or could not read on."""
    channel = TlsSocketChannel(pair.tls, Deadlines(), ("", 0))
    pieces = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    for piece in pieces:
        channel.write(piece)
    backlog = channel._backlog
    assert backlog
    with suppress(BlockingIOError):
        channel._sent(pair.tls.sendmsg(list(backlog)))  # several of them are on their way
    assert pair.tls.ahead
    channel.drop_backlog()
    assert channel.buffered == sum(map(len, backlog)) >= pair.tls.ahead
    assert channel.buffered < sum(sizes)
    channel.write(b"the end")
    got = b""
    while backlog:
        try:
            channel._sent(pair.tls.sendmsg(list(backlog)))
        except BlockingIOError:
            got += pair.read()
    while not got.endswith(b"the end"):
        got += pair.read()
    assert b"".join(pieces).startswith(got.removesuffix(b"the end"))
    assert channel.buffered == 0
