"""What the namespaces of a server have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from ahtransport._barrier import close_nurseries
from ahtransport._buckets import Rate
from ahtransport._heartbeat import Deadlines
from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport._primus import Codec
from ahtransport._statistics import Counters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._broadcast import ManySockets
    from ahtransport._config import WebSocketServer
    from ahtransport._session import SessionStore
    from ahtransport.abc import Parser

__all__ = ["Shared"]

_UNLIMITED: Final = Rate(0)


class Shared:
    """What the namespaces of a server have in common: options, parsers, sessions, the clock, the tasks.

    Attributes:
        stopping: whether the drain has begun.
        many: what sends a broadcast to many sockets at once, while the server runs and where the system has that.
        afterwards: what the application is to be told after the broadcast that is on its way, since what it says then
            must not come before that for some; None: none is.
    """

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
        self.stopping = False
        self.many: ManySockets | None = None
        self.afterwards: list[Callable[[], None]] | None = None
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
        self.start(self._counted, function, *args, name=function)

    def start(self, function: Callable[..., Awaitable[object]], *args: Any, name: object = None) -> None:
        """Do the same with a function that calls :meth:`ended` itself, as its last step: of tasks that live long, there
        are as many as connections, and each frame less is felt."""
        if self._nursery is None:
            raise RuntimeError("the server is not running")
        self._running += 1
        self._nursery.start_soon(function, *args, name=name)

    def ended(self) -> None:
        """Note that the current task is over, and see to it that nothing comes after it."""
        close_nurseries()
        self._running -= 1
        if not self._running:
            self._idle.set()

    def started(self, nursery: trio.Nursery | None) -> None:
        """Take the nursery in which tasks live from now on."""
        self._nursery = nursery

    async def _counted(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        try:
            await function(*args)
        finally:
            self.ended()

    async def idle(self) -> None:
        """Wait until no handler runs any more."""
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()
