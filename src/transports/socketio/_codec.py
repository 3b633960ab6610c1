"""Socket.IO packets, by way of python-socketio.

The library takes apart and puts together; what it accepts too gladly is refused here, before it sees a packet (the form
of the header) and after (what each kind of packet may hold). Events without binary parts, which are nearly all, are
encoded directly; a test holds that against the library.
"""

from __future__ import annotations

import enum
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec
from socketio import packet as library

from ahtransport.abc import Event, Message, Payload, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ahtransport.abc import Parser

__all__ = ["MAX_ATTACHMENTS", "MAX_NAME", "RESERVED", "Codec", "Frame", "Kind", "MessagePackCodec", "TextCodec"]

#: How many binary parts one packet may have, as in npm socket.io-parser.
MAX_ATTACHMENTS: Final = 10
#: Events that a client may not send: to an application they would look like its own.
RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "__disconnect_final"}
)
_UNBINARY: Final[dict[int, int]] = {library.BINARY_EVENT: library.EVENT, library.BINARY_ACK: library.ACK}
_MAX_ID: Final = 2**53 - 1
#: How long the name of a namespace may be, in characters.
MAX_NAME: Final = 255
_HEADER: Final = re.compile(r"([0-4]|[56]([0-9]{1,10})-)(?:(/[^,]*)(?:,|\Z))?([0-9]{1,16})?(?=\Z|[\[{\"])")


class Kind(enum.IntEnum):
    """What a packet is for. (On the wire, events and acks with binary parts have numbers of their own.)"""

    CONNECT = library.CONNECT
    DISCONNECT = library.DISCONNECT
    EVENT = library.EVENT
    ACK = library.ACK
    CONNECT_ERROR = library.CONNECT_ERROR


# Looking a member up in its enumeration takes several times as long as comparing it.
_EVENT, _ACK = Kind.EVENT, Kind.ACK
_DIGITS: Final = tuple(b"%d" % number for number in range(7))
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
# Tuples made once: to put a union together takes longer than to look into it.
_LISTS: Final = (list, tuple, set, frozenset)
_BINARY: Final = (bytes, bytearray, memoryview)


class Frame(NamedTuple):
    """A decoded packet."""

    kind: Kind
    namespace: str
    id: int | None
    data: Any


class Codec:
    """Turns packets into Engine.IO messages and back; one per connection where it has to remember attachments."""

    def encode(self, frame: Frame) -> Sequence[Payload]:
        """Encode a packet as one message, or as several that must stay together.

        Raises:
            TypeError, ValueError: the data can't be carried.
        """
        raise NotImplementedError

    def plain(self, packet: Message | Event, wire: str) -> Payload | None:
        """Encode a message, or an event that wants no answer, as a packet of Engine.IO's for one wire.

        None: it is not as plain as nearly all are; then :meth:`encode` has to.

        Raises:
            TypeError, ValueError: as there.
        """
        return None

    def event(self, text: str) -> list[Any] | None:
        """Take one message that is an event for the root namespace and wants no answer: its name and its arguments.

        Nearly all are that. None: this one is not, or not a right one; then :meth:`decode` has to tell.
        """
        return None

    def decode(self, data: str | bytes) -> Frame | None:
        """Take one message; None: there is more to come.

        Raises:
            ProtocolError: it is no packet, or not one that may come now.
        """
        raise NotImplementedError

    @property
    def waiting(self) -> bool:
        """Whether attachments are missing."""
        return False


def check(kind: Kind, namespace: Any, number: Any, data: Any) -> Frame:
    """Check what a packet of this kind may hold, as npm socket.io-parser does.

    Raises:
        ProtocolError: not that.
    """
    if type(namespace) is not str:
        raise ProtocolError("there is no such namespace")
    if number is not None and (type(number) is not int or not 0 <= number <= _MAX_ID):
        raise ProtocolError("an id must be a whole number")
    match kind:
        case Kind.CONNECT:
            valid = data is None or type(data) is dict
        case Kind.DISCONNECT:
            valid = data is None
        case Kind.CONNECT_ERROR:
            valid = type(data) in (dict, str)
        case Kind.ACK:
            valid = type(data) is list
        case _:
            valid = type(data) is list and bool(data)
            if valid and type(data[0]) in (int, float):
                data = [_name(data[0]), *data[1:]]
            valid = valid and type(data[0]) is str and data[0] not in RESERVED
    if not valid:
        raise ProtocolError("the payload does not fit the packet")
    return Frame(kind, namespace, number, data)


def _name(number: float) -> str:
    """Write a number that stands for an event's name as JavaScript would."""
    return str(int(number)) if abs(number) < _MAX_ID and number == int(number) else str(number)


@cache
def _bound(parser: Any) -> Any:
    """Make the library's packet with this parser; its own setting would hold for the whole process."""

    class Bound(library.Packet):  # type: ignore[misc]
        class json:
            @staticmethod
            def loads(text: str) -> Any:
                return parser.decode(text)

            @staticmethod
            def dumps(value: Any, **options: Any) -> str:
                encoded = parser.encode(value)
                return encoded.decode() if isinstance(encoded, bytes) else encoded

    return Bound


class TextCodec(Codec):
    """The default parser: JSON, with binary parts as messages of their own."""

    __slots__ = ("_incomplete", "_left", "_max_length", "_packet", "_parser")

    def __init__(self, parser: Parser, max_length: int) -> None:
        self._parser = parser
        self._packet = _bound(cast("Any", parser))
        self._max_length = max_length
        self._incomplete: Any = None
        self._left = 0

    @property
    def waiting(self) -> bool:
        """Whether attachments are missing."""
        return self._incomplete is not None

    def encode(self, frame: Frame) -> Sequence[Payload]:
        """Encode a packet; binary parts follow it."""
        kind, namespace, number, data = frame
        if kind is _EVENT and data[0] in RESERVED:
            _check_name(frame)
        if kind is _EVENT or kind is _ACK:
            try:
                if not _has_binary(data):
                    encoded = self._parser.encode(data)
                    head = _DIGITS[kind] if namespace == "/" else _DIGITS[kind] + f"{namespace},".encode()
                    if number is not None:
                        head += b"%d" % number
                    return (
                        Payload(head + (encoded if isinstance(encoded, bytes) else encoded.encode()), binary=False),
                    )
                data = _plain(data)
            except RecursionError:
                raise ValueError("nested too deeply, or contains itself") from None
        parts = self._packet(int(frame.kind), data, frame.namespace, frame.id).encode()
        if isinstance(parts, str):
            return (Payload.of(parts),)
        return [Payload.of(parts[0]), *(Payload(bytes(part)) for part in parts[1:])]

    def plain(self, packet: Message | Event, wire: str) -> Payload | None:
        """Encode what has no binary parts: the short way past :meth:`encode`, which has all the rules."""
        value: Any
        if type(packet) is Message:
            value, form = packet.data, b'%b["message",%b]'
        elif type(packet) is Event and packet.ack is None and packet.name not in RESERVED:
            value, form = [packet.name, *packet.args], b"%b%b"
        else:
            return None
        try:
            if type(value) not in _SCALARS and _has_binary(value):
                return None
        except RecursionError:
            return None
        encoded = self._parser.encode(value)
        return Payload(form % (_head(wire), encoded if isinstance(encoded, bytes) else encoded.encode()), binary=False)

    def event(self, text: str) -> list[Any] | None:
        """Take a plain event: the short way past :meth:`decode`, which has all the rules."""
        if text[:2] == "2[" and self._incomplete is None:
            try:
                value: list[Any] = self._parser.decode(text[1:])
            except (ValueError, IndexError, TypeError):
                return None
            if value and type(value[0]) is str and value[0] not in RESERVED:
                return value
        return None

    def decode(self, data: str | bytes) -> Frame | None:
        """Take a packet or an attachment."""
        if isinstance(data, bytes):
            return self._attach(data)
        if self._incomplete is not None:
            raise ProtocolError("attachments are missing")
        match = _HEADER.match(data)
        if match is None:
            raise ProtocolError("the packet is malformed")
        if match[1] in ("2", "3"):
            kind = _EVENT if match[1] == "2" else _ACK
            number = None if match[4] is None else int(match[4])
            return check(kind, match[3] or "/", number, self._decode(data[match.end() :]))
        attachments = int(match[2] or 0)
        if match[2] is not None and not 1 <= attachments <= MAX_ATTACHMENTS:
            raise ProtocolError(f"a packet may have 1 to {MAX_ATTACHMENTS} attachments")
        try:
            packet = self._packet(encoded_packet=data)
        except (ValueError, IndexError, TypeError) as error:
            raise ProtocolError("the packet is malformed") from error
        number_on_wire: int = packet.packet_type
        kind = Kind(_UNBINARY.get(number_on_wire, number_on_wire))
        namespace = match[3] or "/"
        number = None if match[4] is None else int(match[4])
        if not attachments:
            return check(kind, namespace, number, packet.data)
        check(kind, namespace, number, packet.data)
        _check_placeholders(packet.data, attachments)
        self._incomplete = (packet, kind, namespace, number)
        self._left = self._max_length
        return None

    def _decode(self, text: str) -> Any:
        """Decode what stands behind a header; there need not be anything.

        Raises:
            ProtocolError: it is malformed.
        """
        if not text:
            return None
        try:
            return self._parser.decode(text)
        except (ValueError, IndexError, TypeError) as error:
            raise ProtocolError("the packet is malformed") from error

    def _attach(self, data: bytes) -> Frame | None:
        if self._incomplete is None:
            raise ProtocolError("an attachment without a packet")
        self._left -= len(data)
        if self._left < 0:
            raise ProtocolError("the attachments are too large", 1009)
        packet, kind, namespace, number = self._incomplete
        if not packet.add_attachment(data):
            return None
        self._incomplete = None
        return check(kind, namespace, number, packet.data)


@lru_cache(1024)
def _head(wire: str) -> bytes:
    """Give the beginning of an event on a wire, in one namespace; text is the same whatever carries it."""
    namespace = wire.partition(" ")[2]
    return b"42" if namespace == "/" else f"42{namespace},".encode()


def _check_name(frame: Frame) -> None:
    """Refuse to send an event that no client would take.

    Raises:
        ValueError: its name is reserved.
    """
    if frame.kind is Kind.EVENT and frame.data[0] in RESERVED:
        raise ValueError(f"{frame.data[0]!r} is not for applications to emit; clients would take it for their own")


def _has_binary(value: Any) -> bool:
    """Tell whether there are binary parts anywhere in a value.

    Raises:
        TypeError: a key is binary.
        RecursionError: the value contains itself.
    """
    if type(value) in _SCALARS:
        return False
    if isinstance(value, _LISTS):
        return any([type(item) not in _SCALARS and _has_binary(item) for item in value])
    if isinstance(value, dict):
        if bytes in map(type, value):
            raise TypeError("the keys of an object can't be bytes")
        return any([type(item) not in _SCALARS and _has_binary(item) for item in value.values()])
    return isinstance(value, _BINARY)


def _plain(value: Any) -> Any:
    """Make of tuples, sets and views what the library looks into when it searches for binary parts.

    Raises:
        TypeError: a key is binary.
        RecursionError: the value contains itself.
    """
    if isinstance(value, _LISTS):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if any(type(key) is bytes for key in value):
            raise TypeError("the keys of an object can't be bytes")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, _BINARY):
        return bytes(value)
    return value


def _check_placeholders(value: Any, count: int) -> None:
    """Check that each attachment is asked for exactly once, by its number.

    Raises:
        ProtocolError: not so.
    """
    numbers: list[Any] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is list:
            stack += item
        elif type(item) is dict:
            if item.get("_placeholder"):
                if item["_placeholder"] is not True or type(item.get("num")) is not int:
                    raise ProtocolError("a placeholder is malformed")
                numbers.append(item["num"])
            else:
                stack += item.values()
    if sorted(numbers) != list(range(count)):
        raise ProtocolError("placeholders and attachments do not match")


class MessagePackCodec(Codec):
    """As npm socket.io-msgpack-parser: each packet is one binary message."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def encode(self, frame: Frame) -> Sequence[Payload]:
        """Encode a packet."""
        _check_name(frame)
        packet: dict[str, Any] = {"type": int(frame.kind), "data": frame.data, "nsp": frame.namespace}
        if frame.data is None:
            del packet["data"]
        if frame.id is not None:
            packet["id"] = frame.id
        encoded = self._parser.encode(packet)
        return (Payload(encoded if isinstance(encoded, bytes) else encoded.encode()),)

    def decode(self, data: str | bytes) -> Frame | None:
        """Take a packet."""
        if not isinstance(data, bytes):
            raise ProtocolError("packets are binary here")
        try:
            packet = self._parser.decode(data)
        except (ValueError, msgspec.DecodeError) as error:
            raise ProtocolError("the packet is malformed") from error
        if type(packet) is not dict or type(packet.get("type")) is not int or not 0 <= packet["type"] <= 4:
            raise ProtocolError("the packet is malformed")
        _check_keys(packet)
        return check(Kind(packet["type"]), packet.get("nsp"), packet.get("id"), packet.get("data"))


def _check_keys(value: Any) -> None:
    """Check that all keys are text: applications expect what JSON could carry.

    Raises:
        ProtocolError: one is something else.
    """
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            if any(type(key) is not str for key in item):
                raise ProtocolError("the keys of an object must be text")
            stack += item.values()
        elif type(item) is list:
            stack += item
