"""Small things that many tests of the contract use."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport._errors import ConnectionClosed
from ahtransport.testing._stage import run_on_stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._connection import Connection
    from ahtransport.testing._clients import MessageClient

__all__ = ["CLOSE", "CountingParser", "Gate", "OnStage", "ask", "echo", "ended", "in_memory", "take"]

CLOSE = "primus::server::close"


class OnStage:
    """Base of tests that take a ``stage``: each of them runs with its stage's clock, for a limited time."""

    def __init_subclass__(cls) -> None:
        # On the functions, not on the class: pytest-trio takes the first mark that it finds, and its mode that marks
        # every async function puts its own between the two.
        for name, function in vars(cls).items():
            if name.startswith("test_") and inspect.iscoroutinefunction(function):
                pytest.mark.trio(run=run_on_stage)(function)


in_memory = pytest.mark.parametrize("stage", ["memory"], indirect=True)
"""For tests that let hours pass: their clock has to be a virtual one."""


async def echo(connection: Connection) -> None:
    """Send everything back."""
    async for message in connection:
        await connection.send(message)


async def ask(client: MessageClient, message: Any) -> Any:
    """Send a message and give the next one that comes."""
    await client.send(message)
    return await client.receive()


async def take(client: MessageClient, count: int) -> list[Any]:
    """Receive so many messages."""
    return [await client.receive() for _ in range(count)]


async def ended(client: MessageClient) -> list[Any]:
    """Receive until the connection is over; give what came."""
    messages = []
    try:
        while True:
            messages.append(await client.receive())
    except ConnectionClosed:
        return messages


class Gate:
    """A handler that begins to read when it is told to, and answers each message until an answer gives "over".

    Attributes:
        begin: to be set when it may begin.
    """

    def __init__(self, answer: Callable[[Connection, Any], Awaitable[object]]) -> None:
        self.begin = trio.Event()
        self.connection: Connection | None = None
        self._answer = answer

    async def handle(self, connection: Connection) -> None:
        """Handle a connection: the server's handler."""
        self.connection = connection
        await self.begin.wait()
        async for message in connection:
            if await self._answer(connection, message) == "over":
                return

    def holds(self, count: int) -> bool:
        """Tell whether so many messages wait for it."""
        return self.connection is not None and len(self.connection._inbox) == count


class CountingParser:
    """A user's own parser: a letter in front of Python's notation, and it counts."""

    def __init__(self) -> None:
        self.encoded = 0
        self.decoded = 0

    def encode(self, value: Any) -> str:
        """Write a text or a number."""
        self.encoded += 1
        if not isinstance(value, str | int):
            raise TypeError("this parser carries texts and numbers")
        return f"i{value}" if isinstance(value, int) else f"s{value}"

    def decode(self, data: str | bytes) -> Any:
        """Read it."""
        self.decoded += 1
        text = data if isinstance(data, str) else data.decode()
        return int(text[1:]) if text[:1] == "i" else {"s": text[1:]}[text[:1]]
