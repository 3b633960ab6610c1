"""The server that is measured: ``python app.py PORT [inline|task|action|ticker] [TRANSFORMER]``.

``inline`` handles messages in a plain function, ``task`` in a task per connection: a text message that begins with
``B`` goes to every connection, any other back to its sender. ``action`` is level 2 with ActionHero's default actions.
``ticker`` is ``inline`` in a program that has a task of its own, which wants to wake up every 10 ms; in the end it
prints when that was and how late it was, in seconds.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import trio

from ahtransport import ActionServer, Server
from ahtransport.demo import add_default_actions

if TYPE_CHECKING:
    from ahtransport import Connection

PERIOD = 0.01  # seconds


def make(handler: str, **options: Any) -> Server:
    """Make the server with one kind of handler."""
    if handler == "action":
        actions = ActionServer(client_js_write=False, **options)
        add_default_actions(actions)
        return actions
    if handler == "task":

        async def echo(connection: Connection) -> None:
            async for message in connection:
                if isinstance(message, str) and message.startswith("B"):
                    server.broadcast(message)
                else:
                    await connection.send(message)

        server = Server(echo, **options)
        return server
    if handler not in ("inline", "ticker"):
        raise SystemExit(f"the handler is inline, task, action or ticker, not {handler}")

    server = Server(**options)

    @server.on_message
    def answer(connection: Connection, message: Any) -> None:
        if isinstance(message, str) and message.startswith("B"):
            server.broadcast(message)
        else:
            connection.send_nowait(message)

    return server


async def tick(server: Server) -> None:
    """Serve beside a ticker until a signal comes, and tell how the ticker fared."""
    ticks: list[tuple[float, float]] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def end() -> None:
                await anext(signals)
                nursery.cancel_scope.cancel()

            await nursery.start(server.serve)
            due = trio.current_time()
            while True:
                due += PERIOD
                await trio.sleep_until(due)
                ticks.append((time.monotonic(), trio.current_time() - due))
    print(json.dumps({"ticks": ticks}))


def main(port: str, handler: str = "inline", transformer: str = "websockets") -> None:
    """Serve until a signal ends it."""
    server = make(handler, config={}, port=int(port), transformer=transformer)
    if handler == "ticker":
        trio.run(tick, server)
    else:
        server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
