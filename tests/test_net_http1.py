"""Requests on one channel: answers that are there, come later, or have to be awaited, and what becomes of them."""

from __future__ import annotations

import gc
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httptools
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._errors import Reject
from ahtransport._heartbeat import Deadlines
from ahtransport._http import Later, Request, Response, parse_query, query_pairs
from ahtransport._net.head import parse_head
from ahtransport._net.host import Host
from ahtransport._net.response import response_head
from ahtransport.testing import memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ahtransport.abc import Receiver, WebSocket
    from ahtransport.testing import MemoryStream

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Program:
    """An application that is one function."""

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        self._answer = answer

    def handle_request(self, request: Request) -> Response | Awaitable[Response]:
        answer: Response | Awaitable[Response] = self._answer(request)
        return answer

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver:
        raise AssertionError


@asynccontextmanager
async def serving(
    answer: Callable[[Request], Any], capacity: int = 65536, **options: Any
) -> AsyncIterator[tuple[MemoryStream, Host]]:
    """Serve one stream, and give its other end."""
    deadlines = Deadlines()
    host = Host(Program(answer), deadlines, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await nursery.start(host.serve, None, 0)
        ours, theirs = memory_stream_pair(capacity)
        host.attach(theirs)
        yield ours, host
        await ours.aclose()
        nursery.cancel_scope.cancel()


async def receive(stream: MemoryStream, end: bytes) -> bytes:
    got = b""
    with trio.fail_after(5):
        while not got.endswith(end):
            piece = await stream.receive_some(65536)
            assert piece, got
            got += piece
    return got


class Promises:
    """Gives every request a response that comes later, and notes what happens to them."""

    def __init__(self, make: Callable[[], Response] = lambda: Response.text(200, "at last")) -> None:
        self.laters: list[Later] = []
        self.events: list[str] = []
        self._make = make

    def __call__(self, request: Request) -> Later:
        self.laters.append(Later(self._made, lambda: self.events.append("gone")))
        return self.laters[-1]

    def _made(self) -> Response:
        self.events.append("made")
        return self._make()

    async def asked(self, times: int = 1) -> None:
        """Wait until so many requests have come."""
        with trio.fail_after(5):
            while len(self.laters) < times:  # noqa: ASYNC110
                await trio.sleep(0.001)


async def test_a_response_comes_later_without_a_task() -> None:
    promises = Promises()
    async with serving(promises) as (stream, _):
        tasks = 0
        for number in range(3):
            await stream.send_all(GET)
            await promises.asked(number + 1)
            await trio.testing.wait_all_tasks_blocked()
            tasks = tasks or trio.lowlevel.current_statistics().tasks_living
            assert trio.lowlevel.current_statistics().tasks_living == tasks
            assert promises.events == ["made"] * number
            promises.laters[-1].ready()
            promises.laters[-1].ready()
            assert promises.events == ["made"] * number  # what goes on comes to its end first
            assert (await receive(stream, b"at last")).startswith(b"HTTP/1.1 200 OK\r\n")
        promises.laters[0].ready()
        await trio.testing.wait_all_tasks_blocked()
        assert promises.events == ["made"] * 3


@pytest.mark.parametrize("ready", [False, True])
async def test_nobody_makes_a_response_for_a_client_that_has_gone(ready: bool) -> None:
    promises = Promises()
    async with serving(promises) as (stream, host):
        await stream.send_all(GET)
        await promises.asked()
        await stream.aclose()
        with trio.fail_after(5):
            while host.open_channels:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert promises.events == ["gone"]
        if ready:
            promises.laters[0].ready()
            await trio.testing.wait_all_tasks_blocked()
        assert promises.events == ["gone"]


async def test_a_response_that_was_ready_at_once() -> None:
    def answer(request: Request) -> Later:
        later = Later(lambda: Response(204), lambda: None)
        later.ready()
        return later

    async with serving(answer) as (stream, _):
        await stream.send_all(GET)
        assert (await receive(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("error", "line"), [(Reject(403, "no"), b"HTTP/1.1 403 "), (RuntimeError("on purpose"), b"HTTP/1.1 500 ")]
)
@pytest.mark.parametrize("when", ["now", "later", "in a task"])
async def test_what_fails_is_answered_and_the_connection_goes_on(error: Exception, line: bytes, when: str) -> None:
    def fail() -> Response:
        raise error

    async def wait_and_fail() -> Response:
        await trio.lowlevel.checkpoint()
        return fail()

    def answer(request: Request) -> Any:
        if request.path == "/well":
            return Response.text(200, "well")
        if when == "now":
            return fail()
        if when == "in a task":
            return wait_and_fail()
        later = Later(fail, lambda: None)
        later.ready()
        return later

    async with serving(answer) as (stream, _):
        await stream.send_all(GET)
        assert (await receive(stream, b"}")).startswith(line)
        await stream.send_all(GET.replace(b"/", b"/well", 1))
        assert (await receive(stream, b"well")).startswith(b"HTTP/1.1 200 ")


async def test_what_is_no_response_is_an_error() -> None:
    async with serving(lambda request: "text") as (stream, _):
        await stream.send_all(GET)
        assert (await receive(stream, b"}")).startswith(b"HTTP/1.1 500 ")


async def test_whoever_has_a_task_may_await_it() -> None:
    promises = Promises()
    got: list[Response] = []

    async def wait(later: Later) -> None:
        got.append(await later)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, promises(Request("GET", "/")))
        await trio.testing.wait_all_tasks_blocked()
        promises.laters[0].ready()
        await trio.testing.wait_all_tasks_blocked()
        assert [response.status for response in got] == [200]
        nursery.start_soon(wait, promises(Request("GET", "/")))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert promises.events == ["made", "gone"]
    assert len(got) == 1


async def test_a_streamed_body_may_have_empty_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"", b"he", b"", b"llo", b""):
            yield piece

    async with serving(lambda request: Response(200, pieces(), length=5), 10) as (stream, _):
        for _ in range(2):
            await stream.send_all(GET)
            with trio.fail_after(5):
                assert (await receive(stream, b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("reads", ["all", "nothing"])
@pytest.mark.parametrize("how", ["now", "in a task", "streamed"])
async def test_what_has_become_of_a_response_is_told_once(reads: str, how: str) -> None:
    told: list[bool] = []

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    def make() -> Response:
        response = Response(200, pieces(), length=100_000) if how == "streamed" else Response(200, b"x" * 100_000)
        response.on_sent = told.append
        return response

    async def wait() -> Response:
        await trio.lowlevel.checkpoint()
        return make()

    async with serving(lambda request: wait() if how == "in a task" else make(), 1000) as (stream, host):
        await stream.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        assert told == []  # it does not fit
        if reads == "all":
            size = 0
            while size < 100_000:
                size += len(await stream.receive_some(65536))
            await trio.testing.wait_all_tasks_blocked()
            assert told == [True]
        await stream.aclose()
        with trio.fail_after(5):
            while host.open_channels:  # noqa: ASYNC110
                await trio.sleep(0.001)
    assert told == [reads == "all"]


async def test_nothing_is_left_of_a_connection_whose_body_nobody_asked_for() -> None:
    async with serving(lambda request: Response(413)) as (stream, host):
        (wire,) = [weakref.ref(channel.wire) for channel in host.channels]
        gc.disable()
        try:
            head = GET.replace(b"GET", b"POST").removesuffix(b"\r\n")
            await stream.send_all(head + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert host.open_channels == 0
            assert wire() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("why", ["its head is none", "the client has gone"])
async def test_a_body_that_nobody_gets_is_closed(why: str) -> None:
    closed: list[str] = []
    going = trio.Event()

    class Pieces:
        """An iterator of somebody's who has something open."""

        def __aiter__(self) -> Pieces:
            return self

        async def __anext__(self) -> bytes:
            raise AssertionError

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()
            closed.append("closed")

    async def answer(request: Request) -> Response:
        if why == "the client has gone":
            with trio.CancelScope(shield=True):
                await going.wait()
        return Response(200, Pieces(), [("X-Two", "a\r\nb")] if why == "its head is none" else [], length=5)

    async with serving(answer) as (stream, _):
        await stream.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        if why == "its head is none":
            assert (await receive(stream, b"}")).startswith(b"HTTP/1.1 500 ")
        else:
            await stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            going.set()
        await trio.testing.wait_all_tasks_blocked()
        assert closed == ["closed"]


@pytest.mark.parametrize("how", ["now", "in a task"])
async def test_answers_do_not_pile_up_for_a_client_that_reads_none(how: str) -> None:
    asked: list[str] = []

    async def wait(response: Response) -> Response:
        await trio.lowlevel.checkpoint()
        return response

    def answer(request: Request) -> Any:
        asked.append(request.target)
        response = Response(200, b"x" * 50_000)
        return wait(response) if how == "in a task" else response

    async with serving(answer, 1000) as (stream, host):
        await stream.send_all(GET * 1000)
        await trio.testing.wait_all_tasks_blocked(0.01)
        (channel,) = host.channels
        assert channel.buffered < 100_000
        assert len(asked) == 1
        left = 3 * 50_000
        while left > 0:  # whoever reads gets the next, in its turn
            left -= len(await stream.receive_some(65536))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert 3 <= len(asked) <= 4
        assert channel.buffered < 100_000


async def test_a_stream_that_breaks_off_between_two_pieces_has_not_left() -> None:
    told: list[bool] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"begin"
        await trio.sleep_forever()

    def answer(request: Request) -> Response:
        response = Response(200, pieces(), length=100)
        response.on_sent = told.append
        return response

    async with serving(answer) as (stream, host):
        await stream.send_all(GET)
        await receive(stream, b"begin")
        await trio.testing.wait_all_tasks_blocked()
        (channel,) = host._channels
        channel.abort()  # as when it is found to be broken
        with trio.fail_after(5):
            while host.open_channels:  # noqa: ASYNC110
                await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
    assert told == [False]


async def test_a_connection_ends_when_it_has_been_idle_for_long(autojump_clock: trio.testing.MockClock) -> None:
    promises = Promises()
    async with serving(promises, header_timeout=10, keep_alive=4) as (stream, _):
        for number, pause in enumerate((9.5, 3.5, 3.5)):
            await trio.sleep(pause)
            await stream.send_all(GET)
            await promises.asked(number + 1)
            await trio.sleep(20)  # while it is busy, it is not idle
            promises.laters[-1].ready()
            await receive(stream, b"at last")
        begun = trio.current_time()
        assert await stream.receive_some(100) == b""
        assert trio.current_time() - begun == pytest.approx(4, abs=0.1)


async def test_pipelined_requests_are_answered_in_order_beside_others() -> None:
    order: list[str] = []

    def answer(request: Request) -> Response:
        order.append(request.path)
        return Response.text(200, request.path)

    async with serving(answer) as (stream, host):
        ours, theirs = memory_stream_pair(65536)
        host.attach(theirs)
        many = b"".join(GET.replace(b"/", b"/%d" % number, 1) for number in range(200))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, many)
            nursery.start_soon(ours.send_all, GET.replace(b"/", b"/other", 1))
            got = await receive(stream, b"\r\n\r\n/199")
        assert got.count(b"HTTP/1.1 200 OK") == 200
        assert [path for path in order if path != "/other"] == [f"/{number}" for number in range(200)]
        assert order.index("/other") < 100
        await ours.aclose()


# -- what is remembered, and what is taken to be so


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30), st.sampled_from(["GET", "POST"]))
def test_httptools_takes_every_target_that_begins_with_a_slash(target: str, method: str) -> None:
    head = f"{method} /{target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    parser = httptools.HttpRequestParser(object())
    parser.feed_data(head)  # or else it would have to be asked
    assert parse_head(head).target == f"/{target}"


def test_header_fields_that_come_again_mean_the_same() -> None:
    lines = b"Host: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    for method, target in ((b"GET", b"/a"), (b"POST", b"/b?c"), (b"GET", b"http://h/d")):
        head = parse_head(b"%b %b HTTP/1.1\r\n%b" % (method, target, lines))
        assert (head.method, head.length, head.keep_alive, head.http11) == (method.decode(), 3, False, True)
        older = parse_head(b"%b %b HTTP/1.0\r\n%b" % (method, target, lines))
        assert not older.http11
    for _ in range(2):  # what was refused is refused again, and HTTP/1.0 has no chunks
        with pytest.raises(Reject):
            parse_head(b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n")
        assert parse_head(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").length is None
        with pytest.raises(Reject):
            parse_head(b"GET / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_heads_of_responses_are_safe_each_time() -> None:
    for _ in range(2):
        for header in (("A", "b\r\nC: d"), ("A\n", "b"), ("A", "\u20ac"), ("", "b")):
            with pytest.raises(ValueError, match="characters that no header may have"):
                response_head(200, [header])
        with pytest.raises(ValueError, match="not the status"):
            response_head(99, [])
        kept = response_head(200, [("A", "b")], 5)
        assert kept.startswith(b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nDate: ")
        assert kept.endswith(b" GMT\r\nConnection: keep-alive\r\n\r\n")
        ended = response_head(200, [("A", "b")], 0, keep_alive=False)
        assert ended.endswith(b" GMT\r\nConnection: close\r\n\r\n")


@given(st.text(st.sampled_from("ab=&%41+;\xe9"), max_size=20))
def test_queries_are_read_as_the_library_does(text: str) -> None:
    pairs = parse_qsl(text, keep_blank_values=True)
    assert query_pairs(text) == pairs
    assert parse_query(text) == dict(reversed(pairs))


def test_one_parameter_past_the_limit() -> None:
    for letter in "a+":
        assert len(query_pairs("&".join([letter] * 1000))) == 1000
        with pytest.raises(Reject) as caught:
            query_pairs("&".join([letter] * 1001))
        assert caught.value.status == 400


async def test_a_response_under_way_has_no_continue_in_it() -> None:
    """Whose body is read while its response streams is not asked for it any more."""

    def answer(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"begun"
            with trio.move_on_after(0.01):
                await request.read(100)
            yield b"done"

        return Response(200, pieces(), length=9)

    async with serving(answer) as (stream, _):
        head = GET.replace(b"GET", b"POST").removesuffix(b"\r\n")
        await stream.send_all(head + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        got = b""
        while not got.endswith(b"done"):
            piece = await stream.receive_some(65536)
            assert piece
            got += piece
        assert b"Continue" not in got
        assert got.endswith(b"begundone")


async def test_whose_body_is_too_long_is_not_told_to_send_it() -> None:
    async def answer(request: Request) -> Response:
        return Response(200, await request.read(100))

    async with serving(answer) as (stream, _):
        head = GET.replace(b"GET", b"POST").removesuffix(b"\r\n")
        await stream.send_all(head + b"Expect: 100-continue\r\nContent-Length: 101\r\n\r\n")
        assert (await receive(stream, b"}")).startswith(b"HTTP/1.1 413 ")
    async with serving(answer) as (stream, _):
        await stream.send_all(head + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await receive(stream, b"HTTP/1.1 100 Continue\r\n\r\n")
        await stream.send_all(b"hello")
        assert (await receive(stream, b"hello")).startswith(b"HTTP/1.1 200 ")


async def test_a_later_head_has_as_long_as_the_first(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(lambda request: Response.text(200, "hello"), header_timeout=10, keep_alive=4) as (stream, _):
        await stream.send_all(GET)
        await receive(stream, b"hello")
        for _ in range(2):
            await trio.sleep(3.9)
            await stream.send_all(GET[:9])
            await trio.sleep(9.9)
            await stream.send_all(GET[9:])
            await receive(stream, b"hello")
        await trio.sleep(3.9)
        await stream.send_all(GET[:9])
        begun = trio.current_time()
        await trio.sleep(5)
        await stream.send_all(GET[9:15])
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - begun == pytest.approx(10, abs=0.1)
