"""One system call for many sockets: what arrives is what a ``send`` for each would have brought."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
from array import array
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from ahtransport._net import uring
from ahtransport._net.uring import Ring, make_ring

if TYPE_CHECKING:
    from collections.abc import Iterator

resource = pytest.importorskip("resource", reason="there is no io_uring either")
_there = make_ring()
if _there is not None:
    _there.close()
needs_ring = pytest.mark.skipif(_there is None, reason="this system gives no io_uring")


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = make_ring()
    assert made is not None
    yield made
    made.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    with ExitStack() as opened:
        yield opened
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def pairs(stack: ExitStack, count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Give the ends that are written to, and those that are read from."""
    if 2 * count + 100 > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        pytest.skip("so many descriptors are not allowed here")
    ours, theirs = [], []
    for _ in range(count):
        one, other = socket.socketpair()
        for end in (one, other):
            stack.enter_context(end)
            end.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        ours.append(one)
        theirs.append(other)
    return ours, theirs


def descriptors(sockets: list[socket.socket]) -> list[int]:
    return [each.fileno() for each in sockets]


def arrived(end: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            piece = end.recv(65536)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


@needs_ring
@pytest.mark.parametrize("count", [1, 8, 1024, 1025, 2500])
def test_everybody_gets_it(ring: Ring, stack: ExitStack, count: int) -> None:
    ours, theirs = pairs(stack, count)
    for data in (b"first", b"and a longer one"):
        assert ring.send(descriptors(ours), data) == []
    assert {arrived(end) for end in theirs} == {b"firstand a longer one"}


@needs_ring
def test_what_did_not_fit_is_told(ring: Ring, stack: ExitStack) -> None:
    """To those that read by fits and starts, in every order, again and again: as the queue goes round."""
    chance = random.Random(3)
    ours, theirs = pairs(stack, 40)
    expected = [b""] * 40
    told = {"all": 0, "nothing": 0}
    for number in range(200):
        chosen = chance.sample(range(40), chance.randrange(1, 40))
        data = number.to_bytes(2, "big") * chance.choice([1, 10, 1000, 5000])
        short = dict(ring.send([ours[one].fileno() for one in chosen], data))
        for place, one in enumerate(chosen):
            taken = short.get(place, len(data))
            assert taken == -errno.EAGAIN or 0 < taken <= len(data)
            told["nothing" if taken < 0 else "all"] += 1
            expected[one] += data[: max(taken, 0)]
        for one in chance.sample(range(40), 10):
            got = arrived(theirs[one])
            assert got == expected[one][: len(got)]
            expected[one] = expected[one][len(got) :]
    for one, end in enumerate(theirs):
        assert arrived(end) == expected[one]
    assert told["all"] > 500
    assert told["nothing"] > 100


@needs_ring
def test_a_part_is_told_in_bytes(ring: Ring, stack: ExitStack) -> None:
    """TCP takes what has room."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    reader = stack.enter_context(socket.create_connection(listener.getsockname()))
    writer = stack.enter_context(listener.accept()[0])
    writer.setblocking(False)
    sent = 0
    while not (short := ring.send([writer.fileno()], bytes(60_000))):
        sent += 60_000
    ((_, taken),) = short
    assert 0 < taken < 60_000
    assert ring.send([writer.fileno()], b"more") == [(0, -errno.EAGAIN)]
    writer.close()
    received = 0
    while piece := reader.recv(1 << 20):
        received += len(piece)
    assert received == sent + taken


@needs_ring
def test_those_that_are_gone_are_told_apart(ring: Ring, stack: ExitStack) -> None:
    """Neither a descriptor that is closed nor a peer that has hung up keeps the others from theirs; nor is there a
    signal."""
    ours, theirs = pairs(stack, 5)
    numbers = descriptors(ours)
    ours[1].close()
    theirs[3].close()
    assert sorted(ring.send(numbers, b"x")) == [(1, -errno.EBADF), (3, -errno.EPIPE)]
    assert [arrived(theirs[one]) for one in (0, 2, 4)] == [b"x"] * 3


@needs_ring
def test_at_the_limit_and_one_past_it(ring: Ring, stack: ExitStack) -> None:
    ours, theirs = pairs(stack, 1)
    ours[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    assert ring.send(descriptors(ours), bytes(ring.longest)) == []
    assert len(arrived(theirs[0])) == ring.longest
    with pytest.raises(ValueError, match="65537 bytes are more than 65536"):
        ring.send(descriptors(ours), bytes(ring.longest + 1))
    assert arrived(theirs[0]) == b""


@needs_ring
def test_to_each_its_own(ring: Ring, stack: ExitStack) -> None:
    """In every order, again and again: as the queue goes round; and in between the same to all."""
    chance = random.Random(5)
    ours, theirs = pairs(stack, 300)
    expected = [b""] * 300
    for number in range(30):
        chosen = chance.sample(range(300), chance.randrange(1, 300))
        pieces = [(b"%d to %d, " % (number, one)) * chance.choice([1, 2, 5]) for one in chosen]
        assert ring.send_each([ours[one].fileno() for one in chosen], pieces) == []
        if number % 3:
            assert ring.send(descriptors(ours), b"to all, ") == []
        for one, piece in zip(chosen, pieces, strict=True):
            expected[one] += piece
        for one in range(300):
            expected[one] += b"to all, " if number % 3 else b""
        assert [arrived(end) for end in theirs] == expected
        expected = [b""] * 300


@needs_ring
def test_who_did_not_take_its_own_is_told(ring: Ring, stack: ExitStack) -> None:
    ours, theirs = pairs(stack, 5)
    numbers = descriptors(ours)
    while not ring.send([numbers[2]], bytes(1000)):
        pass
    ours[1].close()
    theirs[3].close()
    short = ring.send_each(numbers, [b"a", b"b", b"c" * 1000, b"d", b"e"])
    assert sorted(short) == [(1, -errno.EBADF), (2, -errno.EAGAIN), (3, -errno.EPIPE)]
    assert [arrived(theirs[one]) for one in (0, 4)] == [b"a", b"e"]


@needs_ring
def test_each_its_own_at_the_limits_and_one_past_them(ring: Ring, stack: ExitStack) -> None:
    ours, theirs = pairs(stack, 1)
    ours[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    number = ours[0].fileno()
    assert ring.send_each([number], [bytes(ring.longest)]) == []
    assert len(arrived(theirs[0])) == ring.longest
    with pytest.raises(ValueError, match="2 pieces, 65537 bytes are more than 1024 or 65536"):
        ring.send_each([number, number], [bytes(ring.longest), b"x"])
    crowd, listeners = pairs(stack, ring.most)
    assert ring.send_each(descriptors(crowd), [b"x"] * ring.most) == []
    assert {arrived(end) for end in listeners} == {b"x"}
    with pytest.raises(ValueError, match="1025 pieces"):
        ring.send_each([*descriptors(crowd), number], [b"x"] * (ring.most + 1))
    assert arrived(theirs[0]) == b""


@needs_ring
@pytest.mark.parametrize("where", ["array", "accumulate", "_call"])
def test_an_interrupt_leaves_no_other_frame_behind(
    ring: Ring, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    ours, theirs = pairs(stack, 3)
    assert ring.send(descriptors(ours), b"same") == []

    def interrupted(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(uring, where, interrupted)
        with pytest.raises(MemoryError):
            ring.send_each(descriptors(ours), [b"one", b"other", b"another"])
    assert ring.send(descriptors(ours), b"fine") == []
    assert [arrived(end) for end in theirs] == [b"samefine"] * 3


@needs_ring
@pytest.mark.parametrize("which", [1, 2, 3])
def test_an_interrupt_leaves_no_other_length_behind(
    ring: Ring, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Wherever it comes while the entries are written for a frame of another length."""
    ours, theirs = pairs(stack, 3)
    assert ring.send(descriptors(ours), b"five ") == []
    made = []

    def interrupted(*arguments: Any) -> Any:
        made.append(arguments)
        if len(made) == which:
            raise MemoryError
        return array(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(uring, "array", interrupted)
        with pytest.raises(MemoryError):
            ring.send(descriptors(ours), b"much longer")
    assert ring.send(descriptors(ours), b"again") == []
    assert [arrived(end) for end in theirs] == [b"five again"] * 3


@needs_ring
@pytest.mark.parametrize("taken", [0, 1, 4, "refused"])
def test_what_the_kernel_does_not_take_is_withdrawn(
    ring: Ring, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, taken: int | str
) -> None:
    ours, theirs = pairs(stack, 5)
    call = uring._call

    def few(number: int, *arguments: int) -> int:
        if taken == "refused":
            raise OSError(errno.ENOMEM, "no memory")
        return call(number, arguments[0], int(taken))

    with monkeypatch.context() as patch:
        patch.setattr(uring, "_call", few)
        short = ring.send(descriptors(ours), b"first ")
    through = 0 if taken == "refused" else int(taken)
    why = errno.ENOMEM if taken == "refused" else errno.EAGAIN
    assert short == [(place, -why) for place in range(through, 5)]
    assert ring.send(descriptors(ours)[::-1], b"second") == []
    assert [arrived(end) for end in theirs] == [b"first second"] * through + [b"second"] * (5 - through)


@needs_ring
@pytest.mark.parametrize("where", ["before the call", "after the call"])
def test_an_interrupt_leaves_nothing_behind(
    ring: Ring, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Such as a lack of memory: neither the length of another frame, nor what the kernel had to say."""
    ours, theirs = pairs(stack, 3)
    numbers = descriptors(ours)
    assert ring.send(numbers, b"a longer one, ") == []
    ours[1].shutdown(socket.SHUT_WR)

    def interrupted(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        if where == "before the call":
            patch.setattr(uring, "array", interrupted)
        else:
            patch.setattr(Ring, "_told", interrupted)
        with pytest.raises(MemoryError):
            ring.send(numbers, b"lost")
    assert ring.send([numbers[0], numbers[2]], b"fine") == []
    said = b"a longer one, fine" if where == "before the call" else b"a longer one, lostfine"
    assert [arrived(theirs[one]) for one in (0, 2)] == [said] * 2


@needs_ring
def test_everything_is_given_back() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for _ in range(3):
        made = make_ring()
        assert made is not None
        assert opened() > before
        made.close()
    assert opened() == before


@needs_ring
@pytest.mark.parametrize("fault", ["tells of nobody", "tells of all", "loses it", "fails"])
def test_one_that_does_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """As a kernel might in which a detail is different."""
    send = Ring.send

    def different(self: Ring, numbers: list[int], data: bytes) -> list[tuple[int, int]]:
        if fault == "fails":
            raise OSError(errno.EINVAL, "not like this")
        if fault == "loses it":
            return []
        short = send(self, numbers, data)
        return [] if fault == "tells of nobody" else short or [(0, len(data))]

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(Ring, "send", different)
    if fault == "loses it":
        monkeypatch.setattr(socket.socket, "recv", lambda *_: b"")
    assert make_ring() is None
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("why", ["forbidden", "not Linux"])
def test_there_is_none(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    def refuse(*_: int) -> int:
        raise PermissionError(errno.EPERM, "a container's profile")

    if why == "forbidden":
        monkeypatch.setattr(uring, "_call", refuse)
    else:
        monkeypatch.setattr(sys, "platform", "darwin")
    assert make_ring() is None
