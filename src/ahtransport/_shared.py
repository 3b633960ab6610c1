"""What the namespaces of a server have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from ahtransport._buckets import Rate
from ahtransport._heartbeat import Deadlines
from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport._primus import Codec
from ahtransport._statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._config import WebSocketServer
    from ahtransport._session import SessionStore
    from ahtransport.abc import Parser

__all__ = ["Shared"]

_UNLIMITED: Final = Rate(0)


class Shared:
    """What the namespaces of a server have in common: options, parsers, sessions, the clock, the tasks."""

    def __init__(
        self, options: WebSocketServer, parser: Parser, sessions: SessionStore, joins: Rate = _UNLIMITED
    ) -> None:
        self.options = options
        self.joins = joins
        self.json = JSONParser(max_depth=options.max_depth)
        self.messagepack = MessagePackParser(max_depth=options.max_depth, undefined=True)
        # The project's own parsers come from the registry without the configured limits.
        if type(parser) is JSONParser:
            parser = self.json
        elif type(parser) is MessagePackParser:
            parser = MessagePackParser(max_depth=options.max_depth)
        self.codec = Codec(parser)
        self.sessions = sessions
        self.deadlines = Deadlines()
        self.counters = Counters()
        self._nursery: trio.Nursery | None = None
        self._running = 0
        self._idle = trio.Event()

    @property
    def busy(self) -> int:
        """How many tasks run."""
        return self._running

    @property
    def running(self) -> bool:
        """Whether tasks can be started."""
        return self._nursery is not None

    def spawn(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a function beside everything else; it must have a crash barrier of its own."""
        if self._nursery is None:
            raise RuntimeError("the server is not running")
        self._nursery.start_soon(self._counted, function, *args, name=function)

    def started(self, nursery: trio.Nursery | None) -> None:
        """Take the nursery in which tasks live from now on."""
        self._nursery = nursery

    async def _counted(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        self._running += 1
        try:
            await function(*args)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no handler runs any more."""
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()
