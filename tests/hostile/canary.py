"""I1: somebody who has nothing to do with an attack, in a process of his own, and looks on all the while.

A program, started once by ``hostile.support``. It has nothing but the standard library, so it starts in no time, and
plain blocking sockets: what holds up the server's loop, or the tests', does not hold up its clock. It speaks no TLS;
there the bystander is one of the tests' own process.

Orders come on the standard input, answers go to the standard output, each a line of JSON; it ends with its input.

- ``{"do": "watch", "port": PORT, "thread": PATH, "ping": false}`` opens a WebSocket at ``/primus`` and waits for one
  echo; with ``ping`` it sends Primus' pings instead, to servers that send nothing back. ``thread`` is the directory in
  ``/proc`` of the thread that serves. Answer: ``error``, null where all is well.
- ``{"do": "begin"}`` has it send a message every 50 ms from now on. No answer.
- ``{"do": "look"}`` has it send one at once. When that is back, the answer is as above.
- ``{"do": "stop"}`` has it wait for what is under way, and hang up. Answer: ``error``; ``count``, of echoes; ``worst``,
  the seconds of the slowest, see :func:`worst`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from time import monotonic
from typing import Any

EVERY = 0.05  # seconds between two messages
PATIENCE = 10.0  # seconds after which an echo counts as lost

_TEXT, _CLOSE = 1, 8
_HANDSHAKE = (
    b"GET /primus HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n\r\n"
)


def worst(times: list[float]) -> float:
    """Give the median of the three slowest (of two the faster), seconds."""
    # What the machine does must not count. Off an echo's time goes that for which the server's thread was ready to run
    # and got no processor, as Linux counts it. And a message leaves every 50 ms, whether or not the one before is back:
    # a server that stands still for longer than a second is late with several of them. Where it is this process that
    # gets no processor, it sends nothing meanwhile, and only the one that was under way looks slow. Hence the median.
    slowest = sorted(times)[-3:]
    return slowest[(len(slowest) - 1) // 2] if slowest else 0.0


class Watch:
    """One connection to one server."""

    def __init__(self, port: int, thread: str, ping: bool) -> None:
        self.form, self.back = ('"primus::ping::%d"', '"primus::pong::%d"') if ping else ('"canary %d"', '"canary %d"')
        self.number = 0
        self.sent: dict[str, tuple[float, float]] = {}  # by what is to come back: when, and ``withheld`` then
        self.times: list[float] = []
        self.next: float | None = None  # when to send the next message
        self.buffer = bytearray()
        self.schedule = f"{thread}/schedstat"
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_HANDSHAKE)
        while b"\r\n\r\n" not in self.buffer:
            self.read()
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"no WebSocket: {bytes(head)!r}")
        self.buffer = rest

    def read(self) -> None:
        """Take what is there, or wait for it."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"the server hung up after {bytes(self.buffer)!r}")
        self.buffer += data

    def withheld(self) -> float:
        """Give how long the server's thread has waited for a processor in its life, seconds; 0 where nobody counts."""
        try:
            with open(self.schedule, "rb") as file:
                return int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def send(self) -> str:
        """Send a message; gives what is to come back."""
        self.number += 1
        payload = (self.form % self.number).encode()
        back = self.back % self.number
        self.sent[back] = monotonic(), self.withheld()
        self.socket.sendall(bytes((0x80 | _TEXT, 0x80 | len(payload), 0, 0, 0, 0)) + payload)  # the mask is zero
        return back

    def frames(self) -> None:
        """Note which messages are back; whatever else the server says is of no interest, but its goodbye."""
        while len(self.buffer) >= 2:
            opcode, size, start = self.buffer[0] & 15, self.buffer[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(self.buffer[2:start], "big")
            if len(self.buffer) < start + size:
                return
            payload = bytes(self.buffer[start : start + size])
            del self.buffer[: start + size]
            if opcode == _CLOSE:
                raise ConnectionError(f"the server closed with {int.from_bytes(payload[:2], 'big')} {payload[2:]!r}")
            sent = self.sent.pop(payload.decode(), None) if opcode == _TEXT else None
            if sent is not None:
                self.times.append(monotonic() - sent[0] - (self.withheld() - sent[1]))

    def turn(self) -> None:
        """Send what is due, and see that nothing has been lost."""
        now = monotonic()
        if self.next is not None and now >= self.next:
            self.send()
            self.next = now + EVERY
        if self.sent and now - next(iter(self.sent.values()))[0] > PATIENCE:
            raise TimeoutError(f"no echo for {PATIENCE} seconds")


class Canary:
    """Does what it is told."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.error: str | None = None
        self.awaited: str | None = None  # what has to come back before the answer to an order
        self.stopping = False
        self.orders = bytearray()

    def answer(self, **values: Any) -> None:
        os.write(1, json.dumps({"error": self.error, **values}).encode() + b"\n")

    def obey(self, order: dict[str, Any]) -> None:
        """Begin to do it; ``run`` answers when it is done."""
        watch = self.watch
        match order["do"]:
            case "watch":
                self.error, self.awaited = None, ""
                self.watch = watch = Watch(order["port"], order["thread"], order["ping"])
                self.awaited = watch.send()
            case "begin":
                if watch is not None:
                    watch.next = monotonic()
            case "look":
                self.awaited = "" if watch is None or self.error else watch.send()
            case "stop":
                self.stopping = True
                if watch is not None:
                    watch.next = None

    def done(self) -> None:
        """Answer what can be answered."""
        watch = self.watch
        sent = {} if watch is None or self.error else watch.sent
        if self.awaited is not None and self.awaited not in sent:
            self.awaited = None
            self.answer()
        if self.stopping and not sent:
            self.stopping = False
            times = [] if watch is None else watch.times
            self.answer(count=len(times), worst=worst(times))
            if watch is not None:
                watch.socket.close()
            self.watch = None

    def turn(self) -> bool:
        """Wait for something, and see to it; False: there will be no more orders."""
        watch = None if self.error else self.watch
        wait = None if watch is None else 1.0 if watch.next is None else max(0.0, watch.next - monotonic())
        sources: list[Any] = [0] if watch is None else [0, watch.socket]
        ready, _, _ = select.select(sources, [], [], wait)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return False
            self.orders += data
        try:
            if watch is not None and watch.socket in ready:
                watch.read()
                watch.frames()
            while b"\n" in self.orders:
                line, _, self.orders = self.orders.partition(b"\n")
                self.obey(json.loads(line))
            if watch is not None:
                watch.turn()
        except (OSError, ValueError) as error:
            self.error = f"{type(error).__name__}: {error}"
        self.done()
        return True


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal the tests get it, too, and end the input
    canary = Canary()
    while canary.turn():
        pass


if __name__ == "__main__":
    main()
