"""Primus' message layer: what a message, an event and a control message look like as one parsed value.

Control messages are strings that begin with ``primus::`` and a known word. Events are those of the npm plug-in
primus-emitter:
``{"type": 0, "data": [name, …arguments], "id": n}`` (``id`` only where an answer is wanted), answered by
``{"type": 1, "id": n, "data": [… answer]}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ahtransport._payload import Payload
from ahtransport.abc import Ack, Control, Event, Message, Packet

if TYPE_CHECKING:
    from ahtransport.abc import Parser

__all__ = ["CLOSE", "CONTROLS", "Codec", "as_event"]

# What a peer may say; any other text that begins with "primus::" is an ordinary message, as in Primus. Not so what only
# a server says: an application that passes texts on would let one client send the others away.
CONTROLS: Final = ("primus::ping::", "primus::pong::", "primus::id::", "primus::server::", "primus::stale::")
#: Sent before a close: the client is not to come back.
CLOSE: Final = Control("primus::server::close")

_EVENT, _ACK = 0, 1
#: The last number that JavaScript, and JSON on its way, tells from its neighbours: Number.MAX_SAFE_INTEGER.
_LAST: Final = 2**53 - 1


class Codec:
    """Primus' message layer with one parser."""

    __slots__ = ("_binary", "_decode", "_encode", "parse")

    def __init__(self, parser: Parser) -> None:
        self._encode = parser.encode
        self._decode = parser.decode
        #: The parser's own ``decode``: the way of every message, so nothing stands around it.
        self.parse = parser.decode
        # A parser of text may give bytes that are UTF-8 already, and says so; without a word, bytes are binary.
        self._binary: bool | None = getattr(parser, "binary", None)

    def encode(self, packet: Packet) -> Payload:
        """Encode a packet.

        Raises:
            TypeError, ValueError: the value can't be carried.
        """
        value: Any
        if isinstance(packet, Message):
            value = packet.data
        elif isinstance(packet, Event):
            value = {"type": _EVENT, "data": [packet.name, *packet.args]}
            if packet.ack is not None:
                value["id"] = packet.ack
        elif isinstance(packet, Ack):
            value = {"type": _ACK, "id": packet.ack, "data": list(packet.args)}
        else:
            value = packet.text
        data = self._encode(value)
        if type(data) is bytes and self._binary is not None:
            return Payload(data, self._binary)
        payload = Payload.of(data)
        if self._binary is not None:
            payload.binary = self._binary
        return payload

    def decode(self, data: str | bytes) -> Packet:
        """Decode one message. Events come as plain messages: whether they are events is the application's choice.

        Raises:
            ValueError: the parser could not decode it.
        """
        try:
            value = self._decode(data)
        except ValueError:
            raise
        except Exception as error:  # a user's parser may raise whatever it likes
            raise ValueError(f"the parser failed: {error!r}") from error
        if type(value) is str and value.startswith(CONTROLS):
            return Control(value)
        return Message(value)


def as_event(value: Any) -> Event | Ack | None:
    """Read a value as primus-emitter would; None: it is an ordinary message."""
    if type(value) is not dict:
        return None
    kind, data, number = value.get("type"), value.get("data"), value.get("id")
    if type(data) is not list or not (number is None or (type(number) is int and 0 <= number <= _LAST)):
        return None
    if kind == _EVENT and type(kind) is int and data and type(data[0]) is str:
        return Event(data[0], data[1:], number or None)  # primus-emitter counts from 1; 0 wants no answer
    if kind == _ACK and type(kind) is int and number:
        return Ack(number, data)
    return None
