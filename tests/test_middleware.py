"""Named middleware for HTTP and upgrade requests."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport._errors import Reject
from ahtransport._http import Request, Response
from ahtransport._web.middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Layer = Callable[[Request], Response | Awaitable[Response | None] | None]


def note(name: str, response: Response | None = None) -> Layer:
    def layer(request: Request) -> Response | None:
        request.state.setdefault("seen", []).append(name)
        return response

    return layer


def note_later(name: str, response: Response | None = None) -> Layer:
    async def layer(request: Request) -> Response | None:
        await trio.lowlevel.checkpoint()
        request.state.setdefault("seen", []).append(name)
        return response

    return layer


async def seen(middleware: Middleware) -> list[str]:
    request = Request("GET", "/")
    assert await middleware.run(request) is None
    found: list[str] = request.state.get("seen", [])
    return found


async def test_nothing_is_there_at_first() -> None:
    middleware = Middleware()
    assert middleware.names == []
    assert len(middleware) == 0
    assert await seen(middleware) == []


async def test_layers_run_in_order_plain_and_async() -> None:
    middleware = Middleware()
    middleware.add(note("a"), "a")
    middleware.add(note_later("b"), "b")
    middleware.add(note("first"), "first", 0)
    middleware.add(note_later("second"), "second", position=1)
    assert middleware.names == list(middleware) == ["first", "second", "a", "b"]
    assert len(middleware) == 4
    assert await seen(middleware) == ["first", "second", "a", "b"]


@pytest.mark.parametrize("kind", [note, note_later])
async def test_a_response_ends_it(kind: Callable[[str, Response | None], Layer]) -> None:
    middleware = Middleware()
    response = Response(204)
    middleware.add(note("a"), "a")
    middleware.add(kind("b", response), "b")
    middleware.add(note("c"), "c")
    request = Request("GET", "/")
    assert await middleware.run(request) is response
    assert request.state["seen"] == ["a", "b"]


async def test_a_refusal_gets_through() -> None:
    async def refuse(request: Request) -> Response | None:
        raise Reject(403, "not you")

    middleware = Middleware()
    middleware.add(refuse)
    assert middleware.names == ["refuse"]
    with pytest.raises(Reject, match="not you"):
        await middleware.run(Request("GET", "/"))


async def test_removing_disabling_and_enabling() -> None:
    middleware = Middleware()
    for name in "abc":
        middleware.add(note(name), name)
    middleware.disable("b")
    assert not middleware.is_enabled("b")
    assert middleware.is_enabled("a")
    assert middleware.names == ["a", "b", "c"]
    assert await seen(middleware) == ["a", "c"]
    middleware.enable("b")
    assert await seen(middleware) == ["a", "b", "c"]
    middleware.remove("b")
    assert "b" not in middleware
    assert "a" in middleware
    assert await seen(middleware) == ["a", "c"]
    middleware.add(note("b2"), "b")
    assert await seen(middleware) == ["a", "c", "b2"]


async def test_a_change_counts_from_the_next_request_on() -> None:
    middleware = Middleware()

    def meddle(request: Request) -> None:
        middleware.remove("meddle")
        middleware.add(note("late"), "late")

    middleware.add(meddle)
    middleware.add(note("a"), "a")
    assert await seen(middleware) == ["a"]
    assert await seen(middleware) == ["a", "late"]


def test_names_are_unique() -> None:
    middleware = Middleware()
    middleware.add(note("a"), "a")
    with pytest.raises(ValueError, match="named 'a' already"):
        middleware.add(note("b"), "a")


@pytest.mark.parametrize("verb", ["remove", "enable", "disable", "is_enabled"])
def test_an_unknown_name_is_told_with_the_known_ones(verb: str) -> None:
    middleware = Middleware()
    with pytest.raises(LookupError, match="no middleware named 'x'; there are: none"):
        getattr(middleware, verb)("x")
    middleware.add(note("a"), "a")
    middleware.add(note("b"), "b")
    with pytest.raises(LookupError, match="no middleware named 'x'; there are: a, b"):
        getattr(middleware, verb)("x")


@pytest.mark.parametrize("function", [None, "name", 1])
def test_what_can_not_be_called(function: Any) -> None:
    with pytest.raises(TypeError, match="a middleware is a function"):
        Middleware().add(function, "a")


def test_what_has_no_name() -> None:
    nameless = functools.partial(note("a"))
    middleware = Middleware()
    with pytest.raises(TypeError, match="has no name"):
        middleware.add(nameless)
    middleware.add(nameless, "a")
    assert middleware.names == ["a"]


@pytest.mark.parametrize("result", [True, "text", 404])
async def test_what_is_no_response(result: Any) -> None:
    def strange(request: Request) -> Any:
        return result

    middleware = Middleware()
    middleware.add(strange)
    with pytest.raises(TypeError, match="the middleware strange gave"):
        await middleware.run(Request("GET", "/"))
