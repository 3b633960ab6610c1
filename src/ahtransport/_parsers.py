"""The parsers that come with ahtransport: JSON as JavaScript has it, and MessagePack.

Both satisfy :class:`ahtransport.abc.Parser`. msgspec does the work; what stands around it are checks that run at the
speed of C, and slow paths for the few values on which msgspec and JavaScript differ.
"""

from __future__ import annotations

import datetime
import json
import re
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

import msgspec

__all__ = ["JSONParser", "MessagePackParser"]

_TOO_DEEP = "nested deeper than {} levels"
_ENDLESS = "nested too deeply, or contains itself"

# Every bracket becomes a square one, everything else goes: what is left is the nesting alone.
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

# In this shorthand (digits as 0, what may stand before a number as a colon) an integer of 16 digits or more, the first
# ones that a double may not hold, is easy to find. Fractions, which often are that long, have a point before them.
_SHORTHAND = bytes.maketrans(b"123456789,[-", b"000000000:::")
_SHORTEST = 16
_LONG = b"0" * _SHORTEST
_LONG_INSIDE = b":" + _LONG
_EXACT = 2**53

# Strings are matched so that what looks like a number inside of one is left alone; so are the digits of a fraction.
_UNLIKE_JAVASCRIPT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|NaN|-?Infinity|(?<![\d.])-?\d{16,}(?![\d.eE])')
_SURROGATE = re.compile("([\ud800-\udbff][\udc00-\udfff])|[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE_ESCAPE_BYTES = re.compile(rb"\\u[dD][89a-fA-F]")


def _is_deeper(data: str | bytes, limit: int) -> bool:
    """Tell whether JSON is nested more than ``limit`` levels deep; exact for valid JSON, in linear time."""
    if isinstance(data, str):
        if data.count("[") + data.count("{") <= limit:
            return False
        data = data.encode("utf-8", "surrogatepass")
    elif data.count(b"[") + data.count(b"{") <= limit:
        return False
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    nesting = b"".join(data.split(b'"')[::2]).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(limit):
        if not nesting:
            return False
        nesting = nesting.replace(b"[]", b"")
    return bool(nesting)


def _as_javascript(match: re.Match[bytes]) -> bytes:
    """Write a token as ``JSON.stringify`` would: ECMA-262, Number::toString and SerializeJSONProperty."""
    token = match[0]
    if token.startswith(b'"'):
        return token
    number = float(token)
    if -_EXACT < number < _EXACT:
        return token
    if number != number or abs(number) == float("inf"):
        return b"null"
    shortest = repr(number)
    return shortest.encode() if abs(number) >= 1e21 else f"{Decimal(shortest):f}".removesuffix(".0").encode()


def _escape_surrogate(match: re.Match[str]) -> str:
    pair, lone = match[1], match[0]
    return pair.encode("utf-16", "surrogatepass").decode("utf-16") if pair else f"\\u{ord(lone):04x}"


def _integer(text: str) -> int | float:
    # The largest double has 309 digits; beyond, JavaScript reads Infinity. float() takes linear time, int() does not.
    return int(text) if len(text) < 311 else float(text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


class JSONParser:
    """JSON, with JavaScript's habits where Python's differ (ECMA-262, the JSON object).

    On the way in: strictly JSON (RFC 8259), so no ``NaN``, no byte-order mark and no raw control characters; a lone
    surrogate (``"\\ud800"``) is legal; of a repeated key the last value counts; numbers too large for a double are
    infinite. Integers are not rounded.

    On the way out: NaN and the infinities become ``null``, integers beyond 2**53 are rounded to a double and written
    as JavaScript writes it (``12345678901234567890`` as ``12345678901234567000``), U+2028 and U+2029 are escaped as
    Primus does, and so are lone surrogates. Besides JSON's own types go dataclasses, msgspec structs, datetimes, UUIDs
    and the like, as msgspec writes them.

    Args:
        max_depth: how many arrays and objects may stand inside each other in a message that comes in.
    """

    binary: ClassVar[bool] = False

    def __init__(self, max_depth: int = 64) -> None:
        self.max_depth = max_depth
        # Nesting one level deeper takes at least so many characters; whatever is shorter needs no check.
        self._harmless = 2 * max_depth + 1
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode
        self._decode_leniently = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse_constant).decode

    def encode(self, value: Any) -> bytes:
        """Encode ``value`` as UTF-8.

        Raises:
            TypeError: it has a type that JSON can't carry.
            ValueError: it contains itself, or is nested far too deeply.
        """
        try:
            text = self._encode(value)
        except UnicodeEncodeError:
            text = self._encode_surrogates(value)
        except RecursionError:
            raise ValueError(_ENDLESS) from None
        # (bytes.find is a good deal faster than the operator ``in``.)
        if not text.isascii() and text.find(b"\xe2\x80") >= 0:
            text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        if len(text) < _SHORTEST or type(value) is str:
            return text  # no room, or no place, for a number that JavaScript would write in another way
        shorthand = text.translate(_SHORTHAND)
        if shorthand.find(_LONG_INSIDE) >= 0 or shorthand.startswith(_LONG):
            text = _UNLIKE_JAVASCRIPT.sub(_as_javascript, text)
        return text

    def decode(self, data: str | bytes) -> Any:
        """Decode one message.

        Raises:
            ValueError: it is not JSON, or nested more than ``max_depth`` levels deep.
        """
        try:
            value = self._decode(data)
        except RecursionError:
            raise ValueError(_TOO_DEEP.format(self.max_depth)) from None
        except (msgspec.MsgspecError, UnicodeError) as error:
            value = self._decode_rarity(data, error)
        if len(data) > self._harmless and _is_deeper(data, self.max_depth):
            raise ValueError(_TOO_DEEP.format(self.max_depth))
        return value

    def _encode_surrogates(self, value: Any) -> bytes:
        """Encode what has lone surrogates in it; ``JSON.stringify`` escapes them, UTF-8 can't carry them."""
        try:
            text = json.dumps(msgspec.to_builtins(value, str_keys=True), ensure_ascii=False, separators=(",", ":"))
        except RecursionError:
            raise ValueError(_ENDLESS) from None
        return _UNLIKE_JAVASCRIPT.sub(_as_javascript, _SURROGATE.sub(_escape_surrogate, text).encode())

    def _decode_rarity(self, data: str | bytes, error: Exception) -> Any:
        """Decode what msgspec refuses but JavaScript does not: lone surrogates, and numbers too large for a double."""
        # Without a type to check against, a number's range is all that can be invalid; and only text can have
        # surrogates in it as they are.
        rarity = isinstance(error, msgspec.ValidationError | UnicodeEncodeError)
        if isinstance(data, str):
            rarity = rarity or _SURROGATE_ESCAPE.search(data) is not None
        else:
            rarity = rarity or _SURROGATE_ESCAPE_BYTES.search(data) is not None
        if not rarity:
            raise ValueError(str(error)) from None
        try:
            return self._decode_leniently(data if isinstance(data, str) else data.decode())
        except RecursionError:
            raise ValueError(_TOO_DEEP.format(self.max_depth)) from None


# Which bytes may begin something that contains other values: fixmap, fixarray, array 16 and 32, map 16 and 32.
_CONTAINERS = bytes(0x80 <= byte < 0xA0 or 0xDC <= byte < 0xE0 for byte in range(256))
# How the three timestamp formats may begin, which msgspec decodes by itself: of a length that the head implies, or with
# one of 8, 16 or 32 bits.
_TIMESTAMP = re.compile(
    rb"[\xd6\xd7]\xff|\xc7[\x04\x08\x0c]\xff|\xc8\x00[\x04\x08\x0c]\xff|\xc9\x00\x00\x00[\x04\x08\x0c]\xff"
)


def _refuse_extension(code: int, data: memoryview) -> NoReturn:
    raise ValueError(f"extension type {code} is not supported")


def _read_undefined(code: int, data: memoryview) -> None:
    if code != 0 or bytes(data) != b"\0":
        _refuse_extension(code, data)


def _check(value: Any, limit: int) -> None:
    """Walk through a decoded value, level by level, and refuse timestamps and deep nesting."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict | list | tuple):
                if depth == limit:
                    raise ValueError(_TOO_DEEP.format(limit))
                below += item
                if isinstance(item, dict):
                    below += item.values()
            elif isinstance(item, datetime.datetime):
                _refuse_extension(-1, memoryview(b""))
        level, depth = below, depth + 1


class MessagePackParser:
    """MessagePack (its specification of 2017), without extension types on the way in.

    Args:
        max_depth: how many arrays and maps may stand inside each other in a message that comes in.
        undefined: whether JavaScript's ``undefined``, as the npm package notepack.io writes it, is read as None.
    """

    binary: ClassVar[bool] = True

    def __init__(self, max_depth: int = 64, *, undefined: bool = False) -> None:
        self.max_depth = max_depth
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ext_hook=_read_undefined if undefined else _refuse_extension).decode

    def encode(self, value: Any) -> bytes:
        """Encode ``value``.

        Raises:
            TypeError: it has a type that MessagePack can't carry.
            ValueError: an integer has more than 64 bits, a string lone surrogates, or the value contains itself.
        """
        try:
            return self._encode(value)
        except RecursionError:
            raise ValueError(_ENDLESS) from None
        except OverflowError as error:
            raise ValueError(str(error)) from None

    def decode(self, data: str | bytes) -> Any:
        """Decode one message.

        Raises:
            ValueError: it is not MessagePack, is text, has an extension type (timestamps included) in it, or is nested
                more than ``max_depth`` levels deep.
        """
        if isinstance(data, str):
            raise ValueError("MessagePack does not come as text")
        try:
            value = self._decode(data)
        except RecursionError:
            raise ValueError(_TOO_DEEP.format(self.max_depth)) from None
        except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError) as error:  # TypeError: a map as a key
            raise ValueError(str(error)) from None
        deep = len(data) > self.max_depth and data.translate(_CONTAINERS).count(b"\x01") > self.max_depth
        if deep or (data.find(b"\xff") >= 0 and _TIMESTAMP.search(data)):
            _check(value, self.max_depth)
        return value
