"""Runs a server until it is told to stop, and says in one line what is wrong when it can't listen."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from typing import TYPE_CHECKING

import click
import trio

from ahtransport import __version__
from ahtransport._hangup import hangup_signals, heed_hangup
from ahtransport._logsink import install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ahtransport import Server
    from ahtransport._logsink import QueuedHandler

__all__ = ["run", "set_up_logging", "signals"]


def set_up_logging(verbosity: int) -> QueuedHandler | None:
    """Log to stderr: warnings, with 1 what happens, with 2 everything. None: somebody has set up logging already."""
    return install((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)])


def signals() -> tuple[signal.Signals, ...]:
    """Give the signals that stop a server: Ctrl+C, what service managers send, and Windows' Ctrl+Break."""
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def run(server: Server, logs: QueuedHandler | None = None) -> None:
    """Serve until SIGINT or SIGTERM, which drain; a second one ends at once.

    Args:
        server: whom to run.
        logs: from :func:`set_up_logging`; from here on it writes as the server's configuration says.

    Raises:
        click.ClickException: the address can't be listened on; the text is for the user.
        SystemExit: a second signal came; 128 plus its number, as shells have it.
    """
    if logs is not None:
        logs.use(server.config.general.log_format)
    trio.run(_Runner(server, logs).run)


class _Runner:
    def __init__(self, server: Server, logs: QueuedHandler | None = None) -> None:
        self.server = server
        self._logs = logs
        self.ended_by: int | None = None

    async def run(self) -> None:
        trouble: Exception | None = None
        with trio.open_signal_receiver(*signals(), *hangup_signals(self.server)) as received:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, received, nursery.cancel_scope)
                try:
                    await nursery.start(self._serve, nursery.cancel_scope)
                except Exception as error:  # raised again outside of the nursery, which would wrap it
                    trouble = error
                    nursery.cancel_scope.cancel()
                else:
                    names = ", ".join(one.name for one in self.server.transformers) or "no transformer"
                    click.echo(f"ahtransport {__version__}: {names} on {self.server.url} (Ctrl+C stops)")
        if trouble is not None:
            leaves = list(_leaves(trouble))
            if all(isinstance(leaf, OSError) for leaf in leaves):
                raise click.ClickException(_explained(self.server, leaves[0])) from trouble
            raise trouble
        if self.ended_by is not None:
            raise SystemExit(128 + self.ended_by)

    async def _serve(self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[object]) -> None:
        await self.server.serve(task_status=task_status)
        scope.cancel()

    async def _heed(self, received: AsyncIterator[int], scope: trio.CancelScope) -> None:
        first = True
        async for number in received:
            if number not in signals():
                await heed_hangup(self.server)
            elif first and self.server.addresses:
                self.server.shutdown()
                first = False
                text = "stopping; once more ends at once"
                if self._logs is None:
                    click.echo(text, err=True)
                else:  # stderr may be a pipe that nobody empties, and the end must not wait for it
                    self._logs.say(text, "server.stopping", signal=signal.Signals(number).name)
            else:
                self.ended_by = number
                scope.cancel()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _explained(server: Server, error: BaseException) -> str:
    """Say why nothing listens, and what to do."""
    web = server.config.servers.web
    number = getattr(error, "errno", None)
    if web.socket:
        return f"can't listen on {web.socket}: {getattr(error, 'strerror', None) or error}"
    if isinstance(error, socket.gaierror):
        return f"there is no host {web.host!r}; see servers.web.host or --host"
    if number == errno.EADDRINUSE:
        return f"port {web.port} of {web.host} is in use; choose another with --port (0: any free one)"
    if number == errno.EACCES:
        return f"port {web.port} of {web.host} is not for everybody; choose one from 1024 on with --port"
    if number == errno.EADDRNOTAVAIL:
        return f"{web.host} is no address of this machine; see servers.web.host or --host"
    return f"can't listen on port {web.port} of {web.host}: {error}"
