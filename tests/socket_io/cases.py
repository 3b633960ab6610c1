"""One script of raw packets, valid, odd and malformed, with what must come of each; ours and npm's are held to it.

Where ours differs from npm ``socket.io``, the case says what npm does and why ours does not.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from socket_io.support import CLOSED, Step, answer

__all__ = ["CASES", "Case", "differing"]

_ROOT: Final = '0{"sid":"-"}'
#: npm acts on a disconnect a moment after it was read: this waits for that.
_SEEN: Final[tuple[Step, ...]] = ("0/nobody,", ...)
_SEES: Final = ['4/nobody,{"message":"Invalid namespace"}']
_NOWHERE: Final = '"message":"Invalid namespace"'


class Case(NamedTuple):
    """A script and its outcome.

    Attributes:
        item: of the catalogue.
        steps: packets to send; ``...`` waits for one to come.
        outcome: the packets that come; ``CLOSED`` at the end where the session is.
        npm: what npm socket.io does instead; None: the same.
        why: the reason, as a row of docs/socket-io-differences.md names it.
    """

    item: str
    steps: tuple[Step, ...]
    outcome: list[Any]
    npm: list[Any] | None = None
    why: str = ""

    @property
    def name(self) -> str:
        """Give what distinguishes it, for pytest."""
        sent = [step if isinstance(step, str) else step.hex() for step in self.steps if isinstance(step, str | bytes)]
        text = " ".join(step if len(step) < 60 else f"{step[:50]}…{len(step)}" for step in sent[:4])
        return f"{self.item}: {text.encode('unicode_escape').decode()}"


def _held(number: object = 0, placeholder: object = "true") -> str:
    return f'{{"_placeholder":{placeholder},"num":{number}}}'


def fresh(item: str, *steps: Step, gives: list[Any], **rest: Any) -> Case:
    """A script for a session that is in no namespace."""
    return Case(item, steps, gives, **rest)


def inside(item: str, *steps: Step, gives: list[Any], npm: list[Any] | None = None, why: str = "") -> Case:
    """A script for a client that is in "/"."""
    return Case(item, ("0", ..., *steps), [_ROOT, *gives], None if npm is None else [_ROOT, *npm], why)


_CONNECT = [
    fresh("D1", "0", ..., gives=[_ROOT]),
    fresh("D1", "0{}", ..., gives=[_ROOT]),
    fresh("D1", "0/,", ..., gives=[_ROOT]),
    fresh("D1", "0/", ..., gives=[_ROOT]),
    fresh("D1", "05{}", ..., gives=[_ROOT]),
    fresh("D1", '0{"token":"x"}', ..., '2["auth"]', gives=[_ROOT, '2["auth",{"token":"x"}]']),
    fresh("D1", "0/other,", ..., gives=['0/other,{"sid":"-"}']),
    fresh("D1", "0/other", ..., gives=['0/other,{"sid":"-"}']),
    fresh("D1", "0/other,{}", ..., gives=['0/other,{"sid":"-"}']),
    fresh("D1", "0/admin,", ..., gives=['4/admin,{"message":"not you"}']),
    fresh("D1", '0/admin,{"why":1}', ..., gives=['4/admin,{"message":"not you","data":{"code":7}}']),
    fresh("D1", '0/admin,{"token":"right"}', ..., gives=['0/admin,{"sid":"-"}']),
    fresh("D1", "0/admin,", ..., '0/admin,{"token":"right"}', ...,
          gives=['4/admin,{"message":"not you"}', '0/admin,{"sid":"-"}']),
    fresh("D1", "0/admin,", ..., "0", ..., '2["echo"]', gives=['4/admin,{"message":"not you"}', _ROOT, '2["echo"]']),
    fresh("D1", "0/dynamic-1,", ..., '2/dynamic-1,["echo",1]', ...,
          gives=['0/dynamic-1,{"sid":"-"}', '2/dynamic-1,["echo",1]']),
    fresh("D1", "0/dynamic-x,", ..., gives=[f"4/dynamic-x,{{{_NOWHERE}}}"]),
    inside("D1", "0/other,", ..., '2/other,["echo",1]', '2["echo",2]',
           gives=['0/other,{"sid":"-"}', '2/other,["echo",1]', '2["echo",2]']),
]  # fmt: skip

_EVENTS = [
    inside("D1", '2["echo"]', gives=['2["echo"]']),
    inside("D1", '2["echo","a",1,null,true,1.5,{"a":[1]},"\u20ac \U0001f600 \\u0000"]',
           gives=['2["echo","a",1,null,true,1.5,{"a":[1]},"\u20ac \U0001f600 \\u0000"]']),
    inside("D1", '2[ "echo" , 1 ]', gives=['2["echo",1]']),
    inside("D1", '2["",1]', gives=['2["any","",1]']),
    inside("D1", '20["add",1,2]', gives=["30[3]"]),
    inside("D1", '212["return","x",{}]', gives=['312["x",{}]']),
    inside("D1", '27["nothing"]', gives=["37[]"]),
    inside("D1", '27["return",null]', gives=["37[null]"]),
    inside("D1", '21["two"]', gives=["31[1,2]"]),
    inside("D1", '25["what",1]', gives=['2["any","what",1]', "35[]"]),
    inside("D1", '29007199254740991["nothing"]', gives=["39007199254740991[]"]),
    inside("D1", '25["nothing"]', '25["nothing"]', gives=["35[]", "35[]"]),
    inside("D1", "0/other,", ..., '2/other,3["add",1,2]', ..., gives=['0/other,{"sid":"-"}', "3/other,3[3]"]),
    inside("D1", '2["ask"]', ..., answer("3#[42]"), ..., gives=['2#["question",6,7]', '2["answered",42]']),
    inside("D1", '2["ask"]', ..., answer("3#[]"), ..., gives=['2#["question",6,7]', '2["answered"]']),
    inside("D1", '2["ask"]', ..., answer('3#["a","b"]'), ..., gives=['2#["question",6,7]', '2["answered","a","b"]']),
    inside("D1", "0/other,", ..., '2/other,["ask"]', ..., answer("3/other,#[1]"), ...,
           gives=['0/other,{"sid":"-"}', '2/other,#["question",6,7]', '2/other,["answered",1]']),
]  # fmt: skip

_BINARY = [
    inside("D1", f'51-["echo",{_held()}]', b"\1\2", gives=[f'51-["echo",{_held()}]', b"\1\2"]),
    inside("D1", f'51-["echo",{_held()}]', b"", gives=[f'51-["echo",{_held()}]', b""]),
    inside("D1", f'52-["echo",{{"a":[{_held()}]}},[[{_held(1)}]]]', b"\1", b"\2",
           gives=[f'52-["echo",{{"a":[{_held()}]}},[[{_held(1)}]]]', b"\1", b"\2"]),
    inside("D1", f'52-["echo",{_held(1)},{_held(0)}]', b"\1", b"\2",
           gives=[f'52-["echo",{_held()},{_held(1)}]', b"\2", b"\1"]),
    inside("D1", f'51-9["return",{_held()}]', b"x", gives=[f"61-9[{_held()}]", b"x"]),
    inside("D1", '28["bytes"]', gives=[f"61-8[{_held()}]", b"\1\2\3"]),
    inside("D1", '2["blobs"]', gives=[f'52-["blobs",{_held()},{{"deep":[{_held(1)}]}}]', b"\1", b"\2"]),
    inside("D1", '2["ask"]', ..., answer(f"61-#[{_held()}]"), b"\7", ..., ...,
           gives=['2#["question",6,7]', f'51-["answered",{_held()}]', b"\7"]),
    inside("D1", "0/other,", ..., f'51-/other,["echo",{_held()}]', b"\1", ..., ...,
           gives=['0/other,{"sid":"-"}', f'51-/other,["echo",{_held()}]', b"\1"]),
    inside("D1", '51-["echo",{"_placeholder":true,"num":0,"more":1}]', b"\1",
           gives=[f'51-["echo",{_held()}]', b"\1"]),
]  # fmt: skip

_DISCONNECT = [
    inside("D1", "1", gives=[]),
    inside("D1", "1", *_SEEN, "0", ..., gives=[*_SEES, _ROOT]),
    inside("D1", "15", gives=[]),
    inside("D1", "0/other,", ..., "1/other,", '2["echo",1]', gives=['0/other,{"sid":"-"}', '2["echo",1]']),
    inside("D1", "1", *_SEEN, '2["echo"]', gives=[*_SEES, CLOSED]),
    inside("D1", "1", *_SEEN, "1", gives=[*_SEES, CLOSED]),
    inside("D1", '2["leave"]', ..., gives=["1"]),
    inside("D1", '2["leave"]', ..., "0", ..., '2["echo"]', gives=["1", _ROOT, '2["echo"]']),
    inside("D1", '2["leave"]', ..., '2["echo"]', gives=["1", CLOSED]),
]

_OUT_OF_STATE = [
    fresh("D2", '2["echo"]', gives=[CLOSED]),
    fresh("D2", "30[]", gives=[CLOSED]),
    fresh("D2", f'51-["echo",{_held()}]', b"\1", gives=[CLOSED]),
    fresh("D2", f"61-0[{_held()}]", b"\1", gives=[CLOSED]),
    fresh("D2", "1", gives=[CLOSED]),
    fresh("D2", '4{"message":"x"}', gives=[CLOSED]),
    inside("D2", "0", gives=[CLOSED]),
    inside("D2", "0{}", gives=[CLOSED]),
    inside("D2", '2/other,["echo"]', gives=[CLOSED]),
    inside("D2", "1/other,", gives=[CLOSED]),
    inside("D2", "3/other,1[]", gives=[CLOSED]),
    fresh("D2", "0/other,", ..., "0/other,", gives=['0/other,{"sid":"-"}', CLOSED]),
]

_NAMES = [
    inside("D3", "2", gives=[CLOSED], npm=[], why="event without a name"),
    inside("D3", "21", gives=[CLOSED], npm=[], why="event without a name"),
    *(inside("D3", packet, gives=[CLOSED]) for packet in (
        "2{}", "2[]", "2[null]", "2[true]", '2[{"toString":"x"}]', '2[["a"]]', '2"x"', '2["a"', '2["a"]]',
        "2[NaN]", "2[Infinity]", "2true", "2null", "2['a']", '2["a",]', '2["a\tb"]', '2["\\ud800', '2["echo"]\x00',
    )),
    inside("D3", "2[1]", gives=['2["any","1"]']),
    inside("D3", "2[1.0,2]", gives=['2["any","1",2]']),
    inside("D3", "2[-7.5]", gives=['2["any","-7.5"]']),
]  # fmt: skip

_RESERVED = [
    *(inside("D4", f'2["{name}","x"]', gives=[CLOSED])
      for name in ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")),
    inside("D4", '2["__disconnect_final"]', gives=[CLOSED], npm=['2["any","__disconnect_final"]'],
           why="`__disconnect_final`"),
    inside("D4", '21["disconnect"]', gives=[CLOSED]),
    inside("D4", '2["\\u0063onnect"]', gives=[CLOSED]),
    inside("D4", f'51-["connect",{_held()}]', b"\1", gives=[CLOSED]),
    fresh("D4", "0/other,", ..., '2/other,["disconnect"]', gives=['0/other,{"sid":"-"}', CLOSED]),
    inside("D4", '2["error"]', '2["connection"]', '2["Connect"]', '2["connect "]',
           gives=['2["any","error"]', '2["any","connection"]', '2["any","Connect"]', '2["any","connect "]']),
]  # fmt: skip

_TEN = ",".join(_held(number) for number in range(10))
_ATTACHMENTS = [
    *(inside("D5", packet, gives=[CLOSED]) for packet in (
        f'59999999999-["echo",{_held()}]', f'511-["echo",{_TEN},{_held(10)}]', '5-["echo"]', '5["echo"]', "5", "6",
        "51", '51["echo"]', '5-1-["echo"]', '5x-["echo"]', f'61-["echo",{_held()}', "51-",
    )),
    inside("D5", f'510-["echo",{_TEN}]', *(bytes([number]) for number in range(10)),
           gives=[f'510-["echo",{_TEN}]', *(bytes([number]) for number in range(10))]),
    inside("D5", f'51-["echo",{_held()}]', gives=[CLOSED]),
    inside("D5", f'51-["echo",{_held()}]', '2["echo"]', gives=[CLOSED]),
    inside("D5", f'52-["echo",{_held()},{_held(1)}]', b"\1", '2["echo"]', gives=[CLOSED]),
    inside("D5", f'51-["echo",{_held()}]', f'51-["echo",{_held()}]', gives=[CLOSED]),
    inside("D5", b"\1", gives=[CLOSED]),
    fresh("D5", b"\1", gives=[CLOSED]),
    inside("D5", f'51-["echo",{_held()}]', b"\1", ..., ..., b"\2", gives=[f'51-["echo",{_held()}]', b"\1", CLOSED]),
    inside("D6", '50-["echo",1]', gives=[CLOSED]),
    inside("D6", "60-1[]", gives=[CLOSED]),
]  # fmt: skip

_FIRST = [f'51-["echo",{_held()}]', b"\1"]
_PLACEHOLDERS = [
    *(inside("D7", f'51-["echo",{held}]', b"\1", gives=[CLOSED]) for held in (
        _held(-1), _held(1), _held("1e9"), _held('"0"'), _held("true"), _held("null"), _held("[]"),
        '{"_placeholder":true}',
    )),
    inside("D7", f'51-["echo",{_held("0.0")}]', b"\1", gives=[CLOSED], npm=_FIRST, why="placeholders"),
    inside("D7", f'51-["echo",{_held("0.5")}]', b"\1", gives=[CLOSED], npm=['2["echo",null]'], why="placeholders"),
    inside("D7", f'51-["echo",{_held()},{_held()}]', b"\1", gives=[CLOSED],
           npm=[f'52-["echo",{_held()},{_held(1)}]', b"\1", b"\1"], why="placeholders"),
    inside("D7", '51-["echo",1]', b"\1", gives=[CLOSED], npm=['2["echo",1]'], why="placeholders"),
    inside("D7", f'51-["echo",{_held(0, 1)}]', b"\1", gives=[CLOSED], npm=[f'2["echo",{_held(0, 1)}]'],
           why="placeholders"),
    inside("D7", f'51-["echo",{"[" * 65}{_held()}{"]" * 65}]', b"\1", gives=[CLOSED],
           npm=[f'51-["echo",{"[" * 65}{_held()}{"]" * 65}]', b"\1"], why="nesting"),
    inside("D7", f'2["echo",{_held()}]', gives=[f'2["echo",{_held()}]']),
    inside("D7", f"51-[{_held()}]", b"echo", gives=[CLOSED]),
]  # fmt: skip

_ACKS = [
    *(inside("D8", packet, gives=[]) for packet in ("30[]", '3999["x"]', "3[]", "39007199254740991[]")),
    *(inside("D8", packet, gives=[CLOSED]) for packet in (
        "3-1[]", "31e30[]", "3\u0663[]", "31{}", '31"x"', "31null", "31.0[]", "3+1[]",
    )),
    inside("D8", "3", gives=[CLOSED], npm=[], why="ack without a list"),
    inside("D8", "31", gives=[CLOSED], npm=[], why="ack without a list"),
    inside("D8", "399999999999999999999[]", gives=[CLOSED], npm=[], why="long ids"),
    inside("D8", '2["ask"]', ..., "3999[1]", answer("3#[2]"), ..., gives=['2#["question",6,7]', '2["answered",2]']),
    inside("D8", '2["ask"]', ..., answer("3#[1]"), answer("3#[2]"), ..., '2["echo",3]',
           gives=['2#["question",6,7]', '2["answered",1]', '2["echo",3]']),
]  # fmt: skip

_LONG = "/" + "x" * 299
_NAMESPACES = [
    *(fresh("D9", f"0{name},", ..., gives=[f"4{name},{{{_NOWHERE}}}"]) for name in (
        _LONG, "/ns?x=1", "/a\r\nb", "/a\0b", "//", "/a b", "/\u20ac", "/other/", "/Other", "/../other", "/a[",
        "/other?",
    )),
    fresh("D9", "0/ns?x=1", ..., gives=[f"4/ns?x=1,{{{_NOWHERE}}}"]),
    fresh("D9", "0/other\n", ..., gives=[f"4/other\n,{{{_NOWHERE}}}"]),
    fresh("D9", '0/a,b,{"x":1}', gives=[CLOSED]),
    fresh("D9", "0other,", gives=[CLOSED]),
    fresh("D9", *[step for number in range(17) for step in (f"0/dynamic-{number},", ...)],
          gives=[*[f'0/dynamic-{number},{{"sid":"-"}}' for number in range(16)], CLOSED],
          npm=[f'0/dynamic-{number},{{"sid":"-"}}' for number in range(17)], why="namespaces of one client"),
]  # fmt: skip

_TYPES = [
    *(inside("D10", packet, gives=[CLOSED]) for packet in (
        "7", "8", "9", "7[]", "-", "x", '21-["echo"]', '3-1["x"]', "0[1]", "1[1]", "1{}", '4"x"', '4{"message":"x"}',
        "4", "0null", '0"x"', "0true", " ", ' 2["echo"]', '\u0662["echo"]', '\uff12["echo"]', '\ufeff2["echo"]', "null",
        "undefined", '2-["echo"]', "0{", '02[1]', '2/other["echo"]',
    )),
    fresh("D10", "0[1]", gives=[CLOSED]),
    fresh("D10", "", gives=[CLOSED]),
    inside("D10", "", gives=[CLOSED]),
    inside("D10", '2 ["echo",1]', gives=[CLOSED], npm=['2["echo",1]', "30[]"], why="blanks"),
    fresh("D10", "0\n", ..., gives=[CLOSED], npm=[_ROOT], why="blanks"),
]  # fmt: skip

CASES: Final = [
    *_CONNECT, *_EVENTS, *_BINARY, *_DISCONNECT, *_OUT_OF_STATE, *_NAMES, *_RESERVED, *_ATTACHMENTS, *_PLACEHOLDERS,
    *_ACKS, *_NAMESPACES, *_TYPES,
]  # fmt: skip


def differing() -> list[Case]:
    """Give the cases in which npm does something else."""
    return [case for case in CASES if case.npm is not None]


ITEMS: Final = sorted({case.item for case in CASES}, key=lambda item: int(item[1:]))
