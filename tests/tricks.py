"""What functions of an application may do wrong, and a server on which they do it in any place."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from ahtransport.testing import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ahtransport import Connection, Request, Server
    from ahtransport.testing import Stage

LEFT: list[Any] = []
"""What was left open; it stays so until the test is over."""


class Grave(BaseException):
    """Not even an Exception."""


async def stop_iteration() -> None:
    raise StopIteration(5)


async def stop_async_iteration() -> None:
    raise StopAsyncIteration


async def generator_exit() -> None:
    raise GeneratorExit


async def grave() -> None:
    raise Grave


async def asyncios_cancellation() -> None:
    raise asyncio.CancelledError


async def kept_cancellation() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            LEFT.append(error)
            raise
    raise LEFT[-1]


async def cancellation_of_a_group() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            LEFT.append(error)
            raise
    raise BaseExceptionGroup("both", [LEFT[-1], ValueError("one")])


async def scope_left_open() -> None:
    LEFT.append(trio.CancelScope().__enter__())


async def timeout_left_open() -> None:
    LEFT.append(trio.move_on_after(1))
    LEFT[-1].__enter__()
    await trio.sleep(2)


async def scopes_in_the_wrong_order() -> None:
    outer, inner = trio.CancelScope(), trio.CancelScope()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)


async def nursery_left_open() -> None:
    LEFT.append(trio.open_nursery())
    (await LEFT[-1].__aenter__()).start_soon(trio.sleep_forever)
    (await trio.open_nursery().__aenter__()).start_soon(generator_exit)


async def generator_left_in_its_scope() -> None:
    async def numbers() -> AsyncIterator[int]:
        with trio.fail_after(3):
            yield 1

    LEFT.append(numbers())
    async for _ in LEFT[-1]:
        break


async def generator_left_in_its_nursery() -> None:
    async def numbers() -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield 1

    LEFT.append(numbers())
    async for _ in LEFT[-1]:
        break


async def another_librarys_wait() -> None:
    await asyncio.sleep(0)


RAISING = [
    stop_iteration,
    stop_async_iteration,
    generator_exit,
    grave,
    asyncios_cancellation,
    kept_cancellation,
    cancellation_of_a_group,
    another_librarys_wait,
    scopes_in_the_wrong_order,
]
LEAVING_OPEN = [
    scope_left_open,
    timeout_left_open,
    nursery_left_open,
    generator_left_in_its_scope,
    generator_left_in_its_nursery,
]
TRICKS = {trick.__name__: trick for trick in (*RAISING, *LEAVING_OPEN)}


async def hang() -> None:
    await trio.sleep_forever()


async def swallow_once() -> None:
    try:
        await trio.sleep_forever()
    except BaseException:  # this is the offence
        await trio.sleep_forever()


async def swallow_and_return() -> None:
    with suppress(BaseException):
        await trio.sleep_forever()


async def swallow_often() -> None:
    for _ in range(100):
        with suppress(BaseException):
            await trio.sleep_forever()


HANGING = {hang.__name__: hang for hang in (hang, swallow_once, swallow_and_return, swallow_often)}


def trick_of(one: Connection | Request) -> Callable[[], Any] | None:
    """Give what a client has asked its handlers to do."""
    name = one.query.get("trick", "")
    return TRICKS.get(name) or HANGING.get(name)


def raise_plainly(trick: Callable[[], Any]) -> None:
    """Do it from a plain function: what is raised is raised here, outside of any coroutine."""
    plain = {"stop_iteration": StopIteration, "generator_exit": GeneratorExit, "grave": Grave}
    raise plain.get(trick.__name__, StopAsyncIteration)


class Misbehaving:
    """A server that echoes, unless its client wants to see a handler fail in one of the places."""

    def __init__(self, stage: Stage, place: str) -> None:
        handler = self.iterate if place == "handler" else None
        self.server = server = stage.server(handler, ping_interval=0, timeout=0, inbox=4)
        self.record = Record(server)
        if handler is None and "on_message" not in place:
            server.on_message(self.echo)
        server.on("fine")(lambda connection: "fine")
        getattr(self, "add_" + place.replace(" ", "_"), lambda server: None)(server)

    def echo(self, connection: Connection, message: Any) -> None:
        connection.send_nowait(message)

    async def iterate(self, connection: Connection) -> None:
        async for message in connection:
            if trick := trick_of(connection):
                await trick()
                return
            await connection.send(message)

    def add_on_message(self, server: Server) -> None:
        @server.on_message
        async def wait(connection: Connection, message: Any) -> None:
            if trick := trick_of(connection):
                await trick()
            else:
                await connection.send(message)

    def add_plain_on_message(self, server: Server) -> None:
        @server.on_message
        def plain(connection: Connection, message: Any) -> None:
            if trick := trick_of(connection):
                raise_plainly(trick)
            connection.send_nowait(message)

    def add_event(self, server: Server) -> None:
        @server.on("event")
        async def event(connection: Connection) -> None:
            if trick := trick_of(connection):
                await trick()

    def add_plain_event(self, server: Server) -> None:
        @server.on("event")
        def event(connection: Connection) -> None:
            if trick := trick_of(connection):
                raise_plainly(trick)

    def add_task(self, server: Server) -> None:
        @server.on("event")
        def event(connection: Connection) -> None:
            if trick := trick_of(connection):
                connection.start_soon(trick)

    def add_on_open(self, server: Server) -> None:
        @server.on_open
        async def opened(connection: Connection) -> None:
            if trick := trick_of(connection):
                await trick()

    def add_plain_on_open(self, server: Server) -> None:
        @server.on_open
        def opened(connection: Connection) -> None:
            if trick := trick_of(connection):
                raise_plainly(trick)

    def add_on_close(self, server: Server) -> None:
        @server.on_close
        async def closed(connection: Connection, code: int, reason: str) -> None:
            if trick := trick_of(connection):
                await trick()

    def add_plain_on_close(self, server: Server) -> None:
        @server.on_close
        def closed(connection: Connection, code: int, reason: str) -> None:
            if trick := trick_of(connection):
                raise_plainly(trick)

    def add_on_error(self, server: Server) -> None:
        @server.on_error
        def failed(connection: Connection, error: BaseException) -> None:
            if trick := trick_of(connection):
                raise_plainly(trick)

        self.add_plain_event(server)

    def add_authorizer(self, server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> None:
            if trick := trick_of(request):
                await trick()

    def add_transform(self, server: Server) -> None:
        async def look(envelope: Any) -> None:
            if trick := trick_of(envelope.connection):
                await trick()

        server.transform("incoming", look)

    def add_outgoing_transform(self, server: Server) -> None:
        async def look(envelope: Any) -> None:
            if trick := trick_of(envelope.connection):
                await trick()

        server.transform("outgoing", look)


PLACES = [
    "handler",
    "on_message",
    "plain on_message",
    "event",
    "plain event",
    "task",
    "on_open",
    "plain on_open",
    "on_close",
    "plain on_close",
    "on_error",
    "authorizer",
    "transform",
    "outgoing transform",
]
ASYNC_PLACES = ["handler", "on_message", "event", "task", "on_open", "on_close", "transform", "outgoing transform"]
