"""Socket.IO's namespaces: parts of an application with connections, rooms and functions of their own."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ahtransport._application import Application
from ahtransport._barrier import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ahtransport._rooms import Rooms
    from ahtransport._shared import Shared

__all__ = ["Matcher", "Namespaces"]

#: A name, a pattern that a whole name has to match, or a plain function that says whether a name will do.
Matcher: TypeAlias = "str | re.Pattern[str] | Callable[[str], bool]"


class Namespaces:
    """The namespaces of one server, by name; those that a pattern allows come and go with their connections.

    Attributes:
        root: ``"/"``, the namespace that every transformer knows.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.root = Application(shared)
        self._named: dict[str, Application] = {"/": self.root}
        self._patterns: list[tuple[re.Pattern[str] | Callable[[str], bool], Application]] = []
        self._passing: dict[str, Application] = {}

    def of(self, matcher: Matcher) -> Application:
        """Give the namespace of this name, which is there to stay, or the model of all that a pattern allows; made when
        it is not there yet."""
        if isinstance(matcher, str):
            name = _full(matcher)
            if name not in self._named:
                self._keep(self._known(name) or Application(self.shared, name))
            return self._named[name]
        for known, model in self._patterns:
            if known == matcher:
                return model
        model = Application(self.shared, getattr(matcher, "pattern", repr(matcher)))
        self._patterns.append((matcher, model))
        return model

    def seen(self, matcher: Matcher) -> Application:
        """Do the same for who only looks at it, or talks to those in it: one that a pattern allows is as it is, or as
        it would begin, and does not stay because of that."""
        return (self._known(_full(matcher)) if isinstance(matcher, str) else None) or self.of(matcher)

    def find(self, name: str) -> Application | None:
        """Find the namespace that a client asks for; one that a pattern allows begins to exist."""
        found = self._known(name)
        if found is not None and name not in self._named and name not in self._passing:
            self._passing[name] = found
            found.on_empty = self._leave
        return found

    def _known(self, name: str) -> Application | None:
        """Give a namespace that is there, or as it would begin where a pattern allows it; else None."""
        found = self._named.get(name) or self._passing.get(name)
        if found is None:
            model = self.model(name)
            if model is not None:
                found = Application(self.shared, name)
                found.adopt(model)
                found.rooms.on_keep = partial(self._keep_rooms, name)
        return found

    def _keep(self, application: Application) -> None:
        """Have a namespace stay when nobody is in it. One that a pattern allows goes its own way from now on."""
        self._passing.pop(application.name, None)
        self._named[application.name] = application
        application.on_empty = application.rooms.on_keep = None
        application.part()

    def _keep_rooms(self, name: str, rooms: Rooms) -> None:
        """Do the same since something is to stay in its rooms, unless others are in a namespace of that name by now."""
        there = self._named.get(name) or self._passing.get(name)
        if there is None or there.rooms is rooms:
            self.of(name).rooms = rooms
            rooms.on_keep = None

    def model(self, name: str) -> Application | None:
        """Find whose functions a client meets in a namespace; nothing begins to exist by it."""
        found = self._named.get(name) or self._passing.get(name)
        if found is None:
            found = next((model for matcher, model in self._patterns if _matches(matcher, name)), None)
        return found

    def knows(self, name: str) -> bool:
        """Tell whether a client may ask for this namespace; nothing begins to exist by it."""
        return self.model(name) is not None

    def _leave(self, application: Application) -> None:
        self._passing.pop(application.name, None)
        self.shared.counters.dropped += application.dropped

    def __iter__(self) -> Iterator[Application]:
        yield from self._named.values()
        yield from self._passing.values()

    def moved(self, shared: Shared, without: Collection[str] = ()) -> Namespaces:
        """Make the same namespaces, with their functions and rooms (``without`` some of the root's) but without
        connections, under other options."""
        new = Namespaces(shared)
        for name, application in self._named.items():
            new.of(name).adopt(application)
            new.of(name).rooms.take_over(application.rooms, without if application is self.root else ())
        for matcher, model in self._patterns:
            new.of(matcher).adopt(model)
        return new


def _full(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"


def _matches(matcher: re.Pattern[str] | Callable[[str], bool], name: str) -> bool:
    if isinstance(matcher, re.Pattern):
        return matcher.fullmatch(name) is not None
    verdict = False
    with contained("a function that decides on namespaces"):
        verdict = bool(matcher(name))
    return verdict
