"""ActionHero's verbs, and the inputs of actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ahtransport import ActionError, ActionServer, Connection
from ahtransport._actions.inputs import Input, Param, read_inputs
from ahtransport._actions.verbs import message_id_of
from ahtransport._parsers import JSONParser
from ahtransport.testing import connect_websocket, leftovers, memory_host
from fuzz.core import no_tracebacks, target


@dataclass
class _Point:
    x: int
    y: float = 0.0


_REQUIRED: Any = ...
_INPUTS = {
    name: Input.declare(name, kind, default)
    for name, kind, default in (
        ("i", int, 1),
        ("f", float, 1.0),
        ("s", str, ""),
        ("b", bool, False),
        ("l", list[int], None),
        ("d", dict[str, int], None),
        ("o", int | None, None),
        ("u", int | str, 0),
        ("p", _Point, None),
        ("e", Literal["a", "b"], "a"),
        ("t", tuple[int, str], None),
        ("x", Any, None),
        ("v", Annotated[str, Param(formatter=str.strip, validator=lambda value: len(value) < 5 or "too long")], ""),
        ("c", Annotated[int, msgspec.Meta(ge=0, le=9)], 0),
    )
}
_PARAMS = (
    b'{"i":"5","f":"1e3","s":1,"b":"true","l":"[1,2]","d":{"a":1},"o":null,"u":"x","p":{"x":1},"e":"c","t":[1,"2"]}',
    b'{"i":1e400,"f":"nan","l":["1"],"p":"{\\"x\\":\\"2\\"}","v":"  hello  ","c":10,"x":[[]]}',
    b'{"l":"[[[[[[","d":"{","i":"\xd9\xa3","f":"inf"}',
)


async def _read(params: dict[str, Any]) -> None:
    try:
        given = await read_inputs(_INPUTS, params)
    except ActionError as error:
        assert error.status == 422
        assert str(error)
        return
    assert set(given) <= set(_INPUTS)
    for name, kind in (("i", int), ("f", float), ("b", bool), ("s", str), ("l", list), ("p", _Point)):
        assert name not in given or type(given[name]) is kind, (name, given[name])


@target(_PARAMS)
def inputs(data: bytes) -> None:
    """Parameters of any form give values of the declared types, or an error that the client may see."""
    try:
        params = JSONParser(64).decode(data)
    except ValueError:
        return
    if isinstance(params, dict):
        reading = _read(params)
        try:
            reading.send(None)
        except StopIteration:
            return
        raise AssertionError("reading inputs waits for nothing")


_REQUESTS = (
    b'{"event":"action","params":{"action":"add","a":1,"b":"2"},"messageId":1}',
    b'{"event":"roomAdd","room":"known","messageId":"x"}\n{"event":"say","room":"known","message":"hi","messageId":2}',
    b'{"event":"roomView","room":"known"}\n{"event":"roomLeave","room":"known"}\n{"event":"detailsView"}',
    b'{"event":"documentation","messageId":{"a":1}}',
    b'{"event":"nothing","file":"../x"}\nnull\n[]\n1\n"x"\n{"event":["__init__"]}',
    b'{"event":"quit"}\n{"event":"action"}',
    b'"primus::ping::1"\n"primus::id::"\n"primus::server::close"\n"primus::x"',
    b'{"type":0,"data":["x"],"id":4}\n{"type":1,"id":1,"data":[]}',
)


async def _ask(messages: list[bytes]) -> None:
    server = ActionServer(config={}, ping_interval=0, starting_chat_rooms=["known"], welcome_message="")

    @server.action
    def add(connection: Connection, a: int, b: int = 0) -> dict[str, int]:
        return {"sum": a + b}

    opened: list[Connection] = []
    closed: list[Connection] = []
    server.on_open(opened.append)
    server.on_close(lambda connection, code, reason: closed.append(connection))
    parser = JSONParser()
    async with memory_host(server) as host:
        async with connect_websocket(host.dial) as client:
            for message in messages:
                try:
                    value = parser.decode(message)
                except ValueError:
                    continue
                if isinstance(value, str) and value.startswith("primus::"):
                    continue
                if isinstance(value, dict) and value.get("event") == "file":
                    continue  # see the target file_verb: they need the real clock
                await client.send_encoded(message.decode("utf-8", "replace"))
                await wait_all_tasks_blocked()
                if isinstance(value, dict) and value.get("event") in ("quit", "exit"):
                    break
                wanted = message_id_of(value.get("messageId")) if isinstance(value, dict) else None
                named = isinstance(value, dict) and bool(value.get("messageId")) and wanted is not None
                said = 0
                while True:  # what was said in the room may come first
                    with trio.fail_after(60):
                        reply = await client.receive()
                    if not isinstance(reply, dict) or reply.get("context") == "response":
                        break
                    said += 1
                    assert said <= 1
                assert isinstance(reply, dict), reply
                assert "messageId" in reply
                if named and not isinstance(wanted, float | list | dict):
                    assert reply["messageId"] == wanted
        await trio.sleep(60)
        assert opened == closed
        assert not leftovers(server), leftovers(server)
        assert not server.tallies


@target(_REQUESTS, slow=True)
def verbs(data: bytes) -> None:
    """Messages of any kind, a line each: every one gets exactly its reply, the connection lives, nothing fails."""
    with no_tracebacks():
        trio.run(_ask, data.split(b"\n")[:20], clock=MockClock(autojump_threshold=0))
