"""The generated client's declarations: TypeScript takes what is right, and nothing else."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import subprocess
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import msgspec
import pytest

from ahtransport import ActionServer, Param
from ahtransport.client._types import declarations
from ahtransport.client._typescript import type_of
from ahtransport.demo import add_default_actions
from clients.harness import HERE, NODE, node_marks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TSC = HERE / "node_modules" / "typescript" / "bin" / "tsc"
METHODS = HERE / "types" / "methods.ts"
CLASS = "ActionheroWebsocketClient"


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., str]:
    """Compile files, given by their names and texts, as strictly as can be; what the compiler has to say."""

    def run(files: dict[str, str], *options: str) -> str:
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        assert NODE is not None
        strict = ("--strict", "--noEmit", "--pretty", "false", "--skipDefaultLibCheck")
        target = ("--target", "es2020", "--lib", "es2020,dom")
        command = [NODE, str(TSC), *strict, *target, *options, *files]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert result.stderr == ""
        assert (result.returncode == 0) == (result.stdout == "")
        return result.stdout

    return run


@pytest.fixture
def server() -> ActionServer:
    server = ActionServer(port=0)
    add_default_actions(server)
    return server


def script_types(server: ActionServer, name: str = CLASS) -> str:
    return declarations(name, server.client_actions())


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Pet(msgspec.Struct):
    name: str
    age: int = 0


class Answer(msgspec.Struct, rename="camel"):
    its_name: str
    pets: list[Pet]


class TestWithCompiler:
    pytestmark = node_marks

    def test_everything_in_a_page(self, check: Callable[..., str], server: ActionServer) -> None:
        files = {"Client.d.ts": script_types(server), "methods.ts": METHODS.read_text(encoding="utf-8")}
        assert check(files) == ""

    def test_the_name_of_the_file_is_a_name_of_the_class(self, check: Callable[..., str], server: ActionServer) -> None:
        use = "const client: Chat = new Chat(); const same: ActionheroWebsocketClient = client;\n"
        assert check({"Chat.d.ts": script_types(server, "Chat"), "use.ts": use}) == ""

    def test_require(self, check: Callable[..., str], server: ActionServer) -> None:
        use = f"""\
            import Client = require('./{CLASS}');
            const {{ Primus, ActionheroWebsocketClient }} = Client;
            const client: Client = new ActionheroWebsocketClient({{}}, new Primus('https://example.com'));
            const other: Client = new Client.default();
            const type: Client.Details | null = client.details;
            const actions: Client.Actions['cacheTest']['params'] = {{ key: 'a', value: 'b' }};
            """
        assert check({f"{CLASS}.d.ts": script_types(server), "use.cts": use}, "--module", "node16") == ""

    def test_module(self, check: Callable[..., str], server: ActionServer) -> None:
        use = f"""\
            import Client, {{ ActionheroWebsocketClient, Primus, Chat }} from './Chat.mjs';
            import type {{ Details, CallError, SayMessage, Actions }} from './Chat.mjs';
            const client: Client = new Chat({{}}, Primus.connect('https://example.com'));
            const same: {CLASS} = client;
            const type: Details | null = client.details;
            client.action('cacheTest', {{ key: 'a', value: 'b' }}).catch((error: CallError) => error.code);
            """
        types = declarations("Chat", server.client_actions(), module=True)
        assert check({"Chat.d.mts": types, "use.mts": use}, "--module", "node16") == ""

    def test_mistakes(self, check: Callable[..., str], server: ActionServer) -> None:
        """Each line is one; none of them compiles."""
        mistakes = """\
            client.action('cacheTest', { key: 1 });
            client.action('cacheTest', { key: 1, value: 'b' });
            client.action('cacheTest', { key: 'a' });
            client.action('cacheTest');
            client.action('cacheTest', { key: 'a', value: 'b', extra: 1 });
            client.action('cacheTest', { key: 1, value: 'b' }, (response: any) => {});
            client.action('cacheTest', (response: any) => {});
            client.action('randomNumber', { extra: 1 });
            client.action('sleepTest', { sleepDuration: 'long' });
            client.action(5);
            client.actionWeb({ key: 'a' });
            client.say('room');
            client.roomAdd(5);
            client.file();
            client.send({ room: 'a' });
            client.on('say', (message: number) => {});
            client.on('connected', (detail: string) => {});
            client.on('transport', (name: 'pigeon') => {});
            client.on('connected');
            client.emit('stale', 5, 6);
            client.connect(5);
            client.connect((error, details) => details.data.id);
            client.state = 'connected';
            const wrong: 'open' = client.state;
            client.roomView('a').then(({ data }) => data.nothing);
            client.file('a', (file) => { const text: string = file.content; const n: number = file.error; });
            client.nothing();
            new ActionheroWebsocketClient({ url: 5 });
            new ActionheroWebsocketClient({ reconnect: { often: true } });
            new ActionheroWebsocketClient({}, {});
            new Primus('https://example.com').on('reconnect', (attempt: string) => {});
            new Primus('https://example.com').transform('sideways', () => {});
            new Primus(5);
            """
        lines = [line.strip() for line in mistakes.strip().splitlines()]
        use = "\n".join((f"const client = new {CLASS}();", *lines, ""))
        said = check({"Client.d.ts": script_types(server), "mistakes.ts": use})
        numbers = {int(line.partition("(")[2].partition(",")[0]) for line in said.splitlines() if line[0] != " "}
        assert [line for number, line in enumerate(lines, 2) if number not in numbers] == []
        assert 1 not in numbers

    def test_types_of_parameters(self, check: Callable[..., str]) -> None:
        server = ActionServer(port=0)

        def either(value: str | int) -> str:
            return str(value)

        @server.action
        def everything(
            *,
            text: str,
            whole: int,
            number: float,
            flag: bool,
            texts: list[str],
            table: dict[str, int],
            mode: Literal["fast", "slow", 3],
            color: Color,
            pet: Pet,
            anything: Any,
            pair: tuple[int, str],
            made: Annotated[str, Param(formatter=either)],
            maybe: Optional[str] = None,  # noqa: UP045 - as people write it
            some: Annotated[int, msgspec.Meta(ge=1), Param(description="how many")] = 5,
        ) -> Answer:
            return Answer("", [])

        @server.action(version=1, name="two")
        def first(*, old: str) -> None: ...

        @server.action(version=2, name="two")
        def second(*, new: int) -> None: ...

        values = {
            "text": "'a'",
            "whole": "1",
            "number": "1.5",
            "flag": "true",
            "texts": "['a']",
            "table": "{ a: 1 }",
            "mode": "3",
            "color": "'red'",
            "pet": "{ name: 'a' }",
            "anything": "[null]",
            "pair": "[1, 'a']",
            "made": "7",
        }

        def call(**changed: str) -> str:
            given = ", ".join(f"{name}: {value}" for name, value in {**values, **changed}.items())
            use = "const text: string = r.itsName + r.pets[0].name;"
            return f"client.action('everything', {{ {given} }}).then((r) => {{ {use} }});"

        good = [
            call(),
            call(maybe="null", some="2", made="'a'"),
            "client.action('two', { new: 1 });",
            "client.action('two', { new: 1, apiVersion: '2' });",
            "client.action('two', { old: 'a', apiVersion: 1 });",
        ]
        bad = [
            *(call(**{name: "Symbol()"}) for name in values if name != "anything"),
            call(mode="'other'"),
            call(color="'green'"),
            call(pet="{ age: 1 }"),
            call(texts="[1]"),
            call(table="{ a: 'b' }"),
            call(pair="[1]"),
            call(maybe="1"),
            call(some="'2'"),
            "client.action('two', { old: 'a' });",
            "client.action('two', { new: 1, apiVersion: 1 });",
            "client.action('everything', {});",
        ]
        head = f"const client = new {CLASS}();"
        types = script_types(server)
        assert check({"Client.d.ts": types, "good.ts": "\n".join((head, *good))}) == ""
        said = check({"Client.d.ts": types, "bad.ts": "\n".join((head, *bad))})
        numbers = {int(line.partition("(")[2].partition(",")[0]) for line in said.splitlines() if line[0] != " "}
        assert numbers == set(range(2, len(bad) + 2))

    def test_names_and_descriptions_are_data(self, check: Callable[..., str]) -> None:
        server = ActionServer(port=0)
        nasty = "*/ declare const evil: 1; /* ` ${evil} \u2028 \x00 \r\n * </script> \ud800 //"
        names = ["a-b", "'", '"', "*/", "a\nb", "\u2028", "__proto__", "constructor", "7", "ünï", "${x}"]
        for name in names:
            decorate = server.action(name=name, description=nasty)

            @decorate
            def action(
                *,
                default: Annotated[str, Param(description=nasty)] = nasty,
                mode: Literal["*/ '", '"'] = '"',
            ) -> None: ...

        calls = [f"client.action({json.dumps(name)}, {{ mode: '\"' }});" for name in names]
        good = "\n".join((f"const client = new {CLASS}();", *calls, "declare const evil: 2;"))
        types = script_types(server)
        assert check({"Client.d.ts": types, "good.ts": good}) == ""
        bad = "\n".join((f"const client = new {CLASS}();", *(call.replace("'\"'", "1") for call in calls)))
        said = check({"Client.d.ts": types, "bad.ts": bad})
        assert len([line for line in said.splitlines() if line[0] != " "]) == len(names)


def test_a_server_without_actions() -> None:
    assert "interface Actions {\n}" in declarations(CLASS)


def test_what_is_not_documented_is_not_told(server: ActionServer) -> None:
    @server.action(documented=False)
    def hiddenAction(*, secret: str) -> None: ...

    for module in (False, True):
        text = declarations(CLASS, server.client_actions(), module=module)
        assert "hiddenAction" not in text
        assert "secret" not in text
        assert "cacheTest" in text


def test_a_name_that_is_taken_is_not_declared_twice() -> None:
    for name in (CLASS, "Primus", "EventEmitter", "Details", "class", "undefined"):
        assert declarations(name).count("export as namespace") == 1
        assert f" as {name}" not in declarations(name, module=True)


def test_what_a_parameter_says_of_itself() -> None:
    server = ActionServer(port=0)

    @server.action
    def act(
        *,
        count: Annotated[int, Param(description="how many\nof them")] = 3,
        word: str = "tea",
        empty: str = "",
        when: Optional[float] = None,  # noqa: UP045
    ) -> None:
        """Act.

        In two paragraphs.
        """

    text = script_types(server)
    assert "  /**\n   * Act.\n   *\n   * In two paragraphs.\n   */\n  act: {" in text
    assert "       * how many\n       * of them\n       * Default: 3\n       */\n      count?: number;" in text
    assert "      /** Default: tea */\n      word?: string;" in text
    assert '      /** Default: "" */\n      empty?: string;' in text
    assert "\n      when?: number | null;" in text


def test_what_formatters_and_results_say() -> None:
    """A formatter's parameter tells what may be given; where it tells nothing, the parameter's own type does."""
    server = ActionServer(port=0)

    def numbers(value: list[int]) -> str:
        return str(value)

    def anything(value: Any) -> str:
        return str(value)

    def nothing() -> str:
        return ""

    @server.action
    def act(
        *,
        a: Annotated[str, Param(formatter=numbers)],
        b: Annotated[str, Param(formatter=anything)],
        c: Annotated[str, Param(formatter=lambda value: value)],
        d: Annotated[str, Param(formatter=nothing)],
        e: Annotated[str, Param(formatter=[str.strip, numbers])],
        f: Annotated[complex, Param(formatter=complex)],
    ) -> 3: ...  # type: ignore[valid-type]

    server.action(name="other")(lambda: None)
    text = script_types(server)
    types = ["Array<number>", "string", "string", "string", "string", "unknown"]
    for name, written in zip("abcdef", types, strict=True):
        assert f"      {name}: {written};\n" in text
    assert text.count("result: { [name: string]: any };") == 2


class Node(msgspec.Struct):
    children: list[Node] = []


class Circle(msgspec.Struct, tag="circle", tag_field="kind"):
    radius: float


class Point(msgspec.Struct, array_like=True):
    x: float
    y: float = 0.0


class Tagged(msgspec.Struct, array_like=True, tag=True):
    x: int


@dataclasses.dataclass
class Size:
    width: int
    odd_name: str = ""


class Person(TypedDict, total=False):
    name: str


class Pair(NamedTuple):
    left: int
    right: str = ""


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Strange(enum.Enum):
    A = (1, 2)


@pytest.mark.parametrize(
    ("hint", "written"),
    [
        (Any, "unknown"),
        (None, "null"),
        (str, "string"),
        (int, "number"),
        (float | None, "number | null"),
        (int | float | str, "number | string"),
        (bool, "boolean"),
        (bytes, "string"),
        (datetime.datetime, "string"),
        (uuid.UUID, "string"),
        (decimal.Decimal, "string | number"),
        (list[str], "Array<string>"),
        (list, "Array<unknown>"),
        (set[int | None], "Array<number | null>"),
        (tuple[int, ...], "Array<number>"),
        (tuple[int, str], "[number, string]"),
        (dict[str, list[int]], "{ [key: string]: Array<number> }"),
        (Literal["a", 1, None], '1 | "a" | null'),
        (Level, "1 | 2"),
        (Strange, "unknown"),
        (Annotated[str, msgspec.Meta(min_length=1)], "string"),
        (Annotated[str, msgspec.Meta(title="a", extra={"b": 1})], "string"),
        (Node, "{ children?: Array<unknown> }"),
        (Circle, '{ kind: "circle"; radius: number }'),
        (Point, "[x: number, y?: number]"),
        (Tagged, '[tag: "Tagged", x: number]'),
        (Size, "{ width: number; odd_name?: string }"),
        (Person, "{ name?: string }"),
        (Pair, "[left: number, right?: string]"),
        (object, "unknown"),
        (msgspec.Raw, "unknown"),
        ("a name that is not there", "unknown"),
    ],
)
def test_python_types(hint: Any, written: str) -> None:
    assert sorted(type_of(hint).split(" | ")) == sorted(written.split(" | "))
