"""Linux' io_uring: bytes to many sockets with one system call.

A broadcast is one ``send`` for each recipient, and on a system call's way into the kernel and back more is lost than
in the interpreter. So it is with the answers to many at once. Here the kernel is handed a list. It works the list off
before the call returns, as a loop of ``send`` would, so nothing is ever in flight, and no buffer has to outlive the
call.

See io_uring_setup(2) and io_uring_enter(2). Needs Linux 6.1; where there is none, or where it is forbidden (containers
often do), there is simply no ring.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from array import array
from contextlib import ExitStack, suppress
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Ring", "make_ring"]

# The kernel's interface, as in linux/io_uring.h.
_SETUP, _ENTER = 425, 426  # system calls: nearly everywhere; where they are others, there is none with these numbers
_SUBMIT_ALL, _SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 7, 1 << 12, 1 << 13
_SINGLE_MAP: Final = 1  # a feature: both queues are in one mapping
_QUEUES_AT, _ENTRIES_AT = 0, 0x10000000  # what can be mapped
_OP_SEND: Final = 26
_SKIP_SUCCESS: Final = 1 << 6  # say nothing of what went well
# struct io_uring_sqe: opcode, flags, priority, descriptor, offset, address, length, flags of send, the user's own.
_ENTRY: Final = struct.Struct("=BBHi QQ II Q 24x")
_WORDS: Final = _ENTRY.size // 4
_DESCRIPTOR, _LENGTH = 1, 6  # their places in an entry, in words of 32 bits
_ADDRESS: Final = 2  # its place, in words of 64 bits
_RESULT: Final = struct.Struct("=Qi4x")  # struct io_uring_cqe: the user's own, the result
# As Linux has them: never wait, count less than everything as no success, raise no signal.
_DONTWAIT, _WAITALL, _NOSIGNAL = 0x40, 0x100, 0x4000

_COUNTER: Final = 0xFFFFFFFF  # heads and tails go round here
_RECIPIENTS: Final = 1024  # of one call; a power of two
_BYTES: Final = 65536
_DIFFERENT: Final = -1  # the length of the frame where each recipient has another


def _words(*names: str) -> list[tuple[str, type[ctypes.c_uint32]]]:
    return [(name, ctypes.c_uint32) for name in names]


class _Queue(ctypes.Structure):
    """``struct io_sqring_offsets`` and ``struct io_cqring_offsets``: where the parts of a queue are, in bytes."""

    _fields_ = (
        *_words("head", "tail", "mask", "entries", "flags_or_overflow", "dropped_or_results", "array_or_flags", "_"),
        ("_address", ctypes.c_uint64),
    )


class _Parameters(ctypes.Structure):
    """``struct io_uring_params``."""

    _fields_ = (
        *_words("entries", "results", "flags", "_cpu", "_idle", "features", "_workers", "_1", "_2", "_3"),
        ("submitted", _Queue),
        ("completed", _Queue),
    )


class Ring:
    """Sends to many. It belongs to the thread that has made it.

    Attributes:
        longest: how many bytes it takes at most.
        most: how many recipients one system call reaches.
    """

    longest: Final = _BYTES
    most: Final = _RECIPIENTS

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: the system has none to give.
        """
        with ExitStack() as stack:
            found = _Parameters(flags=_SUBMIT_ALL | _SINGLE_ISSUER | _DEFER_TASKRUN)
            self._fd = _call(_SETUP, _RECIPIENTS, ctypes.addressof(found))
            stack.callback(os.close, self._fd)
            if not found.features & _SINGLE_MAP or found.entries != _RECIPIENTS:
                raise OSError(errno.ENOSYS, "an io_uring of another kind")
            order, self._results = found.submitted.array_or_flags, found.completed.dropped_or_results
            size = max(order + found.entries * 4, self._results + found.results * _RESULT.size)
            self._queues = stack.enter_context(mmap.mmap(self._fd, size, offset=_QUEUES_AT))
            entries = stack.enter_context(mmap.mmap(self._fd, found.entries * _ENTRY.size, offset=_ENTRIES_AT))
            buffer = stack.enter_context(mmap.mmap(-1, _BYTES))
            # All that ever changes in an entry is whom it is for, and where the frame is and how long.
            self._begin = _address(buffer)
            fixed = (_OP_SEND, _SKIP_SUCCESS, 0, -1, 0, self._begin, 0, _DONTWAIT | _WAITALL | _NOSIGNAL)
            for number in range(_RECIPIENTS):
                _ENTRY.pack_into(entries, number * _ENTRY.size, *fixed, number)
            self._buffer = stack.enter_context(memoryview(buffer))
            words = self._words = stack.enter_context(stack.enter_context(memoryview(self._queues)).cast("I"))
            rows = stack.enter_context(stack.enter_context(memoryview(entries)).cast("i"))
            self._descriptors = stack.enter_context(rows[_DESCRIPTOR::_WORDS])
            self._lengths = stack.enter_context(rows[_LENGTH::_WORDS])
            long_rows = stack.enter_context(stack.enter_context(memoryview(entries)).cast("Q"))
            self._addresses = stack.enter_context(long_rows[_ADDRESS :: _WORDS // 2])
            for number in range(_RECIPIENTS):
                words[order // 4 + number] = number
            self._head, self._tail = found.submitted.head // 4, found.submitted.tail // 4
            self._result_head, self._result_tail = found.completed.head // 4, found.completed.tail // 4
            self._result_mask = words[found.completed.mask // 4]
            self._length = 0
            self._held = stack.pop_all()

    def close(self) -> None:
        """Give everything back."""
        self._held.close()

    def send(self, descriptors: list[int], data: bytes) -> list[tuple[int, int]]:
        """Send ``data`` to each of these non-blocking stream sockets, none of which may be named twice.

        Gives those that did not take all of it: their places in ``descriptors``, and how many bytes they took, or the
        error's number with a minus sign.

        Raises:
            ValueError: ``data`` is longer than :attr:`longest`.
        """
        if len(data) > _BYTES:
            raise ValueError(f"{len(data)} bytes are more than {_BYTES}")
        self._buffer[: len(data)] = data
        if len(data) != self._length:
            self._length = _DIFFERENT  # first of all: an interrupt must not leave other lengths behind than it says
            self._lengths[:] = array("i", [len(data)]) * _RECIPIENTS
            self._addresses[:] = array("Q", [self._begin]) * _RECIPIENTS
            self._length = len(data)
        short = []
        for begin in range(0, len(descriptors), _RECIPIENTS):
            part = array("i", descriptors[begin : begin + _RECIPIENTS])
            short += [(begin + place, result) for place, result in self._send(part)]
        return short

    def send_each(self, descriptors: list[int], pieces: list[bytes]) -> list[tuple[int, int]]:
        """Send each of these sockets a piece of its own: as many pieces as sockets, none of which may be named twice.
        Gives what :meth:`send` gives.

        Raises:
            ValueError: the pieces are longer than :attr:`longest` taken together, or more than :attr:`most`.
        """
        data = b"".join(pieces)
        if len(data) > _BYTES or len(pieces) > _RECIPIENTS:
            raise ValueError(f"{len(pieces)} pieces, {len(data)} bytes are more than {_RECIPIENTS} or {_BYTES}")
        self._length = _DIFFERENT  # as in send
        self._buffer[: len(data)] = data
        lengths = array("i", map(len, pieces))
        self._place(self._lengths, lengths)
        self._place(self._addresses, array("Q", accumulate(lengths[:-1], initial=self._begin)))
        return self._send(array("i", descriptors))

    def _place(self, column: memoryview, values: array[int]) -> None:
        """Write one field of the entries that are next, which go round the end of the queue."""
        first = self._words[self._head] % _RECIPIENTS
        before_end = _RECIPIENTS - first
        if len(values) <= before_end:
            column[first : first + len(values)] = values
        else:
            column[first:] = values[:before_end]
            column[: len(values) - before_end] = values[before_end:]

    def _send(self, descriptors: array[int]) -> list[tuple[int, int]]:
        words, count = self._words, len(descriptors)
        words[self._result_head] = words[self._result_tail]  # nothing is left, unless an interrupt came
        tail = words[self._head]  # where the kernel goes on, even if an interrupt came between the lines below
        first = tail % _RECIPIENTS
        self._place(self._descriptors, descriptors)
        words[self._tail] = (tail + count) & _COUNTER
        why = -errno.EAGAIN
        try:
            taken = _call(_ENTER, self._fd, count)
        except OSError as error:
            taken, why = 0, -(error.errno or errno.EIO)
        short = [((number - first) % _RECIPIENTS, result) for number, result in self._told()]
        if taken < count:
            # The kernel lacked something, such as memory, on the way: the rest is withdrawn.
            words[self._tail] = words[self._head]
            short += [(place, why) for place in range(taken, count)]
        return short

    def _told(self) -> Iterator[tuple[int, int]]:
        """Take what the kernel has to say: numbers of entries, and their results."""
        words = self._words
        head, end = words[self._result_head], words[self._result_tail]
        for number in range((end - head) & _COUNTER):
            at = (head + number) & self._result_mask
            yield _RESULT.unpack_from(self._queues, self._results + at * _RESULT.size)
        words[self._result_head] = end


def make_ring() -> Ring | None:
    """Make a ring, and see whether it does what it has to; None: the system has none, or one of another kind."""
    if sys.platform != "linux":
        return None
    try:
        ring = Ring()
    except (OSError, ValueError, AttributeError):
        return None
    keep = False
    try:
        with suppress(OSError):
            keep = _does_it(ring)
    finally:
        if not keep:
            ring.close()
    return ring if keep else None


def _does_it(ring: Ring) -> bool:
    """Try what depends on the kernel's details: it tells of those that took a part, or nothing, and of nobody else."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        for end in (ours, theirs):
            end.setblocking(False)
        one, nothing = [ours.fileno()], [(0, -errno.EAGAIN)]
        data = bytes(_BYTES)
        if ring.send(one, data[:7]) or theirs.recv(8) != data[:7]:
            return False
        for _ in range(1000):
            if short := ring.send(one, data):
                break
        return (
            bool(short)
            and ring.send(one, data) == nothing
            and (short == nothing or (short[0][0] == 0 < short[0][1] < _BYTES))
        )


def _address(buffer: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _call(number: int, first: int, second: int) -> int:
    """Call the kernel.

    Raises:
        OSError: it failed.
    """
    result: int = _syscall()(number, first, second, 0, 0, 0, 0)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@cache
def _syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = [ctypes.c_long] * 7
    function.restype = ctypes.c_long
    return function
