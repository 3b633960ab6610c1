"""Actions over HTTP and in-process: the same results as over the websocket, in ActionHero's shape."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import trio

from action_bench import connect, fetch, make, running
from ahtransport import ActionCall, ActionError, ActionServer, Connection, Param, Reject, Request, Response
from ahtransport._actions.bodies import MAX_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
INCOMPLETE = "the multipart body is not complete, or has more than 1000 parts"
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def shop(**options: Any) -> ActionServer:
    """Make a server with an action of each kind."""
    server = make(**options)

    @server.action
    async def greet(connection: Any, name: str, times: int = 1) -> dict[str, Any]:
        return {"greeting": " ".join([f"hello {name}"] * times)}

    @server.action(name="greet", version=2)
    def greet_again(connection: Any, name: str) -> dict[str, Any]:
        return {"greeting": f"good day {name}"}

    @server.action
    def echo(connection: Any, value: Any = None, numbers: list[int] | None = None) -> dict[str, Any]:
        return {"value": value, "numbers": numbers}

    @server.action
    def fail(connection: Any, how: str) -> dict[str, Any]:
        raise {
            "told": ActionError("no such thing", 409),
            "plain": ActionError("just no"),
            "reject": Reject(403, "not you"),
        }.get(how, RuntimeError("password=hunter2"))

    @server.action(blocked_connection_types=["web"])
    def socket_only(connection: Any) -> None: ...

    @server.action
    def upload(connection: Any, picture: bytes, title: str) -> dict[str, Any]:
        return {"size": len(picture), "title": title}

    return server


def information(body: dict[str, Any]) -> dict[str, Any]:
    """Check what every answer has, and give the rest."""
    body = dict(body)
    server, requester = body.pop("serverInformation"), body.pop("requesterInformation")
    assert list(server) == ["serverName", "apiVersion", "requestDuration", "currentTime"]
    assert (server["serverName"], server["apiVersion"]) == ("test", "0.1.0")
    assert isinstance(server["requestDuration"], int)
    assert isinstance(server["currentTime"], int)
    assert list(requester) == ["id", "fingerprint", "messageId", "remoteIP", "receivedParams"]
    assert re.fullmatch(UUID4, requester["messageId"])
    assert requester["id"] == f"{requester['fingerprint']}-{requester['messageId']}"
    assert requester["remoteIP"] == "127.0.0.1"
    return body


@pytest.mark.parametrize(
    ("target", "method", "body", "kind"),
    [
        ("/api/greet?name=anna&apiVersion=1", "GET", "", None),
        ("/api/greet/?name=anna&apiVersion=1", "GET", "", None),
        ("/api?action=greet&name=anna&apiVersion=1", "GET", "", None),
        ("/api/?action=greet&name=anna&apiVersion=1", "GET", "", None),
        ("/api/gr%65et?name=anna&apiVersion=1&action=other", "GET", "", None),
        ("/api/greet?apiVersion=1", "POST", '{"name": "anna"}', JSON),
        ("/api/greet?name=other", "POST", '{"name": "anna", "apiVersion": 1}', JSON + "; charset=utf-8"),
        ("/api/greet?name=anna&apiVersion=1", "POST", "", JSON),
        ("/api/greet?name=anna&apiVersion=1", "POST", "", None),
        ("/api", "POST", '{"action": "greet", "name": "anna", "apiVersion": "1"}', "application/vnd.x+json"),
        ("/api?action=greet", "POST", "name=anna&apiVersion=1", FORM),
        ("/api?action=greet", "PUT", "name=anna&apiVersion=1", FORM),
        ("/api?action=greet&apiVersion=1", "PATCH", '{"name": "anna"}', JSON),
        ("/api/greet?name=anna&apiVersion=1", "DELETE", "", None),
        ("/api/greet?name=anna&apiVersion=1", "HEAD", "", None),
        ("/api?action=greet&action=fail&name=anna&name=berta&apiVersion=1&apiVersion=2", "GET", "", None),
    ],
)
async def test_an_action_is_reached_in_many_ways(target: str, method: str, body: str, kind: str | None) -> None:
    response, answer = await fetch(shop(), target, method, body, kind)
    assert response.status == 200
    assert information(answer) == {"greeting": "hello anna"}
    assert list(answer) == ["greeting", "serverInformation", "requesterInformation"]


async def test_an_answer_says_what_was_received() -> None:
    _, answer = await fetch(shop(), "/api/greet?name=anna&unknown=1&times=2")
    assert answer["requesterInformation"]["receivedParams"] == {"name": "anna", "times": "2", "action": "greet"}
    assert answer["greeting"] == "good day anna"


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        ("/api", 404, "unknown action or invalid apiVersion"),
        ("/api/", 404, "unknown action or invalid apiVersion"),
        ("/api/nothing", 404, "unknown action or invalid apiVersion"),
        ("/api/greet/more", 404, "unknown action or invalid apiVersion"),
        ("/api/constructor", 404, "unknown action or invalid apiVersion"),
        ("/api/greet?apiVersion=3", 404, "unknown action or invalid apiVersion"),
        ("/api/greet?apiVersion=__doc__", 404, "unknown action or invalid apiVersion"),
        ("/api/%00", 404, "unknown action or invalid apiVersion"),
        ("/api/%ff", 404, "unknown action or invalid apiVersion"),
        ("/api/greet", 422, "name is a required parameter for this action"),
        ("/api/greet?name=", 422, "name is a required parameter for this action"),
        ("/api/greet?apiVersion=1&name=a&times=x", 422, "times: expected int, got str"),
        ("/api/fail?how=told", 409, "no such thing"),
        ("/api/fail?how=plain", 500, "just no"),
        ("/api/fail?how=reject", 403, "not you"),
        ("/api/fail?how=crash", 500, "The server experienced an internal error"),
        ("/api/socket_only", 400, "this action does not support the web connection type"),
    ],
)
async def test_errors_have_their_status(target: str, status: int, error: str) -> None:
    response, answer = await fetch(shop(), target)
    assert (response.status, information(answer)) == (status, {"error": error})
    assert next(iter(answer)) == "error"


async def test_values_from_a_query() -> None:
    server = shop()

    async def value(query: str) -> Any:
        _, answer = await fetch(server, f"/api/echo?{query}")
        return answer.get("value"), answer.get("numbers"), answer.get("error")

    assert await value("numbers=1&numbers=2&numbers=3") == (None, [1, 2, 3], None)
    assert await value("numbers=[1,2]") == (None, [1, 2], None)
    assert await value("numbers=1") == (None, [1], None)
    assert await value("numbers=x") == (None, None, "numbers[0]: expected int, got str")
    assert await value("value=a+b%20c%26&value=d") == ("a b c&", None, None)
    assert await value("value=%zz%ff") == ("%zz\ufffd", None, None)


@pytest.mark.parametrize(
    ("body", "kind", "status", "error"),
    [
        ("{", JSON, 400, "the body is not valid JSON"),
        ('{"a": NaN}', JSON, 400, "the body is not valid JSON"),
        ("[" * 100_000, JSON, 400, "the body is not valid JSON"),
        ('{"value": ' + "[" * 100 + "]" * 100 + "}", JSON, 400, "the body is not valid JSON"),
        ("5", JSON, 400, "the body has to be a JSON object"),
        ("null", JSON, 400, "the body has to be a JSON object"),
        ('"x"', JSON, 400, "the body has to be a JSON object"),
        (b"value=\xff", FORM, 400, "the body is not valid UTF-8"),
        ("&".join(["a=1"] * (MAX_FIELDS + 1)), FORM, 400, f"the body has more than {MAX_FIELDS} parameters"),
        ("hello", "text/plain", 415, "the body has to be application/json, a form, or multipart/form-data"),
        ("<a/>", "application/xml", 415, "the body has to be application/json, a form, or multipart/form-data"),
        ("hello", None, 415, "the body has to be application/json, a form, or multipart/form-data"),
        ("x" * 1001, JSON, 413, "the body is too large"),
        ("x", "multipart/form-data", 400, "the multipart body has no valid boundary"),
        ("x", "multipart/form-data; boundary=" + "b" * 71, 400, "the multipart body has no valid boundary"),
        *(
            ("x", f"multipart/form-data; {boundary}", 400, "the parameters of a content-type can't be read")
            for boundary in (f"boundary*{'1' * 4400}=b", "boundary*=b; boundary*1=b")
        ),
        (
            "x",
            "multipart/form-data; boundary=b",
            400,
            INCOMPLETE,
        ),
    ],
)
async def test_bodies_that_can_not_be_read(body: str | bytes, kind: str | None, status: int, error: str) -> None:
    server = shop(max_body=1000 if status == 413 else 10_000_000)
    response, answer = await fetch(server, "/api/echo", "POST", body, kind)
    assert (response.status, information(answer)) == (status, {"error": error})


async def test_a_query_with_too_many_parameters() -> None:
    response, answer = await fetch(shop(), "/api/echo?" + "&".join(["a=1"] * (MAX_FIELDS + 1)))
    assert (response.status, answer["error"]) == (400, f"the query has more than {MAX_FIELDS} parameters")


async def test_an_array_is_the_payload() -> None:
    server = make()
    server.action(name="sum")(_sum)
    _, answer = await fetch(server, "/api/sum", "POST", "[1, 2, 3]", JSON)
    assert information(answer) == {"sum": 6}


def _sum(connection: Any, payload: list[int]) -> dict[str, int]:
    return {"sum": sum(payload)}


def multipart(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % (head.encode(), content) for head, content in parts) + end


async def test_multipart_forms_bring_fields_and_files() -> None:
    body = multipart(
        ('Content-Disposition: form-data; name="title"', "grüß".encode()),
        (
            'Content-Disposition: form-data; name="picture"; filename="a.png"\r\nContent-Type: image/png',
            b"\x89PNG\r\n--c\r\n\xff",
        ),
    )
    response, answer = await fetch(shop(), "/api/upload", "POST", body, 'multipart/form-data; boundary="b"')
    assert response.status == 200
    assert answer["requesterInformation"]["receivedParams"]["picture"] == "(a file)"
    assert information(answer) == {"size": 12, "title": "grüß"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (multipart(("X: y", b"")), "a part of the multipart body has no name"),
        (b"--b\r\nno blank line\r\n--b--\r\n", "a part of the multipart body has no valid headers"),
        (multipart(("X: " + "y" * 9000, b"")), "a part of the multipart body has no valid headers"),
        (
            multipart(('Content-Disposition: form-data; name="a"', b""), end=b""),
            INCOMPLETE,
        ),
        (
            multipart(*[('Content-Disposition: form-data; name="a"', b"")] * 1001),
            INCOMPLETE,
        ),
        (multipart(('Content-Disposition: form-data; name="a"', b"\xff")), "the body is not valid UTF-8"),
        *(
            (
                multipart((f"Content-Disposition: form-data; {parameters}", b"")),
                "the parameters of a content-disposition can't be read",
            )
            for parameters in (f"name*{'1' * 4400}=a", "name*=a; name*1=b", "name=a; filename*=a; filename*1=b")
        ),
    ],
)
async def test_multipart_forms_that_can_not_be_read(body: bytes, error: str) -> None:
    response, answer = await fetch(shop(), "/api/upload", "POST", body, "multipart/form-data; boundary=b")
    assert (response.status, answer["error"]) == (400, error)


async def test_repeated_fields_of_forms() -> None:
    field = 'Content-Disposition: form-data; name="numbers"'
    file = field + '; filename="x"'
    kind = "multipart/form-data; boundary=b"
    _, answer = await fetch(shop(), "/api/echo", "POST", multipart((field, b"1"), (field, b"2")), kind)
    assert answer["numbers"] == [1, 2]
    for parts in (((field, b"1"), (file, b"3")), ((file, b"1"), (field, b"2")), ((file, b"1"), (file, b"2"))):
        response, answer = await fetch(shop(), "/api/echo", "POST", multipart(*parts), kind)
        assert (response.status, answer["error"].split(":")[0]) == (400, "a file needs a name of its own")


async def test_options_and_methods() -> None:
    server = shop()
    response, _ = await fetch(server, "/api/greet", "OPTIONS", Origin="https://example.com")
    headers = dict(response.headers)
    assert (response.status, response.body) == (200, b"")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "HEAD, GET, POST, PUT, PATCH, DELETE, OPTIONS"
    assert headers["Access-Control-Allow-Headers"] == "Content-Type"
    for method in ("TRACE", "FOO", "GE"):
        response, answer = await fetch(server, "/api/greet", method)
        assert (response.status, answer) == (405, {"error": "method not allowed"})
        assert "GET" in dict(response.headers)["Allow"]


async def test_headers_of_an_answer() -> None:
    server = shop()
    response, _ = await fetch(server, "/api/echo")
    headers = dict(response.headers)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Set-Cookie"].startswith("sessionID=")


async def test_an_action_may_choose_headers_and_status() -> None:
    server = make()

    @server.action
    def create(connection: Any) -> dict[str, str]:
        connection.response_status = 201
        connection.response_headers.append(("access-control-allow-origin", "https://example.com"))
        connection.response_headers.append(("Location", "/thing/1"))
        assert repr(connection) == "<WebConnection GET /api/create>"
        return {"type": connection.type, "method": connection.request.method, "query": connection.query["q"]}

    response, answer = await fetch(server, "/api/create?q=1", X_Test="1")
    assert response.status == 201
    assert information(answer) == {"type": "web", "method": "GET", "query": "1"}
    names = [name.lower() for name, _ in response.headers]
    assert names.count("access-control-allow-origin") == 1
    assert ("Location", "/thing/1") in response.headers


async def test_outputs_that_can_not_be_sent() -> None:
    server = make()
    server.action(name="bad")(lambda connection: {"thing": object()})
    server.action(name="odd")(lambda connection, value: {"value": value, "line": "\u2028"})
    response, answer = await fetch(server, "/api/bad")
    assert (response.status, information(answer)) == (500, {"error": "The server experienced an internal error"})
    response, answer = await fetch(server, "/api/odd", "POST", '{"value": "\\ud800"}', JSON)
    assert (response.status, answer["value"], answer["line"]) == (200, "\ud800", "\u2028")


async def test_the_shape_may_be_configured() -> None:
    server = shop(padding=0, server_information=False, requester_information=False, api_path="/v1/api/")
    response, _ = await fetch(server, "/v1/api/greet?name=anna")
    assert response.body == b'{"greeting":"good day anna"}'
    response, _ = await fetch(shop(padding=4), "/api/echo")
    assert isinstance(response.body, bytes)
    assert response.body.startswith(b'{\n    "value": null')


async def test_configuring_again_leaves_alone_what_the_application_has_put_there() -> None:
    async def mine(request: Request) -> Response:
        return Response.text(200, "mine")

    server = shop()
    server.route("/api", mine)
    server.configure(padding=0)
    response, _ = await fetch(server, "/api/greet?name=anna")
    assert response.body == b"mine"
    server.configure(api_path="/v2", server_information=False, requester_information=False)
    response, _ = await fetch(server, "/v2/greet?name=anna")
    assert response.body == b'{"greeting":"good day anna"}'
    response, _ = await fetch(server, "/api/greet?name=anna")
    assert response.body == b"mine"


async def test_configuring_again_takes_effect() -> None:
    server = shop()
    server.configure(padding=0, server_information=False, requester_information=False, api_path="/v2")
    response, _ = await fetch(server, "/v2/greet?name=anna")
    assert response.body == b'{"greeting":"good day anna"}'
    response, _ = await fetch(server, "/api/greet?name=anna")
    assert response.status == 404
    server.configure(starting_chat_rooms=["tea"], simultaneous_actions=1, action_timeout=1000)
    assert server.rooms.list() == ["tea"]
    assert (server.runner.limit, server.runner.timeout) == (1, 1.0)
    async with running(server):
        client = await connect(server)
        await client.ask("roomAdd", room="tea")
        server.rooms.remove("tea")
        assert (await client.next())["message"] == "this room has been deleted"


async def test_web_may_be_switched_off() -> None:
    with pytest.raises(Reject):
        await fetch(shop(enabled=True, web={"enabled": False}), "/api/echo")


async def test_the_cookie_links_a_request_to_its_websocket() -> None:
    server = make()

    @server.action
    async def count(connection: Any) -> dict[str, int]:
        async with connection.session.change() as data:
            data["count"] = data.get("count", 0) + 1
        return {"count": connection.session["count"]}

    async with running(server):
        response, answer = await fetch(server, "/api/count")
        assert answer["count"] == 1
        cookie = dict(response.headers)["Set-Cookie"].partition(";")[0]
        response, answer = await fetch(server, "/api/count", Cookie=cookie)
        assert answer["count"] == 2
        assert "Set-Cookie" not in dict(response.headers)
        client = await connect(server, headers={"Cookie": cookie})
        assert (await client.action("count"))["count"] == 3
        stranger = await connect(server, f"/primus?{cookie}")
        assert (await stranger.action("count"))["count"] == 1


# In-process


async def test_running_an_action_in_the_program() -> None:
    server = shop()
    seen: list[Any] = []

    @server.action
    def who(connection: Any) -> dict[str, Any]:
        seen.append(connection)
        return {"type": connection.type}

    assert await server.run_action("greet", {"name": "anna", "times": "2", "apiVersion": 1}) == {
        "greeting": "hello anna hello anna"
    }
    assert await server.run_action("who") == {"type": "local"}
    assert seen[0].id == seen[0].fingerprint
    assert len(seen[0].session) == 0
    with pytest.raises(ActionError, match="name is a required parameter") as caught:
        await server.run_action("greet")
    assert caught.value.status == 422
    with pytest.raises(ActionError, match="unknown action") as caught:
        await server.run_action("nothing")
    assert caught.value.status == 404
    with pytest.raises(RuntimeError, match="hunter2"):
        await server.run_action("fail", {"how": "crash"})


async def test_running_an_action_for_somebody_counts_as_theirs(autojump_clock: trio.abc.Clock) -> None:
    server = make(simultaneous_actions=1)

    @server.action
    async def nested(connection: Connection) -> dict[str, Any]:
        return await server.run_action("nested", connection=connection)

    async with running(server):
        client = await connect(server)
        assert await client.action("nested") == {"error": "you have too many pending requests"}
        data = (await client.ask("detailsView"))["data"]
        assert (data["totalActions"], data["pendingActions"]) == (2, 0)


async def test_the_same_result_whichever_way_it_came() -> None:
    server = make()
    order: list[str] = []

    async def before(call: ActionCall) -> None:
        order.append(call.connection.type)

    server.action_middleware("watch", before=before)

    @server.action
    async def add(connection: Any, a: int, b: Annotated[int, Param(formatter=int)] = 1) -> dict[str, int]:
        return {"sum": a + b}

    async with running(server):
        client = await connect(server)
        assert await client.action("add", a=1, b="2") == {"sum": 3}
        assert information((await fetch(server, "/api/add?a=1&b=2"))[1]) == {"sum": 3}
        assert await server.run_action("add", {"a": 1, "b": 2}) == {"sum": 3}
    assert order == ["websocket", "web", "local"]


async def test_a_middleware_that_does_not_exist_stops_the_start() -> None:
    server = make()
    server.action(name="a", middleware=["nowhere"])(lambda connection: None)
    with pytest.raises(LookupError, match="'nowhere'"):
        await server.serve()


def test_decorated_functions_stay_what_they_are() -> None:
    server = make()

    @server.action
    def plain(connection: Any, key: str) -> dict[str, str]:
        return {"key": key}

    @server.action(version=2, name="other", description="d", documented=False, timeout=1.5)
    def other(connection: Any) -> None: ...

    function: Callable[..., dict[str, str]] = plain
    assert function(None, "k") == {"key": "k"}
    found = server.actions.find("other")
    assert found is not None
    assert (found.version, found.description, found.timeout) == ("2", "d", 1.5)


def test_annotations_may_name_what_is_local() -> None:
    from dataclasses import dataclass

    @dataclass
    class Place:
        name: str

    server = make()

    @server.action
    def go(connection: Any, place: Place) -> dict[str, str]:
        return {"name": place.name}

    @server.action(version=2)
    def come(connection: Any, place: Place) -> dict[str, str]:
        return {"name": place.name}

    assert trio.run(server.run_action, "go", {"place": {"name": "n"}}) == {"name": "n"}
    assert trio.run(server.run_action, "come", {"place": json.loads('{"name": "n"}')}) == {"name": "n"}
