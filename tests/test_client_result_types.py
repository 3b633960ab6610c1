"""The generated client's declarations: results with values that JSON does not have."""

import dataclasses
import datetime
from typing import Any, TypedDict

import pytest

from ahtransport import ActionServer

CLASS = "ActionheroWebsocketClient"
BYTES = "string | Uint8Array"
MSGPACK = {"parser": "msgpack"}
#: The types of bytes, times and integers.
TEXT = ("string", "string", "number")
WITH_BYTES = (BYTES, "string", "number")
ALL = (BYTES, "string | Date", "number | bigint")


class Times(TypedDict):
    when: datetime.datetime
    days: list[datetime.date]


class Mixed(TypedDict):
    blob: bytes
    parts: list[bytearray]
    count: int
    times: Times


@dataclasses.dataclass
class Flat:
    blob: bytes
    when: datetime.datetime
    count: int


def declared(**options: Any) -> str:
    """What the files of a server say of two actions: one answers with a dictionary, one with an object."""
    server = ActionServer(port=0, config={}, **options)

    @server.action
    def mixed(*, given: bytes, at: datetime.datetime, number: int) -> Mixed: ...  # type: ignore[empty-body]

    @server.action
    def flat() -> Flat: ...  # type: ignore[empty-body]

    files = server.client_files().files
    script, module = (
        files[f"{CLASS}{extension}"].decode().partition("interface Actions {")[2].partition("\n}\n")[0]
        for extension in (".d.ts", ".d.mts")
    )
    assert script == module
    return script


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({"transformer": "websockets"}, TEXT),
        ({"transformer": "engine.io"}, TEXT),
        ({"transformer": "socket.io"}, WITH_BYTES),
        ({"transformer": ["websockets", "socket.io"]}, WITH_BYTES),
        ({"transformer": "websockets", **MSGPACK}, ALL),
        ({"transformer": "socket.io", "transport": MSGPACK}, ALL),
    ],
)
def test_results_are_told_as_what_may_come(options: dict[str, Any], types: tuple[str, str, str]) -> None:
    """Of an object the server makes text before it is sent; of integers it does not."""
    blob, when, count = types
    text = declared(**options)
    dictionary, flat = (line for line in text.splitlines() if line.startswith("    result: "))
    assert flat == f"    result: {{ blob: string; when: string; count: {count} }};"
    members = [f"blob: {blob}", f"parts: Array<{blob}>", f"count: {count}", f"when: {when}", "days: Array<string>"]
    for member in members:  # they come in any order
        assert f" {member};" in dictionary or f" {member} }}" in dictionary
    # What may be given is what is good over HTTP, too.
    assert "      given: string;\n      at: string;\n      number: number;\n" in text
