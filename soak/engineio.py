"""An Engine.IO session as a client has it: polls and POSTs, a WebSocket, or from the first to the second."""

from __future__ import annotations

import base64
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from soak.carriers import ended
from soak.wire import HTTP, Closed, Refused, WebSocket, connect

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

__all__ = ["EngineIO"]

_FRESH = 3.0  # seconds since a request for which its connection takes another: the server closes idle ones after five


class EngineIO:
    """An Engine.IO session, protocol 4.

    Args:
        port, headers, receive_buffer: as for a WebSocket.
        target: its path and query, without Engine.IO's parameters.
        polling: whether it begins with polls.
        nursery: where answers to pings are sent.
        counts: what is counted: polls, posts.
    """

    def __init__(
        self,
        port: int,
        target: str,
        headers: str,
        *,
        polling: bool,
        nursery: trio.Nursery,
        counts: Counter[str],
        receive_buffer: int = 0,
    ) -> None:
        self._port, self._target, self._headers, self._buffer = port, f"{target}&EIO=4", headers, receive_buffer
        self._nursery = nursery
        self._counts = counts
        self.polling = polling
        self.socket: WebSocket | None = None
        self._poller: HTTP | None = None
        self._poster: HTTP | None = None
        self._posted_at = 0.0
        self._deaf_until = 0.0
        self._outbox: deque[str | bytes] = deque()
        self._writing = trio.Lock()
        self._moving = False
        self._leaving = False
        self._polls_over = trio.Event()
        self._moved = trio.Event()

    async def open(self) -> None:
        """Connect.

        Raises:
            Refused, Closed: it does not work.
        """
        if self.polling:
            self._poller = HTTP(await connect(self._port, self._buffer))
            packet = await self._get(f"{self._target}&transport=polling")
        else:
            target = f"{self._target}&transport=websocket"
            self.socket = await WebSocket.open(self._port, target, self._headers, self._buffer)
            packet = str(await self.socket.receive())
        self._sid = json.loads(packet[1:])["sid"]
        self._session = f"{self._target}&transport=polling&sid={self._sid}"

    async def run(self, take: Callable[[str | bytes], None]) -> None:
        """Hand over what comes.

        Raises:
            Closed: it is over.
        """
        if self.socket is None:
            await self._poll(take)
            await self._moved.wait()
            assert self.socket is not None
        while True:
            packet = await self.socket.receive()
            if isinstance(packet, bytes):
                take(packet)
            elif packet[:1] == "4":
                take(packet[1:])
            elif packet == "2":
                await self._pong()
            elif packet == "1":
                raise Closed(1000, "a close packet")
            else:
                raise AssertionError(f"not on a WebSocket: {packet!r}")

    async def _poll(self, take: Callable[[str | bytes], None]) -> None:
        while not self._moving:
            if self._deaf_until > trio.current_time():
                await trio.sleep_until(self._deaf_until)
            self._counts["polls"] += 1
            try:
                body = await self._get(self._session)
            except Refused as refusal:
                raise Closed(1000 if self._leaving else 1006, str(refusal)) from None
            for packet in body.split("\x1e"):
                if packet[:1] == "4":
                    take(packet[1:])
                elif packet[:1] == "b":
                    take(base64.b64decode(packet[1:], validate=True))
                elif packet == "2":
                    self._nursery.start_soon(self._pong)
                elif packet == "1" or (packet == "6" and self._leaving):
                    raise Closed(1000, "a close packet")
                elif packet != "6":
                    raise AssertionError(f"not in a poll: {packet!r}")
        self._polls_over.set()

    async def _get(self, target: str) -> str:
        assert self._poller is not None
        head = f"GET {target} HTTP/1.1\r\n{self._headers}".rstrip()
        self._poller, status, body = await self._ask(self._poller, head)
        if status != 200:
            raise Refused(f"{status} {body!r}")
        return body.decode()

    async def _ask(self, stream: HTTP, head: str, body: bytes = b"") -> tuple[HTTP, int, bytes]:
        """Send a request, and give its answer and the connection that the next one goes to."""
        try:
            status, _, answer = await stream.request(head, body)
        except Closed:
            if not stream.idle or not stream.usable or self._leaving:
                raise
            # A client that was late met a connection that the server closes when it is idle for long; as browsers do:
            self._counts["requests on idle connections, sent again"] += 1
            stream.close()
            stream = HTTP(await connect(self._port))
            status, _, answer = await stream.request(head, body)
        return stream, status, answer

    async def _pong(self) -> None:
        with suppress(Closed):  # whoever reads will notice
            await self._packets("3")

    async def write(self, *messages: str | bytes) -> None:
        """Send messages; while the session moves they wait.

        Raises:
            Closed: they can't be sent.
        """
        await self._packets(*["4" + message if isinstance(message, str) else message for message in messages])

    async def _packets(self, *packets: str | bytes) -> None:
        self._outbox.extend(packets)
        async with self._writing:
            if self.socket is not None:
                await self._flush()
            while self._outbox and not self._moving:
                whole = "\x1e".join(map(_in_text, self._outbox))
                self._outbox.clear()
                await self._post(whole)

    async def _flush(self) -> None:
        assert self.socket is not None
        while self._outbox:
            await self.socket.message(self._outbox.popleft())

    async def _post(self, body: str) -> None:
        if self._poster is None or trio.current_time() - self._posted_at > _FRESH:
            if self._poster is not None:
                self._poster.close()
            self._poster = HTTP(await connect(self._port))
        self._counts["posts"] += 1
        head = f"POST {self._session} HTTP/1.1\r\n{self._headers}Content-Type: text/plain;charset=UTF-8"
        self._posted_at = trio.current_time()
        self._poster, status, answer = await self._ask(self._poster, head, body.encode())
        if status != 200 or answer != b"ok":
            raise Closed(1006, f"a POST was answered with {status} {answer!r}")

    async def move(self, pause: Callable[[], float]) -> None:
        """Go on on a WebSocket, with a pause at each step.

        Raises:
            Refused, Closed: it does not work.
        """
        target = f"{self._target}&transport=websocket&sid={self._sid}"
        socket = await WebSocket.open(self._port, target, self._headers, self._buffer)
        try:
            await trio.sleep(pause())
            await socket.message("2probe")
            answer = await socket.receive()
            if answer != "3probe":
                raise AssertionError(f"not to a probe: {answer!r}")
            await trio.sleep(pause())
            self._moving = True
            await self._polls_over.wait()
            async with self._writing:
                await trio.sleep(pause())
                await socket.message("5")
                self.socket = socket
                await self._flush()
        finally:
            if self.socket is None:
                socket.close()
        self._drop_requests()
        self._moved.set()

    async def leave(self) -> None:
        """Say goodbye with a close packet, as npm's client does.

        Raises:
            Closed: it is over already.
        """
        self._leaving = True
        await self._packets("1")

    def _drop_requests(self) -> None:
        for stream in (self._poller, self._poster):
            if stream is not None:
                stream.close()

    def reset(self) -> None:
        """Leave with a RST."""
        for stream in (self.socket, self._poller, self._poster):
            if stream is not None:
                stream.reset()

    def close(self) -> None:
        """Close what is open."""
        for stream in (self.socket, self._poller, self._poster):
            if stream is not None:
                stream.close()

    def deafen(self, seconds: float) -> None:
        """Read nothing for so long; a poll that waits still gets its answer."""
        self._deaf_until = trio.current_time() + seconds
        if self.socket is not None:
            self.socket.deaf_until = self._deaf_until

    async def abandoned(self) -> bool:
        """Tell whether the server has ended it."""
        if self.socket is not None:
            return await ended(self.socket)
        self._drop_requests()
        self._poller = HTTP(await connect(self._port))
        try:
            await self._get(self._session)
        except Refused as refusal:
            return "Session ID unknown" in str(refusal)
        return False


def _in_text(packet: str | bytes) -> str:
    return packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode()
