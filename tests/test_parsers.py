"""The parsers: ACCEPTANCE F11, F12, D14, D15, and what ACTIONHERO.md says of JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
import json
import math
import shutil
import subprocess
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport.abc import Parser

JSON = JSONParser()
PACK = MessagePackParser()

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def test_both_are_parsers() -> None:
    assert isinstance(JSON, Parser)
    assert isinstance(PACK, Parser)
    assert not JSON.binary
    assert PACK.binary


# --- JSON in ---------------------------------------------------------------------------------------------------------


@given(values)
def test_json_round_trip(value: Any) -> None:
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    encoded = JSON.encode(value)
    assert JSON.decode(encoded) == finite
    assert JSON.decode(encoded.decode()) == finite


long_numbers = st.one_of(
    *(st.floats(-high, high) for high in (1e-5, 0.1, 1, 1e16, 1e17, 1e22)), st.integers(-(10**25), 10**25)
)


@given(st.lists(long_numbers | st.sampled_from(["-1234567890123456", ",0.1234567890123456", ':"1234567890123456'])))
def test_json_with_long_numbers_is_what_doubles_are(values: list[Any]) -> None:
    """A long number changes nothing but itself: neither fractions nor what stands in a string."""
    expected = [value if isinstance(value, str) else float(value) for value in values]
    encoded = JSON.encode(values)
    assert json.loads(encoded, parse_int=float) == expected
    assert json.loads(JSON.encode(["\ud800", *values]), parse_int=float)[1:] == expected


@given(st.binary())
def test_json_from_any_bytes_raises_only_value_errors(data: bytes) -> None:
    try:
        value = JSON.decode(data)
    except ValueError:
        return
    JSON.encode(value)


@given(st.text(alphabet=st.sampled_from('[]{}":,\\ud8dc0019eE+-. \n\x00NaInfity\ud800'), max_size=40))
def test_json_from_any_text_raises_only_value_errors(data: str) -> None:
    try:
        value = JSON.decode(data)
    except ValueError:
        return
    JSON.encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        '["\\ud800", NaN]',
        "[1e999, Infinity]",
        "\ufeff1",
        '"a\nb"',
        '"\x00"',
        '["\\ud800", "\t"]',
        "",
        " ",
        "01",
        "1.",
        "+1",
        ".5",
        "[1,]",
        '{"a":1,}',
        "{a:1}",
        "'a'",
        "[1] x",
        "0x10",
        "\xa01",
        '"\\x41"',
        '"\\ud8zz"',
    ],
)
def test_f11_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JSON.decode(text)
    with pytest.raises(ValueError, match=r".+"):
        JSON.decode(text.encode())


@pytest.mark.parametrize("data", [b'"\xff"', b'"\xed\xa0\x80"', b'["\\ud800", "\xff"]', b'{"\xc0\xae": 1}'])
def test_f11_invalid_utf8_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)utf-8"):
        JSON.decode(data)


def test_f11_the_last_of_equal_keys_wins() -> None:
    assert JSON.decode(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ('"\\ud800"', '"\\ud800"'),
        ('"a\\uDFFFb"', '"a\\udfffb"'),
        ('{"\\ud800":["\\udc00\\ud800"]}', '{"\\ud800":["\\udc00\\ud800"]}'),
        ('["\\ud83d\\ude00","\\ud800"]', '["\U0001f600","\\ud800"]'),
        ('["\\ud800\\u2028"]', '["\\ud800\\u2028"]'),
        ('["\\ud800",12345678901234567890,1e999]', '["\\ud800",12345678901234567000,null]'),
    ],
)
def test_f11_lone_surrogates_come_back_escaped(text: str, back: str) -> None:
    assert JSON.encode(JSON.decode(text)).decode() == back
    assert JSON.encode(JSON.decode(text.encode())).decode() == back


def test_raw_surrogates_in_text_are_read_as_well() -> None:
    assert JSON.decode('["\ud800"]') == ["\ud800"]


def test_a_pair_of_surrogates_leaves_as_one_character() -> None:
    assert JSON.encode("\ud83d\ude00\ud83d") == '"\U0001f600\\ud83d"'.encode()


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("9007199254740991", "9007199254740991"),
        ("9007199254740992", "9007199254740992"),
        ("9007199254740993", "9007199254740992"),
        ("-9007199254740993", "-9007199254740992"),
        ("12345678901234567890", "12345678901234567000"),
        ("-12345678901234567890", "-12345678901234567000"),
        ("100000000000000000000", "100000000000000000000"),
        ("999999999999999999999999", "1e+24"),
        ("1" + "0" * 22, "1e+22"),
        ("1" + "0" * 309, "null"),
        ("1" + "0" * 400, "null"),
        ("9" * 5000, "null"),
        ("1e999", "null"),
        ("-1e999", "null"),
        ("-0", "0"),
        ('{"a":12345678901234567890,"b":1234567890123456}', '{"a":12345678901234567000,"b":1234567890123456}'),
        ('{"12345678901234567890":"12345678901234567890"}', '{"12345678901234567890":"12345678901234567890"}'),
        (
            '{"a:12345678901234567890":"\\",12345678901234567890,",\n "b":-12345678901234567890}',
            '{"a:12345678901234567890":"\\",12345678901234567890,","b":-12345678901234567000}',
        ),
        ("[0.9538232168268004, 1234567890123456.5]", "[0.9538232168268004,1234567890123456.5]"),
    ],
)
def test_f11_numbers_come_back_as_javascript_prints_them(text: str, back: str) -> None:
    assert JSON.encode(JSON.decode(text)).decode() == back
    assert JSON.encode(JSON.decode(text.encode())).decode() == back


def test_integers_are_exact_inside() -> None:
    assert JSON.decode(b"[12345678901234567890]") == [12345678901234567890]


# --- JSON's depth and time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opening", "closing", "levels"),
    [("[", "]", 1), ('{"a":', "}", 1), ('[{"\\"[":', "}]", 2), ('[{"[{\\\\":', "}]", 2)],
)
def test_f11_depth_at_the_limit_and_one_past_it(opening: str, closing: str, levels: int) -> None:
    at = opening * (64 // levels) + "1" + closing * (64 // levels)
    for shift in (str, str.encode):
        assert JSON.decode(shift(at)) is not None
        with pytest.raises(ValueError, match="deeper than 64"):
            JSON.decode(shift(f"[{at}]"))


def test_f11_brackets_in_strings_do_not_count() -> None:
    wide = json.dumps({"a": "[{" * 500, 'b"': ['\\"[[', "]]\\"] * 200, "c\\": [[]] * 100})
    assert JSON.decode(wide) == json.loads(wide)


def test_f11_brackets_in_strings_do_not_hide_depth() -> None:
    opening = '["]",' * 65
    with pytest.raises(ValueError, match="deeper"):
        JSON.decode(opening + "1" + ',"["]' * 65)


def test_the_depth_may_be_chosen() -> None:
    assert JSONParser(max_depth=2).decode(b"[[1]]") == [[1]]
    with pytest.raises(ValueError, match="deeper than 2"):
        JSONParser(max_depth=2).decode(b"[[[]]]")


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b'["\\ud800",' * 100_000, "[" * 100_000])
def test_f11_hundred_thousand_brackets(data: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JSON.decode(data)


def test_f11_no_recursion_error_from_the_slow_path() -> None:
    depth = 50_000
    with pytest.raises(ValueError, match="deeper"):
        JSON.decode(b'["\\ud800",' + b"[" * depth + b"]" * depth + b"]")


@pytest.mark.parametrize("data", [b"9" * 1_000_000, b"-" + b"9" * 5_000, b"0." + b"3" * 1_000_000])
def test_f11_numbers_with_very_many_digits(data: bytes) -> None:
    assert isinstance(JSON.decode(data), float)


def test_f11_many_keys_and_many_nuls() -> None:
    assert len(JSON.decode(json.dumps({f"k{i}": i for i in range(60_000)}))) == 60_000
    assert JSON.decode(b'"' + b"\\u0000" * 160_000 + b'"') == "\0" * 160_000


@pytest.mark.parametrize(
    "part",
    ["[],", '"",', '"\\\\",', '"\\ud800",', "12345678901234567890,", "1e999,", '{"[":"]"},', "9", "[", '\\"', '"'],
)
def test_f12_four_times_the_input_does_not_take_sixteen_times_as_long(part: str) -> None:
    def measure(size: int) -> float:
        """Take the best of a few, without the garbage collector, whose share grows with whatever else is alive."""
        data = ("[" + part * (size // len(part)) + "[]]").encode()
        times = []
        for _ in range(5):
            begin = time.thread_time()
            with contextlib.suppress(ValueError):
                JSON.encode(JSON.decode(data))
            times.append(time.thread_time() - begin)
        return min(times)

    gc.disable()
    try:
        assert measure(400_000) < 10 * measure(100_000) + 0.02
    finally:
        gc.enable()


# --- JSON out --------------------------------------------------------------------------------------------------------


def test_d15_what_is_not_a_number_becomes_null() -> None:
    assert JSON.encode([math.nan, math.inf, -math.inf, "\ud800"]) == b'[null,null,null,"\\ud800"]'
    assert JSON.encode({"a": math.nan, "b": ["NaN", "Infinity"]}) == b'{"a":null,"b":["NaN","Infinity"]}'


def test_line_separators_are_escaped_and_the_rest_is_raw() -> None:
    assert JSON.encode("hello \u2028 wörld \u2029 \u2027").decode() == '"hello \\u2028 wörld \\u2029 \u2027"'


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.datetime


def test_typed_values_go_out_on_both_paths() -> None:
    point = Point(1, datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC))
    name = uuid.UUID(int=1)
    expected = '{"x":1,"when":"2026-01-02T03:04:05Z"},"00000000-0000-0000-0000-000000000001"'
    assert JSON.encode([point, name]).decode() == f"[{expected}]"
    assert JSON.encode([point, name, "\ud800"]).decode() == f'[{expected},"\\ud800"]'


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def surrogate_and_endless() -> list[Any]:
    return ["\ud800", endless()]


@pytest.mark.parametrize("value", [object(), {None: 1}, [1, {2: object()}], ["\ud800", object()]])
def test_d15_what_json_can_not_carry_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        JSON.encode(value)


@pytest.mark.parametrize("value", [endless(), surrogate_and_endless(), [10**5000]])
def test_d15_what_has_no_end_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JSON.encode(value)


# --- against the original --------------------------------------------------------------------------------------------

NODE_CASES = [
    '{"event":"action","params":{"a":[1,2.5,-3.25e-9]},"messageId":12345678901234567890}',
    "12345678901234567890",
    "[9007199254740993,9007199254740994,-9007199254740995,18446744073709551616]",
    "[1e999,-1e999,123456789012345680000,1234567890123456789012,99999999999999999999999999999999]",
    '"\\ud800"',
    '["\\udfff\\ud800","\\ud83d\\ude00",{"\\udc00":1}]',
    '"\u2028 \u2029 wörld \U0001f600"',
    '"\\u0000\\u001f\\b\\f\\n\\r\\t\\/\\\\\\"\x7f"',
    '{"a":1,"a":2}',
    '{"__proto__":1,"constructor":2}',
    " \n\t\r[ 1 , 2 ] \n",
    "NaN",
    "Infinity",
    "-Infinity",
    "\ufeff1",
    '"a\nb"',
    '"a\tb"',
    "01",
    "1.",
    "-",
    "+1",
    "[1,]",
    "",
    "nul",
    "\x0c1",
    "\xa01",
    '"\\x41"',
    '"\\u12g4"',
    "{1:2}",
    "// 1",
    "0." + "3" * 400,
    "9" * 400,
]

NODE_SCRIPT = """
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const output = input.map((text) => {
  try { return JSON.stringify(JSON.parse(text)).replace(/\\u2028/g, '\\\\u2028').replace(/\\u2029/g, '\\\\u2029'); }
  catch (error) { return null; }
});
process.stdout.write(JSON.stringify(output));
"""


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_json_is_as_in_node() -> None:
    cases = json.dumps(NODE_CASES)
    ran = subprocess.run(
        ["node", "-e", NODE_SCRIPT], input=cases, capture_output=True, text=True, check=True, timeout=60
    )
    ours: list[str | None] = []
    for text in NODE_CASES:
        try:
            ours.append(JSON.encode(JSON.decode(text)).decode())
        except ValueError:
            ours.append(None)
    theirs: list[str | None] = json.loads(ran.stdout)
    assert dict(zip(NODE_CASES, ours, strict=True)) == dict(zip(NODE_CASES, theirs, strict=True))


# --- MessagePack -----------------------------------------------------------------------------------------------------


@given(values | st.binary())
def test_messagepack_round_trip(value: Any) -> None:
    assert PACK.decode(PACK.encode(value)) == value


@given(st.binary())
def test_messagepack_from_any_bytes_raises_only_value_errors(data: bytes) -> None:
    try:
        PACK.decode(data)
    except ValueError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x02",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\xd4\x01\x01",
        b"\xc7\x00\x05",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\x91\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x81\xc7\x0c\xff" + b"\x00" * 12 + b"\x01",
        b"\xdd\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff\x01\x01",
        b"\xdb\xff\xff\xff\xffabc",
        b"\x81\x81\x01\x01\x01",
        b"\x91" * 100_000,
        b"\x91" * 100_000 + b"\xc0",
        "text",
    ],
)
def test_d14_what_is_not_messagepack_is_a_value_error(data: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PACK.decode(data)


@pytest.mark.parametrize(
    "at",
    [
        b"\x91" * 64 + b"\xc0",
        b"\x91" * 63 + b"\x90",
        b"\x81\xa1a" * 64 + b"\xc0",
        b"\x81\xa1a" * 63 + b"\x80",
        b"\xdc\x00\x01" * 63 + b"\xde\x00\x00",
        b"\x91" * 62 + b"\x81\x90\xc0",  # an array as a key
    ],
)
def test_d14_depth_at_the_limit_and_one_past_it(at: bytes) -> None:
    assert PACK.decode(at) is not None
    with pytest.raises(ValueError, match="deeper than 64"):
        PACK.decode(b"\x91" + at)


@pytest.mark.parametrize(
    "head", ["d6ff", "d7ff", "c704ff", "c708ff", "c70cff", "c80004ff", "c80008ff", "c8000cff", "c900000004ff",
             "c900000008ff", "c90000000cff"],
)  # fmt: skip
def test_timestamps_are_refused_however_they_begin(head: str) -> None:
    start = bytes.fromhex(head)
    size = 4 if head == "d6ff" else 8 if head == "d7ff" else start[-2]
    for data in (start + bytes(size), b"\x92\xc0" + start + bytes(size), b"\x81\xa1a" + start + bytes(size)):
        with pytest.raises(ValueError, match=r"timestamp|not supported"):
            PACK.decode(data)


def test_bytes_that_look_like_containers_or_timestamps_are_fine() -> None:
    data = [b"\x91\xd7\xff" * 100, "\U0001f600" * 100, -1, {b"\xd6\xff": [True]}]
    assert PACK.decode(PACK.encode(data)) == data


@pytest.mark.parametrize("value", [2**70, "\ud800", endless()])
def test_d15_what_messagepack_can_not_carry_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PACK.encode(value)


def test_d15_an_object_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        PACK.encode(object())
