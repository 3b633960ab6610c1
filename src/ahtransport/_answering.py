"""What a server answers to a host: middleware first, then whoever is at the path."""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import iscoroutine
from typing import TYPE_CHECKING, TypeVar

from ahtransport._errors import Answered, Reject
from ahtransport._http import Later, Response
from ahtransport._mount import COUNTED
from ahtransport._observing import Observing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ahtransport._http import Request
    from ahtransport._mount import Mount
    from ahtransport._web.files import StaticFiles
    from ahtransport.abc import Receiver, WebSocket

__all__ = ["Answering"]

_Answer = TypeVar("_Answer")


class Answering(Observing):
    """The part of a server that hosts call."""

    _entrance: Sequence[Callable[[Request], None]]  # who looks at each request before anything else does
    _files: StaticFiles | None
    _homes: dict[str, Mount]  # where requests have come to by now for which there is but one transformer

    def handle_request(self, request: Request) -> Response | Awaitable[Response]:
        """Answer an HTTP request (called by hosts).

        Raises:
            Reject: it is refused.
        """
        try:
            for look in self._entrance:
                look(request)
        except Reject as refusal:
            self._count(request, refusal)
            raise
        probe = self._probes.get(request.path)
        if probe is not None and request.path not in self._routes:
            return probe(request)  # before any middleware, which may want to know who asks
        return self._after_middleware(request) if self.middleware.at_work else self._answer(request)

    async def _after_middleware(self, request: Request) -> Response:
        try:
            response = await self.middleware.run(request)
        except Reject as refusal:
            self._count(request, refusal)
            raise
        answer = response or self._answer(request)
        if type(answer) is not Later:
            return answer if isinstance(answer, Response) else await answer
        try:
            return await answer
        except Reject as refusal:
            self._count_late(request, refusal)
            raise

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        handler = None
        mount = self._homes.get(request.path)
        if mount is None:
            if self._browser is not None and self._files is not None:
                answer = self._browser.answer(request)
                if answer is not None:
                    return answer
            mount, handler = self._find(request)
            if mount is not None and self._is_home(mount, request.path):
                self._homes[request.path] = mount
        if mount is not None:
            try:
                given = mount.handle_request(request)
            except Reject as refusal:
                self._count(request, refusal)
                raise
            # (Most are there already, or will be, without anybody who waits for them.)
            return self._counting(request, given) if type(given) is not Response and iscoroutine(given) else given
        if handler is not None:
            return handler(request)
        raise Reject(404, "not found")

    async def _counting(self, request: Request, answer: Awaitable[_Answer]) -> _Answer:
        try:
            return await answer
        except Reject as refusal:
            self._count(request, refusal)
            raise

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Take a WebSocket (called by hosts).

        Raises:
            Reject: it is refused.
        """
        try:
            for look in self._entrance:
                look(request)
            given = (
                self._upgrade_after_middleware(request, socket)
                if self.middleware.at_work
                else self._take_upgrade(request, socket)
            )
        except Reject as refusal:
            self._count(request, refusal)
            raise
        return self._counting(request, given) if isinstance(given, Awaitable) else given

    def _count(self, request: Request, refusal: Reject) -> None:
        if COUNTED not in request.state:
            self._namespaces.shared.counters.refused[refusal.status] += 1

    def _count_late(self, request: Request, refusal: Reject) -> None:
        """Count what a ``Later`` came to, unless it is a route's own."""
        if self._find(request)[0] is not None:
            self._count(request, refusal)

    async def _upgrade_after_middleware(self, request: Request, socket: WebSocket) -> Receiver:
        response = await self.middleware.run(request)
        if response is not None:
            raise Answered(_refusing(response))
        given = self._take_upgrade(request, socket)
        return await given if isinstance(given, Awaitable) else given

    def _take_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        mount, _ = self._find(request)
        if mount is None:
            raise Reject(404, "no websockets here")
        return mount.handle_upgrade(request, socket)

    def _find(self, request: Request) -> tuple[Mount | None, Callable[[Request], Awaitable[Response]] | None]:
        """Find who answers: the longest prefix wins; at the same pathname, the first transformer that claims it."""
        path = request.path
        best = -1
        mount: Mount | None = None
        handler: Callable[[Request], Awaitable[Response]] | None = None
        for candidate in self._mounts:
            if candidate.takes(path) and (
                len(candidate.pathname) > best
                or (mount is not None and candidate.pathname == mount.pathname and not mount.claims(request))
            ):
                best, mount = len(candidate.pathname), candidate
        for prefix, route in self._routes.items() if self._files is not None else ():
            if len(prefix) > best and (path == prefix or path.startswith(prefix + "/")):
                best, mount, handler = len(prefix), None, route
        if best < 0 and self._files is not None:
            handler = self._files
        return mount, handler

    def _is_home(self, mount: Mount, path: str) -> bool:
        """Tell whether a path is a transformer's whatever else the request says: no route can be more precise, and no
        other transformer is there."""
        alone = [other.pathname for other in self._mounts].count(mount.pathname) == 1
        return alone and path in (mount.pathname, f"{mount.pathname}/")


def _refusing(response: Response) -> Response:
    """Make a response into one that can answer an upgrade: an error as it is, and a redirect, which clients may follow
    (RFC 6455 section 4.1); what would say that all went well says 403."""
    redirects = response.status // 100 == 3 and any(name.lower() == "location" for name, _ in response.headers)
    if response.status >= 400 or redirects:
        return response
    refusing = Response(403, response.body, response.headers, length=response.length)
    refusing.on_sent = response.on_sent
    return refusing
