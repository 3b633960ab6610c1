"""The handshake: what a connection knows of its client, and how clients are refused."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from ahtransport._errors import Reject
from ahtransport._http import Response
from ahtransport.testing._contract.tools import OnStage, ask, echo, in_memory
from ahtransport.testing._http import Refused
from ahtransport.testing._stage import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._connection import Connection
    from ahtransport._http import Request
    from ahtransport.testing._stage import Stage


def reject(request: Request) -> None:
    raise Reject(402, "pay first", [("WWW-Authenticate", 'Bearer realm="here"')])


async def reject_later(request: Request) -> None:
    await trio.sleep(0.01)
    reject(request)


def say_no(request: Request) -> bool:
    return False


async def say_no_later(request: Request) -> bool:
    await trio.lowlevel.checkpoint()
    return False


def fail(request: Request) -> None:
    raise RuntimeError("the database is gone")


async def fail_later(request: Request) -> None:
    await trio.lowlevel.checkpoint()
    raise BaseExceptionGroup("several", [RuntimeError("one"), SystemExit(3)])


class Handshake(OnStage):
    """Who comes in, and who does not."""

    async def test_what_a_connection_knows_of_its_client(self, stage: Stage) -> None:
        server = stage.server(echo)
        record = Record(server)
        headers = [("X-Thing", "one"), ("x-thing", "two"), ("Cookie", "sessionID=abc%20123; other=1")]
        before = time.time()
        async with (
            stage.serving(server),
            stage.connect(query={"a": "1 ü", "sessionID": "from-query"}, headers=headers) as client,
        ):
            assert await ask(client, 1) == 1
            (connection,) = record.opened
            assert uuid.UUID(connection.id).version == 4
            assert server.connections[connection.id] is connection
            assert connection.type == "websocket"
            assert connection.transformer == stage.variant.transformer_name
            assert connection.transport == stage.variant.transport
            assert connection.headers["X-THING"] == "one, two"
            assert connection.query["a"] == "1 ü"
            assert connection.fingerprint == "abc 123"
            assert connection.remote_ip == stage.remote_ip
            assert (connection.remote_port > 0) == (stage.remote_ip != "unix")
            assert before - 1 <= connection.connected_at <= time.time()
            states = [connection.state]
            assert connection.rooms == set()
            assert connection.data == {}
            assert connection.id in repr(connection)
            await client.close()
            await record.until(lambda: record.closed)
            assert [*states, connection.state] == ["open", "closed"]
            assert not server.connections

    async def test_where_the_fingerprint_comes_from(self, stage: Stage) -> None:
        server = stage.server()
        record = Record(server)
        async with stage.serving(server), stage.connect(query={"sessionID": "abc"}):
            await record.until(lambda: record.opened)
            async with stage.connect():
                await record.until(lambda: len(record.opened) == 2)
        assert record.opened[0].fingerprint == "abc"
        assert record.opened[1].fingerprint == record.opened[1].id

    async def test_a_browsers_requests_and_connections_share_their_session(self, stage: Stage) -> None:
        async def page(request: Request) -> Response:
            session = server.session_for(request)
            async with session.change() as data:
                data["visits"] = data.get("visits", 0) + 1
            return Response.json(200, dict(session))

        async def handler(connection: Connection) -> None:
            async for _ in connection:
                async with connection.session.change() as data:
                    data["said"] = True
                await connection.send(dict(connection.session))

        server = stage.server(handler)
        server.route("/page", page)
        async with stage.serving(server):
            first = await stage.fetch("GET", "/page")
            assert first.json() == {"visits": 1}
            cookie = first.headers["set-cookie"].partition(";")[0]
            async with stage.connect(headers=[("Cookie", cookie)]) as client, stage.connect() as stranger:
                assert await ask(client, 1) == {"visits": 1, "said": True}
                assert await ask(stranger, 1) == {"said": True}
            second = await stage.fetch("GET", "/page", [("Cookie", cookie)])
            assert second.json() == {"visits": 2, "said": True}
            # A link must not choose the session, and a foreign page must not have it.
            name, _, value = cookie.partition("=")
            async with stage.connect(query={name: value}) as client:
                assert await ask(client, 1) == {"said": True}
            async with stage.connect(headers=[("Cookie", cookie), ("Origin", "https://evil.example")]) as client:
                assert await ask(client, 1) == {"said": True}

    @pytest.mark.parametrize(
        ("authorizer", "status", "reason"),
        [
            (reject, 402, "pay first"),
            (reject_later, 402, "pay first"),
            (say_no, 401, "not authorized"),
            (say_no_later, 401, "not authorized"),
            (fail, 403, "authorization failed"),
            (fail_later, 403, "authorization failed"),
        ],
    )
    async def test_authorize_refuses(
        self, stage: Stage, authorizer: Callable[[Request], Any], status: int, reason: str
    ) -> None:
        server = stage.server(echo)
        record = Record(server)
        server.authorize(authorizer)
        async with stage.serving(server):
            with pytest.raises(Refused) as refused:
                async with stage.connect():
                    pass
        response = refused.value.response
        assert response.json() == {"error": reason}
        if stage.variant.statuses:
            assert response.status == status
            assert response.headers.get("www-authenticate") == ('Bearer realm="here"' if status == 402 else None)
        assert not record.opened
        assert not record.closed

    async def test_authorize_lets_in_and_sees_the_request(self, stage: Stage) -> None:
        async def authorize(request: Request) -> None:
            await trio.sleep(0.01)
            assert not record.opened
            seen.append((request.path, request.query["token"], request.headers["x-thing"]))

        seen: list[tuple[str, str, str]] = []
        server = stage.server(echo)
        record = Record(server)
        server.authorize(authorize)
        server.authorize(lambda request: True)
        async with (
            stage.serving(server),
            stage.connect(query={"token": "t"}, headers=[("X-Thing", "x")]) as client,
        ):
            assert await ask(client, 1) == 1
        ((path, token, thing),) = seen
        assert path.startswith(stage.variant.pathname)
        assert (token, thing) == ("t", "x")

    @in_memory
    async def test_authorize_may_be_slow_but_not_for_ever(self, stage: Stage) -> None:
        async def authorize(request: Request) -> None:
            await trio.sleep(float(request.query["seconds"]))

        server = stage.server(echo)
        record = Record(server)
        server.authorize(authorize)
        async with stage.serving(server):
            async with stage.connect(query={"seconds": "9"}) as client:
                assert await ask(client, 1) == 1
            start = trio.current_time()
            with pytest.raises(Refused) as refused:
                async with stage.connect(query={"seconds": "1000000"}):
                    pass
            assert refused.value.response.json() == {"error": "authorization took too long"}
            if stage.variant.statuses:
                assert refused.value.response.status == 503
            assert trio.current_time() - start == pytest.approx(10)
        assert len(record.opened) == 1

    async def test_a_client_that_leaves_during_authorize_was_never_there(self, stage: Stage) -> None:
        async def authorize(request: Request) -> None:
            asked.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        asked, ended = trio.Event(), trio.Event()
        server = stage.server(echo)
        record = Record(server)
        server.authorize(authorize)

        async def connect() -> None:
            async with stage.connect():
                pass

        async with stage.serving(server):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect)
                await asked.wait()
                await trio.testing.wait_all_tasks_blocked(0 if stage.clock else 0.05)  # it listens for the answer
                nursery.cancel_scope.cancel()
            await ended.wait()
        assert not record.opened

    async def test_middleware_sees_handshakes_and_may_refuse(self, stage: Stage) -> None:
        async def middleware(request: Request) -> Response | None:
            await trio.lowlevel.checkpoint()
            request.response_headers.append(("X-Seen", "yes"))
            match request.query.get("do"):
                case "reject":
                    raise Reject(429, "slow down", [("Retry-After", "5")])
                case "answer":
                    return Response.text(410, "gone for good")
                case "fail":
                    raise RuntimeError("a bug")
            return None

        server = stage.server(echo)
        record = Record(server)
        server.use(middleware)
        async with stage.serving(server):
            async with stage.connect() as client:
                assert await ask(client, 1) == 1
            for action, status in (("reject", 429), ("answer", 410), ("fail", 500)):
                with pytest.raises(Refused) as refused:
                    async with stage.connect(query={"do": action}):
                        pass
                assert refused.value.response.status == status
                assert refused.value.response.headers["x-seen"] == "yes"
                assert ("retry-after" in refused.value.response.headers) == (action == "reject")
            server.middleware.disable("middleware")
            async with stage.connect(query={"do": "fail"}) as client:
                assert await ask(client, 2) == 2
        assert len(record.opened) == len(record.closed) == 2

    async def test_origins_that_are_not_allowed_are_refused(self, stage: Stage) -> None:
        server = stage.server(echo, origins=["https://good.example"])
        record = Record(server)
        async with stage.serving(server):
            async with stage.connect(headers=[("Origin", "https://good.example")]) as client:
                assert await ask(client, 1) == 1
            for origin in ("https://evil.example", "null", "https://good.example.evil", "http://good.example"):
                with pytest.raises(Refused) as refused:
                    async with stage.connect(headers=[("Origin", origin)]):
                        pass
                assert refused.value.response.status == 403
        assert len(record.opened) == 1

    async def test_the_spec_is_served(self, stage: Stage) -> None:
        async with stage.serving(stage.server()):
            response = await stage.fetch("GET", f"{stage.variant.pathname}/spec")
        assert response.status == 200
        spec = response.json()
        assert spec["transformer"] == stage.variant.transformer_name
        assert spec["pathname"] == stage.variant.pathname
