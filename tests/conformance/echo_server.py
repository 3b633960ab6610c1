"""What the conformance suites talk to: an echo of every message as it came, with room for the longest cases.

``python echo_server.py reactor|task [--compression] [--compression-context-takeover]`` listens on any free port,
prints it, and serves until its input ends.
"""

from __future__ import annotations

import sys
from typing import Any

import trio

from ahtransport import Connection, Server

AS_IT_CAME: dict[str, Any] = {
    "pathname": "/",
    "ping_interval": 0,
    "timeout": 0,
    "max_length": 32 * 1024 * 1024,  # the longest message of the suites has half of that
    "max_fragments": 1 << 20,
    "max_control_frames": 1000,
    "high_water": 1 << 30,  # so that whatever was sent before a mistake is answered before the close that it earns
    "max_backlog": 1 << 30,
}


class Verbatim:
    """Texts and bytes, as they are."""

    def encode(self, value: str | bytes) -> str | bytes:
        """Give it back."""
        return value

    def decode(self, data: str | bytes) -> str | bytes:
        """Give it back."""
        return data


def echo(connection: Connection, message: str | bytes) -> None:
    """Send a message back."""
    connection.send_nowait(message)


def echoing(**options: Any) -> Server:
    """Make the server."""
    server = Server(parser=Verbatim, port=0, blocking_warning=0, **(AS_IT_CAME | options))
    server.on_message(echo)
    return server


async def _main(driver: str, options: dict[str, Any]) -> None:
    setattr(Server, "_driver", driver)  # noqa: B010 -- for tests, which this is
    server = echoing(**options)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        print(server.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    driver, *flags = sys.argv[1:]
    trio.run(_main, driver, {flag.removeprefix("--").replace("-", "_"): True for flag in flags})
