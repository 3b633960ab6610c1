"""Compression: what is agreed on (RFC 7692, RFC 9110), and WebSocket conversations that are compressed."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ahtransport._errors import Reject
from ahtransport._heartbeat import Deadlines
from ahtransport._net.compressed import CompressedWire, agreed
from ahtransport._net.deflate import Compression, Parameters
from ahtransport._net.handshake import check_upgrade
from ahtransport._net.head import parse_head
from ahtransport._net.host import Host
from ahtransport._web import compression as gzipped
from ahtransport.abc import Payload
from ahtransport.testing import frame_bytes
from ahtransport.testing._wires import MemoryChannel, Nobody
from fuzz.core import no_tracebacks, target
from fuzz.targets.websocket import LIMITS, Doubter, comparable, drive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# -- what is agreed on

_DEFLATE = "permessage-deflate"
_REQUEST = (
    b"GET /primus HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n"
)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf"[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*({_TOKEN}))?[ \t]*"
_OFFER = re.compile(rf"[ \t]*{_DEFLATE}[ \t]*((?:;{_PARAMETER})*)")
_FORMS = {
    "server_no_context_takeover": r"",
    "client_no_context_takeover": r"",
    "server_max_window_bits": r"9|1[0-5]",  # the RFC has 8 as well, but zlib has not
    "client_max_window_bits": r"|9|1[0-5]",
}


def _parameters(text: str) -> dict[str, str] | None:
    """Read one offer or answer as the RFC has it; None: it is not one, or one that must be declined."""
    match = _OFFER.fullmatch(text)
    if match is None:
        return None
    found: dict[str, str] = {}
    for name, value in re.findall(";" + _PARAMETER, match[1]):
        if name in found or name not in _FORMS or not re.fullmatch(_FORMS[name], value):
            return None
        found[name] = value
    return found


def _offers(values: Iterable[str]) -> Iterator[dict[str, str]]:
    """Give the offers that can be taken; a header with quotation marks is not read at all."""
    for value in values:
        for offer in value.split(",") if '"' not in value else ():
            found = _parameters(offer)
            if found is not None:
                yield found


def _check_answer(offer: dict[str, str], answer: dict[str, str], takeover: bool) -> None:
    """Check an answer as a client has to (RFC 7692 section 7.1)."""
    if "server_no_context_takeover" in offer or not takeover:
        assert "server_no_context_takeover" in answer
    if not takeover:
        assert "client_no_context_takeover" in answer
    if "server_max_window_bits" in offer:
        assert int(answer["server_max_window_bits"]) <= int(offer["server_max_window_bits"])
    if "client_max_window_bits" in answer:
        assert "client_max_window_bits" in offer, "a client that has not offered it need not know it"
        assert int(answer["client_max_window_bits"]) <= int(offer["client_max_window_bits"] or 15)


@target(
    bytes((takeover,)) + offers
    for takeover in (0, 1)
    for offers in (
        b"permessage-deflate",
        b"permessage-deflate; client_max_window_bits",
        b" permessage-deflate\t;client_max_window_bits = 10 ;server_max_window_bits=9",
        b"permessage-deflate; client_max_window_bits=14; server_max_window_bits=14",
        b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        b"x-webkit-deflate-frame, permessage-deflate; surprise, permessage-deflate",
        b"permessage-deflate; server_max_window_bits=8\nfoo\npermessage-deflate; server_max_window_bits=15",
        b'foo; bar="permessage-deflate, permessage-deflate"',
        b"permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        b"permessage-deflate; server_max_window_bits; server_no_context_takeover=",
        b"Permessage-Deflate, permessage-deflate;, permessage-deflate; client_max_window_bits=09",
    )
)
def extensions(data: bytes) -> None:
    """Offers of permessage-deflate: what RFC 7692 lets be answered to the first that can be taken, or nothing."""
    takeover = bool(data[:1] and data[0] & 1)
    lines = data[1:].replace(b"\r", b" ").split(b"\n")
    head = _REQUEST + b"".join(b"Sec-WebSocket-Extensions: " + line + b"\r\n" for line in lines) + b"\r\n"
    try:
        parsed = parse_head(head)
        check_upgrade(parsed)
    except Reject as refusal:
        assert refusal.status == 400
        return
    found = agreed(parsed, Compression(context_takeover=takeover))
    assert agreed(parsed, None) is None
    offer = next(_offers(parsed.headers.get_all("sec-websocket-extensions")), None)
    assert (found is None) == (offer is None)
    if found is None or offer is None:
        return
    answer = _parameters(str(found))
    assert answer is not None
    _check_answer(offer, answer, takeover)
    # Both sides go by the same: what was answered, and what is kept of it.
    assert found == Parameters(
        "server_no_context_takeover" in answer,
        "client_no_context_takeover" in answer,
        int(answer.get("server_max_window_bits", 15)),
        int(answer.get("client_max_window_bits", 15)),
        "server_max_window_bits" in answer,
    )
    assert found.client_max_window_bits <= int(offer.get("client_max_window_bits") or 15)


_CODING = re.compile(rf"[ \t]*({_TOKEN})(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{{0,3}})?|1(?:\.0{{0,3}})?))?[ \t]*|[ \t]*")


@target(
    [
        b"gzip, deflate, br, zstd",
        b"gzip;q=0, *",
        b"gzip;q=0.000, br",
        b"X-GZIP ; Q=0.001\t, *;q=0.000",
        b"*;q=0.5, identity;q=0",
        b"br;q=1.0,,*; q=0. ,gzip;level=9;q=0",
        b"",
    ]
)
def accepts_gzip(data: bytes) -> None:
    """Accept-Encoding: any is read; gzip only where it is wanted, and its name counts for more than ``*``."""
    header = data.decode("latin-1")
    found = gzipped.accepts_gzip(header)
    assert gzipped.accepts_gzip(header.upper()) == found
    assert gzipped.accepts_gzip("gzip, " + header)
    assert not gzipped.accepts_gzip("gzip;q=0, " + header)
    if "gzip" not in header.lower():
        assert not found or "*" in header
        assert gzipped.accepts_gzip(header + ", *")
        assert not gzipped.accepts_gzip(header + ", *;q=0.0")
    choices = [_CODING.fullmatch(choice) for choice in header.split(",")]
    weights: dict[str, float] = {}
    for choice in choices:
        if choice is None:
            return  # RFC 9110 does not say what it means
        name = (choice[1] or "").lower().removeprefix("x-")
        if name and name in weights:
            return
        weights[name] = float(choice[2] or 1)
    assert found == (weights.get("gzip", weights.get("*", 0)) > 0)


# -- conversations

_TAIL = b"\x00\x00\xff\xff"
_EMPTY = b"\x03\x00"  # a last block, empty: after it, what was whole is at its end
_LARGE = 300_000  # bytes: more than are inflated in one turn
_OURS = {1002, 1007, 1008, 1009}  # codes that what a peer sends may be refused with


class _Packed(NamedTuple):
    """A message that had to be inflated, after how many others it came, and its opcode."""

    at: int
    opcode: int
    data: bytes


class _Wire(CompressedWire):
    """Notes what it had to inflate and how it refused; refuses reserved bits where they are wrong."""

    def __init__(self, receiver: Doubter, channel: MemoryChannel, host: Host, parameters: Parameters) -> None:
        super().__init__(channel, host, parameters)
        self.packed: list[_Packed] = []
        self.codes: list[int] = []
        self._doubter = receiver

    def _slow(self, data: bytes, now: float) -> bytes | None:
        wrong = not self._left and data[0] & 0x70 and data[0] & 0x7F not in (0x41, 0x42)
        rest = super()._slow(data, now)
        assert not wrong or self.codes == [1002]
        return rest

    def _deliver(self, data: str | bytes) -> None:
        if self._packed and self._open:
            assert isinstance(data, bytes)
            self.packed.append(_Packed(len(self._doubter.events), self._packed, data))
        super()._deliver(data)

    def _fail(self, code: int, reason: str) -> None:
        self.codes.append(code)
        super()._fail(code, reason)


class _Echo(Doubter):
    """Sends each message back."""

    def message(self, data: str | bytes) -> None:
        self.wire.write(Payload.of(data))
        super().message(data)


def _converse(data: bytes, seed: int, what: int) -> tuple[list[Any], bytes, bool]:
    """Feed what follows the first four bytes, two of which say what was agreed on; check it against zlib itself."""
    flags, bits = (*data[2:4], 0, 0)[:2]
    parameters = Parameters(bool(flags & 1), bool(flags & 2), 9 + bits % 7, 9 + bits // 7 % 7)
    limits = LIMITS | {"max_length": _LARGE if flags & 4 else LIMITS["max_length"]}
    compression = Compression(threshold=20, context_takeover=not flags & 1)
    receiver = _Echo(what, limits["max_length"])
    wires: list[_Wire] = []

    def make(channel: MemoryChannel) -> _Wire:
        host = Host(Nobody(), Deadlines(), compression=compression, **limits)  # type: ignore[arg-type]
        wires.append(_Wire(receiver, channel, host, parameters))
        return wires[0]

    outcome = drive(make, receiver, data[4:], seed)
    messages = [event for event in outcome[0] if not isinstance(event, tuple)]
    assert set(wires[0].codes) <= _OURS, wires[0].codes
    _check_inflated(wires[0].packed, messages, parameters, limits["max_length"])
    assert _read(outcome[1], parameters) == messages, "what was sent back is not what came"
    return outcome


def _check_inflated(packed: list[_Packed], messages: list[Any], parameters: Parameters, limit: int) -> None:
    """What was delivered is what zlib makes of it, with one object for all that belongs together; all that a client may
    send was delivered."""
    alone, least = parameters.client_no_context_takeover, parameters.client_max_window_bits
    large, small = zlib.decompressobj(-15), zlib.decompressobj(-least)
    for at, opcode, data in packed:
        if alone:
            large, small = zlib.decompressobj(-15), zlib.decompressobj(-least)
        refused = at >= len(messages)
        try:
            whole = (small if refused else large).decompress(data + _TAIL)
            if not refused:
                small.decompress(data + _TAIL)
            end = (small if refused else large).copy()
            end.decompress(_EMPTY)
            expected = whole.decode() if opcode == 1 else whole
        except (zlib.error, UnicodeDecodeError):
            assert refused or parameters.client_max_window_bits < 15
            return
        if large.eof or small.eof:
            return  # a message may be several streams (section 7.2.3.4), which are more than one object of zlib's
        if refused:
            assert len(whole) > limit or not end.eof
            return
        assert end.eof, "it was cut off"
        assert messages[at] == expected


def _read(sent: bytes, parameters: Parameters) -> list[str | bytes]:
    """Read the server's messages with as small a window as was agreed on: little is inflated at once."""
    found: list[str | bytes] = []
    stream = zlib.decompressobj(-parameters.server_max_window_bits)
    while sent:
        first, size = sent[0], sent[1]
        start = {126: 4, 127: 10}.get(size, 2)
        size = int.from_bytes(sent[2:start]) if start > 2 else size
        data, sent = sent[start : start + size], sent[start + size :]
        if first & 0x40:
            if parameters.server_no_context_takeover:
                stream = zlib.decompressobj(-parameters.server_max_window_bits)
            data, rest = b"", data + _TAIL
            while rest:
                data += stream.decompress(rest, 256)
                rest = stream.unconsumed_tail
            data += stream.decompress(b"")
        if first & 0x0F in (1, 2):
            found.append(data.decode() if first & 0x0F == 1 else data)
    return found


def _deflated(*messages: bytes, alone: bool = False, final: bool = False, level: int = 6) -> list[bytes]:
    """Deflate messages: together or each ``alone``; ``final`` ones are streams that have an end."""
    stream, packed = zlib.compressobj(level, wbits=-15), list[bytes]()
    for message in messages:
        data = stream.compress(message)
        packed.append(data + stream.flush() + b"\0" if final else (data + stream.flush(zlib.Z_SYNC_FLUSH))[:-4])
        if alone or final:
            stream = zlib.compressobj(level, wbits=-15)
    return packed


def _one(opcode: int, data: bytes, *cuts: int) -> bytes:
    """Give a compressed message as frames; a ping is between any two fragments."""
    parts = [data[start:end] for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True)]
    return frame_bytes(9, b"p").join(
        frame_bytes(0 if at else opcode | 0x40, part, fin=at == len(parts) - 1) for at, part in enumerate(parts)
    )


_TEXT = b"one two three one two three \xc3\xa9" * 4
_FAR = bytes(number * number // 7 & 0xFF for number in range(1500)) * 2  # repeats itself, but not soon
_FIRST, _SECOND = _deflated(_TEXT, _TEXT)
_ALONE = _deflated(_TEXT, alone=True)[0]
_END = frame_bytes(8, b"\x03\xe8bye")
_CONVERSATIONS = (
    _one(1, _FIRST) + _one(2, _SECOND) + _END,
    _one(1, _ALONE, 10, 20) + frame_bytes(1, b"plain") + _one(2, _ALONE, 0) + _END,
    _one(2, bytes.fromhex("f248cdc9c90700")) + _one(2, bytes.fromhex("f200110000")) + _one(1, b"\0"),  # the RFC's
    b"".join(_one(2, data) for data in _deflated(b"final", b"block", final=True)),
    _one(1, _deflated(b"x" * 300)[0]) + _one(1, _deflated(b"x" * 301)[0]),
    _one(2, _deflated(bytes(_LARGE))[0]) + frame_bytes(1, b"after"),
    _one(2, _deflated(bytes(range(256)) * 1200, level=1)[0]) + _one(1, _FIRST) + _END,
    _one(2, _deflated(bytes(_LARGE))[0]),
    b"".join(_one(2, data) for data in _deflated(_FAR, _FAR, _TEXT)),
    b"".join(_one(2, data) for data in _deflated(_FAR, _FAR, _TEXT, alone=True)),
    _one(1, _ALONE[:-3]),
    _one(1, _deflated(b"\xed\xa0\x80")[0]),
    frame_bytes(1 | 0x40, _ALONE[:9], fin=False) + frame_bytes(0x40, _ALONE[9:]),
    frame_bytes(0x40, b"nothing"),
    frame_bytes(9 | 0x40, b"p") + _one(1, _ALONE),
    frame_bytes(1 | 0x60, _ALONE),
    frame_bytes(1 | 0x40, _ALONE, mask=None),
    frame_bytes(2, b"plain", fin=False) + _one(0, _ALONE),
    _one(1, b"\xff") + _one(1, _ALONE),
    _one(2, b"\x03\0" * 9) + _END,
)


@target(
    bytes((seed, what, flags, bits)) + stream
    for stream in _CONVERSATIONS
    for seed, what, flags, bits in ((0, 0, 0, 48), (1, 5, 3, 48), (7, 6, 4, 0), (9, 9, 7, 14))
)
def compressed(data: bytes) -> None:
    """Compressed conversations in any pieces: the same messages, answers and end; no message is too long."""
    seed, what = (*data[:2], 0, 0)[:2]
    with no_tracebacks():
        whole = _converse(data, 0, 0)
        assert comparable(_converse(data, seed, 0)) == comparable(whole)
        events, _, _ = _converse(data, seed, what)
        messages = [event for event in events if not isinstance(event, tuple)]
        assert messages == whole[0][: len(messages)]
