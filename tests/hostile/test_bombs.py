"""F11 and F12: small messages that would cost much, and what grows faster than its input."""

from __future__ import annotations

import gc
import json
from time import thread_time
from typing import TYPE_CHECKING, Any

import pytest
import trio
from ahtransport.transports.engineio._codec import decode_payload
from ahtransport.transports.socketio._codec import TextCodec

from ahtransport._errors import ProtocolError, Reject, RoomError
from ahtransport._http import parse_query
from ahtransport._net.head import HeadReader, Limits, parse_head
from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport._rooms import Rooms
from hostile.support import under_attack
from hostile.wire import CLOSE, TEXT, Raw, frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport import Connection, Server

    Builder = Callable[[int], Callable[[], object]]

#: By name: the bomb, and whether it is a value after all. Numbers beyond a double's range and lone surrogates are
#: values, as JavaScript's own ``JSON.parse`` has it. What is none is not delivered.
BOMBS: dict[str, tuple[bytes, bool]] = {
    "depth 64": (b"[" * 64 + b"]" * 64, True),
    "depth 65": (b"[" * 65 + b"]" * 65, False),
    "objects 65 deep": (b'{"a":' * 65 + b"1" + b"}" * 65, False),
    "100,000 brackets": (b"[" * 100_000, False),
    "100,000 brackets, closed": (b"[" * 100_000 + b"]" * 100_000, False),
    "100,000 objects": (b'{"a":' * 100_000, False),
    "an integer of a million digits": (b"1" * 1_000_000, True),
    "an integer of 5,000 digits": (b"1" * 5_000, True),
    "a fraction of 5,000 digits": (b"0." + b"1" * 5_000, True),
    "1e999": (b"1e999", True),
    "-1e999": (b"-1e999", True),
    "an exponent of 5,000 digits": (b"1e" + b"9" * 5_000, True),
    "NaN": (b"NaN", False),
    "Infinity": (b"[-Infinity]", False),
    "a lone surrogate": (rb'"\ud800"', True),
    "surrogates the wrong way round": (rb'"\udc00\ud800"', True),
    "60,000 keys": (json.dumps({f"k{number}": number for number in range(60_000)}).encode(), True),
    "a megabyte of zeros": (b'"' + rb"\u0000" * 174_000 + b'"', True),
}
#: What one of them may take, seconds: measured in processor time of a busy machine, hence generous for the largest.
_TIME = 0.05


def took(function: Callable[[], object]) -> float:
    """Give the best of three times of a call, seconds."""
    times = []
    for _ in range(3):
        gc.disable()
        began = thread_time()
        function()
        times.append(thread_time() - began)
        gc.enable()
    return min(times)


@pytest.mark.parametrize("name", BOMBS)
def test_f11_json_bombs_cost_nothing(name: str) -> None:
    """A value or a ValueError, within ten milliseconds; nothing else ever escapes, RecursionError least of all."""
    bomb, is_value = BOMBS[name]
    parser = JSONParser(max_depth=64)
    for data in (bomb.decode(), bomb):

        def decode(data: Any = data) -> None:
            if is_value:
                parser.decode(data)
            else:
                with pytest.raises(ValueError):  # noqa: PT011 -- its text is not the point
                    parser.decode(data)

        assert took(decode) < (_TIME if len(bomb) > 500_000 else 0.01)


def test_f11_the_second_of_two_equal_keys_counts() -> None:
    """As in JavaScript; whoever reads it first or last, here there is one answer."""
    assert JSONParser(max_depth=64).decode('{"a":1,"a":2,"__proto__":3}') == {"a": 2, "__proto__": 3}


@pytest.mark.parametrize("transformer", ["websockets", "engine.io", "socket.io"])
async def test_f11_json_bombs_over_the_wire(transformer: str) -> None:
    """They are dropped, or end the session of a protocol that has no other answer; the server does not notice."""
    delivered: list[Any] = []

    def prepare(server: Server) -> None:
        @server.on_error
        def error(connection: Connection, exception: BaseException) -> None:
            assert isinstance(exception, ValueError)

        @server.on_open
        def opened(connection: Connection) -> None:
            delivered.append(connection)

    transformers = {"websockets": "/primus", transformer: "/there"} if transformer != "websockets" else "websockets"
    form = {"websockets": b"%s", "engine.io": b"4%s", "socket.io": b'42["message",%s]'}[transformer]

    async def connect() -> Raw:
        if transformer == "websockets":
            return await target.websocket()
        ws = await target.websocket(target="/there/?EIO=4&transport=websocket")
        assert (await ws.frame())[1][:2] == b"0{"
        if transformer == "socket.io":
            await ws.send(frame(TEXT, b"40"))
            assert (await ws.frame())[1][:3] == b"40{"
        return ws

    async with under_attack(prepare, transformer=transformers) as target:
        ws = await connect()
        for bomb, is_value in BOMBS.values():
            if is_value:
                continue
            await ws.send(frame(TEXT, form % bomb))
            await ws.send(frame(TEXT, form % b'"on"'))
            with trio.fail_after(3):
                opcode, payload = await ws.frame()
            if opcode == CLOSE:
                assert int.from_bytes(payload[:2]) in (1002, 1007)
                ws = await connect()
            else:
                assert payload == form % b'"on"'
            await target.bystander()
        assert all(message in ("on",) or isinstance(message, int | str) for message in target.messages)
        assert {message for message in target.messages if isinstance(message, str) and not message.isdigit()} <= {"on"}


# -- F12


def header(size: int) -> Callable[[], object]:
    data = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a, " * (size // 3) + b"\r\n\r\n"
    limits = Limits(10**8, 10**8, 10**8, 10**8)
    return lambda: parse_head(data[: HeadReader(limits).end(bytearray(data))])


def headers(size: int) -> Callable[[], object]:
    lines = b"".join(b"X-%d: 1\r\n" % number for number in range(size // 10))
    data = b"GET / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n"
    limits = Limits(10**8, 10**8, 10**8, 10**8)
    return lambda: parse_head(data[: HeadReader(limits).end(bytearray(data))])


def head_in_pieces(size: int) -> Callable[[], object]:
    data = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * size

    def feed() -> None:
        reader, buffer = HeadReader(Limits(10**8, 10**8, 10**8, 10**8)), bytearray()
        for at in range(0, len(data), 16):
            buffer.extend(data[at : at + 16])
            reader.end(buffer)

    return feed


def query(size: int) -> Callable[[], object]:
    text = "&".join(f"k{number}={'%20' * (size // 3000)}" for number in range(1000))
    return lambda: parse_query(text)


def payload(size: int) -> Callable[[], object]:
    body = b"\x1e".join([b"4" + b"x" * (size // 1000)] * 1000)
    return lambda: decode_payload(body)


def separators(size: int) -> Callable[[], object]:
    body = b"4\x1e" * (size // 2)

    def decode() -> None:
        with pytest.raises((ProtocolError, Reject)):
            decode_payload(body)

    return decode


def packet(size: int) -> Callable[[], object]:
    text = f'2/{"n" * 200},["event",{",".join(["1"] * (size // 2))}]'
    return lambda: TextCodec(JSONParser(max_depth=64), 10**8).decode(text)


def namespace(size: int) -> Callable[[], object]:
    text = "2/" + "n," * (size // 2)

    def decode() -> None:
        with pytest.raises(ProtocolError):
            TextCodec(JSONParser(max_depth=64), 10**8).decode(text)

    return decode


def json_keys(size: int) -> Callable[[], object]:
    text = json.dumps({f"{number:08}": 1 for number in range(size // 14)})
    return lambda: JSONParser(max_depth=64).decode(text)


def json_text(size: int) -> Callable[[], object]:
    text = '"' + r"\"[" * (size // 3) + '"'
    return lambda: JSONParser(max_depth=64).decode(text)


def json_brackets(size: int) -> Callable[[], object]:
    text = "[" + "[],{}," * (size // 6) + "1]"
    return lambda: JSONParser(max_depth=64).decode(text)


def messagepack(size: int) -> Callable[[], object]:
    parser = MessagePackParser(max_depth=64)
    data = parser.encode({f"{number:08}": [1] for number in range(size // 12)})
    return lambda: parser.decode(data)


def room(size: int) -> Callable[[], object]:
    name = "r" * size

    def add() -> None:
        with pytest.raises(RoomError):
            Rooms().add(name + "\0")
        Rooms(max_name=10**9).add(name)

    return add


#: What is built, and from which size on: small enough that it fits into the processor's caches, and for a head within
#: its limits.
GROWING: list[tuple[Builder, int]] = [
    (header, 8_000),
    (headers, 8_000),
    (head_in_pieces, 4_000),
    (query, 30_000),
    (payload, 50_000),
    (separators, 1_000),
    (packet, 20_000),
    (namespace, 20_000),
    (json_keys, 20_000),
    (json_text, 20_000),
    (json_brackets, 10_000),
    (messagepack, 20_000),
    (room, 20_000),
]


def repeated(function: Callable[[], object], times: int) -> float:
    """Give the best of five times of so many calls, seconds."""

    def run() -> None:
        for _ in range(times):
            function()

    return min(took(run) for _ in range(2))


@pytest.mark.parametrize(("build", "size"), GROWING, ids=[build.__name__ for build, _ in GROWING])
def test_f12_twice_the_input_takes_about_twice_the_time(build: Builder, size: int) -> None:
    """2.5 times at most, in one of a few tries: the machine may be busy with something else."""
    small, large = build(size), build(2 * size)
    times = max(1, int(0.002 / took(small)))
    ratios: list[float] = []
    while len(ratios) < 20 and (not ratios or ratios[-1] >= 2.5):
        ratios.append(repeated(large, times) / repeated(small, times))
    assert min(ratios) < 2.5, ratios
