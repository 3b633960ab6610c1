"""How clients put what they say into messages: Primus' way, and Socket.IO's."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Protocol

__all__ = ["Heard", "Language", "Primus", "SocketIO"]


class Heard(NamedTuple):
    """Something that came.

    Attributes:
        kind: "event", "ack", "message", "open" (a namespace is entered) or "control" (Primus').
        namespace: of Socket.IO, else "/".
        name: of an event; the text of a control message.
        args: of an event or its acknowledgement; a message as the only one.
        number: of an acknowledgement, or that an event wants; else None.
    """

    kind: str
    namespace: str
    name: str
    args: list[Any]
    number: int | None = None


class Language(Protocol):
    """Turns what is said into messages, and back."""

    def event(self, namespace: str, name: str, args: list[Any], number: int | None = None) -> list[str | bytes]:
        """Put an event into messages; with a number it wants an answer."""
        ...

    def answer(self, namespace: str, number: int, args: list[Any]) -> list[str | bytes]:
        """Put an acknowledgement into messages."""
        ...

    def message(self, value: Any) -> list[str | bytes]:
        """Put a plain message into messages."""
        ...

    def hear(self, data: str | bytes) -> Heard | None:
        """Read a message; None: there is more to come."""
        ...


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Primus:
    """JSON, with the events of the npm plug-in primus-emitter."""

    def event(self, namespace: str, name: str, args: list[Any], number: int | None = None) -> list[str | bytes]:
        """Put an event into a message."""
        return [_dump({"type": 0, "data": [name, *args]} | ({} if number is None else {"id": number}))]

    def answer(self, namespace: str, number: int, args: list[Any]) -> list[str | bytes]:
        """Put an acknowledgement into a message."""
        return [_dump({"type": 1, "id": number, "data": args})]

    def message(self, value: Any) -> list[str | bytes]:
        """Put a value into a message."""
        return [_dump(value)]

    def hear(self, data: str | bytes) -> Heard:
        """Read a message."""
        value = json.loads(data)
        if isinstance(value, str) and value.startswith("primus::"):
            return Heard("control", "/", value, [])
        if isinstance(value, dict) and value.get("type") == 0:
            return Heard("event", "/", value["data"][0], value["data"][1:], value.get("id"))
        if isinstance(value, dict) and value.get("type") == 1:
            return Heard("ack", "/", "", value["data"], value["id"])
        return Heard("message", "/", "", [value])


class SocketIO:
    """Socket.IO's packets, protocol 5."""

    def __init__(self) -> None:
        self._waiting: tuple[int, Heard] | None = None
        self._attachments: list[bytes] = []

    def _packet(self, kind: int, namespace: str, data: Any, number: int | None) -> list[str | bytes]:
        attachments: list[str | bytes] = []

        def placeheld(value: Any) -> Any:
            if isinstance(value, bytes):
                attachments.append(value)
                return {"_placeholder": True, "num": len(attachments) - 1}
            return [placeheld(one) for one in value] if isinstance(value, list) else value

        data = placeheld(data)
        head = f"{kind + 3}{len(attachments)}-" if attachments else str(kind)
        place = "" if namespace == "/" else f"{namespace},"
        return [f"{head}{place}{'' if number is None else number}{_dump(data)}", *attachments]

    def enter(self, namespace: str) -> list[str | bytes]:
        """Ask to be let into a namespace."""
        return ["0" if namespace == "/" else f"0{namespace},"]

    def event(self, namespace: str, name: str, args: list[Any], number: int | None = None) -> list[str | bytes]:
        """Put an event into a packet."""
        return self._packet(2, namespace, [name, *args], number)

    def answer(self, namespace: str, number: int, args: list[Any]) -> list[str | bytes]:
        """Put an acknowledgement into a packet."""
        return self._packet(3, namespace, args, number)

    def message(self, value: Any) -> list[str | bytes]:
        """Put a value into the event ``message``."""
        return self._packet(2, "/", ["message", value], None)

    def hear(self, data: str | bytes) -> Heard | None:
        """Read a packet, or an attachment of the last one."""
        if isinstance(data, bytes):
            assert self._waiting is not None, "an attachment that nobody announced"
            self._attachments.append(data)
            count, heard = self._waiting
            if len(self._attachments) < count:
                return None
            attachments, self._attachments, self._waiting = self._attachments, [], None
            return heard._replace(args=_filled(heard.args, attachments))
        assert self._waiting is None, "a packet between another and its attachments"
        kind, rest, count = int(data[0]), data[1:], 0
        if kind in (5, 6):
            digits, _, rest = rest.partition("-")
            kind, count = kind - 3, int(digits)
        namespace = "/"
        if rest[:1] == "/":
            namespace, _, rest = rest.partition(",")
        start = len(rest) - len(rest.lstrip("0123456789"))
        number = int(rest[:start]) if start else None
        value: Any = json.loads(rest[start:]) if rest[start:] else None
        if kind == 0:
            return Heard("open", namespace, "", [value])
        if kind == 1:
            return Heard("control", namespace, "primus::server::close", [])
        if kind == 3:
            heard = Heard("ack", namespace, "", value, number)
        elif kind == 2 and value[0] == "message":
            heard = Heard("message", namespace, "", value[1:])
        elif kind == 2:
            heard = Heard("event", namespace, value[0], value[1:], number)
        else:
            raise AssertionError(f"not from a server: {data!r}")
        if count:
            self._waiting = count, heard
            return None
        return heard


def _filled(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, dict):
        if value.get("_placeholder"):
            return attachments[value["num"]]
        return {key: _filled(one, attachments) for key, one in value.items()}
    return [_filled(one, attachments) for one in value] if isinstance(value, list) else value
