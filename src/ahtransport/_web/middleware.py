"""Middleware: named functions that see every HTTP and upgrade request before it is answered, in order."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

from ahtransport._errors import Reject, unwrapped
from ahtransport._http import Request, Response

__all__ = ["Middleware", "MiddlewareFunction"]

MiddlewareFunction: TypeAlias = Callable[[Request], Response | Awaitable[Response | None] | None]


class _Layer:
    __slots__ = ("enabled", "function", "name")

    def __init__(self, name: str, function: MiddlewareFunction) -> None:
        self.name = name
        self.function = function
        self.enabled = True


class Middleware:
    """The layers that a request goes through, as Primus' ``use``, ``remove``, ``enable`` and ``disable`` manage them.

    A change counts from the next request on; those on their way keep the layers that they began with.
    """

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self._active: tuple[MiddlewareFunction, ...] = ()

    def add(self, function: MiddlewareFunction, name: str | None = None, position: int | None = None) -> None:
        """Add a layer: ``function(request)``, plain or async, gives None to go on, or the :class:`Response`.

        Args:
            function: the function. It may raise :class:`Reject`, and leave things in ``request.state`` and
                ``request.response_headers``.
            name: under which it is removed, enabled and disabled; its own ``__name__`` if left out.
            position: where among the layers, as for :meth:`list.insert`; last if left out.

        Raises:
            TypeError: ``function`` can't be called, or has no name of its own and got none.
            ValueError: there is a layer of that name.
        """
        if not callable(function):
            raise TypeError(f"a middleware is a function that takes a request, not {function!r}")
        name = name or getattr(function, "__name__", None)
        if not name:
            raise TypeError(f"{function!r} has no name; give it one: use(function, name=…)")
        if name in self:
            raise ValueError(f"there is a middleware named {name!r} already; remove it first, or choose another name")
        self._layers.insert(len(self._layers) if position is None else position, _Layer(name, function))
        self._refresh()

    def remove(self, name: str) -> None:
        """Remove a layer.

        Raises:
            LookupError: there is none of that name.
        """
        self._layers.remove(self._find(name))
        self._refresh()

    def enable(self, name: str) -> None:
        """Have a layer work again, at the position that it had.

        Raises:
            LookupError: there is none of that name.
        """
        self._find(name).enabled = True
        self._refresh()

    def disable(self, name: str) -> None:
        """Skip a layer until it is enabled again.

        Raises:
            LookupError: there is none of that name.
        """
        self._find(name).enabled = False
        self._refresh()

    @property
    def names(self) -> list[str]:
        """The names of all layers in order, disabled ones included."""
        return [layer.name for layer in self._layers]

    def is_enabled(self, name: str) -> bool:
        """Tell whether a layer is at work.

        Raises:
            LookupError: there is none of that name.
        """
        return self._find(name).enabled

    def __contains__(self, name: object) -> bool:
        return any(layer.name == name for layer in self._layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def at_work(self) -> bool:
        """Whether there is a layer that is not disabled."""
        return bool(self._active)

    async def run(self, request: Request) -> Response | None:
        """Send a request through the layers; the first that gives a response ends it. None: go on and answer it.

        Raises:
            TypeError: a layer gave something else.
            Exception: whatever a layer raises, :class:`Reject` for one, which a nursery may have put into a group.
        """
        for function in self._active:
            try:
                result = function(request)
                if inspect.isawaitable(result):
                    result = await result
            except BaseExceptionGroup as group:
                refusal = unwrapped(group)
                if isinstance(refusal, Reject):
                    raise refusal from None
                raise
            if result is not None:
                if not isinstance(result, Response):
                    name = getattr(function, "__name__", repr(function))
                    raise TypeError(f"the middleware {name} gave {result!r} instead of a Response or None")
                return result
        return None

    def _find(self, name: str) -> _Layer:
        for layer in self._layers:
            if layer.name == name:
                return layer
        known = ", ".join(self.names) or "none"
        raise LookupError(f"there is no middleware named {name!r}; there are: {known}")

    def _refresh(self) -> None:
        self._active = tuple(layer.function for layer in self._layers if layer.enabled)
