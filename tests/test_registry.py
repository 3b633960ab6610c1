"""Transformers and parsers: entry points of real distributions in a directory on the path, strings, classes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from ahtransport._errors import ConfigError, UnknownTransformer
from ahtransport._registry import (
    TRANSFORMERS,
    Installed,
    installed_parsers,
    installed_transformers,
    load_object,
    load_parser,
    load_transformer,
)

if TYPE_CHECKING:
    from pathlib import Path

TRANSFORMER = """
class {name}:
    name = "{wire}"
    default_pathname = None
    def __init__(self, core, options): ...
    async def handle_request(self, request): ...
    async def handle_upgrade(self, request, socket): ...
    def encode(self, packet, wire): ...
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution: its entry points, its requirements, its modules (which are forgotten afterwards)."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(dist: str, points: str, requires: tuple[str, ...] = (), **modules: str) -> None:
        info = tmp_path / f"{dist.replace('-', '_')}-2.5.dist-info"
        info.mkdir()
        lines = [f"Name: {dist}", "Version: 2.5", *(f"Requires-Dist: {one}" for one in requires)]
        (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(points)
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)

    return make


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def point(value: str, name: str = "carrier", group: str = TRANSFORMERS) -> str:
    return f"[{group}]\n{name} = {value}\n"


class Codec:
    """A parser."""

    def encode(self, value: Any) -> str:
        return str(value)

    def decode(self, data: str | bytes) -> Any:
        return data


class Carrier:
    """Looks like a transformer."""

    name = "mine"
    default_pathname = None

    async def handle_request(self, request: Any) -> Any: ...

    async def handle_upgrade(self, request: Any, socket: Any) -> Any: ...

    def encode(self, packet: Any, wire: str) -> Any: ...


# --- transformers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["websockets", "WebSockets", "ws", "WS", "websocket", "faye", "uws", "web-sockets"])
def test_the_websocket_transformer_has_many_names(name: str) -> None:
    found = load_transformer(name)
    assert found.name == "websockets"
    (own,) = [entry for entry in entry_points(group=TRANSFORMERS) if entry.name == "websockets"]
    assert found is own.load()


@pytest.mark.parametrize(
    ("installed", "asked"),
    [("carrier", "CARRIER"), ("engine.io", "engineio"), ("engine.io", "Engine.IO"), ("socket.io", "socketio")],
)
def test_a_third_partys_transformer_is_found_without_case(install: Install, installed: str, asked: str) -> None:
    install("fake-x", point("fake_a:T", f"{installed}x"), fake_a=TRANSFORMER.format(name="T", wire="w"))
    assert load_transformer(f"{asked}x").name == "w"


def test_a_name_of_its_own_beats_an_alias(install: Install) -> None:
    install("fake-uws", point("fake_a:T", "uws"), fake_a=TRANSFORMER.format(name="T", wire="w"))
    assert load_transformer("uws").name == "w"
    assert load_transformer("ws").name == "websockets"


def test_by_module_and_class(install: Install) -> None:
    install("fake-x", "", fake_a=TRANSFORMER.format(name="T", wire="w"))
    assert load_transformer("fake_a:T").name == "w"
    found: type = load_transformer(Carrier)
    assert found is Carrier


def test_unknown_names_say_which_are_installed_and_what_was_meant() -> None:
    with pytest.raises(UnknownTransformer) as info:
        load_transformer("websokets")
    assert info.value.name == "websokets"
    assert "websockets" in info.value.installed
    assert str(info.value).startswith("unknown transformer 'websokets'; installed are: ")
    assert str(info.value).endswith("did you mean 'websockets'?")
    with pytest.raises(UnknownTransformer) as info:
        load_transformer("zzzzz")
    assert "mean" not in str(info.value)


@pytest.mark.parametrize("name", ["sockjs", "SockJS", "browserchannel"])
def test_names_that_primus_knows_but_nobody_supplies(name: str) -> None:
    with pytest.raises(
        UnknownTransformer, match=f"Primus has a transformer '{name.lower()}', but no installed package"
    ):
        load_transformer(name)


def test_a_missing_dependency_says_what_to_install(install: Install) -> None:
    requires = ("trio>=0.2", "python-fake_dep (>=2)", 'pyother; extra == "x"')
    install("fake-x", point("fake_a:T"), requires, fake_a="import fake_dep.codec\n")
    with pytest.raises(UnknownTransformer) as info:
        load_transformer("carrier")
    assert info.value.package == "python-fake_dep"
    assert "carrier" not in info.value.installed
    assert "to add it: python -m pip install python-fake_dep" in str(info.value)
    assert "fake_a:T needs the module 'fake_dep', which is not installed" in str(info.value)


@pytest.mark.parametrize(
    ("entry", "requires", "source", "package", "text"),
    [
        ("fake_a:T [io]", (), "import fake_dep\n", '"fake-x[io]"', "needs the module 'fake_dep'"),
        ("fake_a:T", ("x-fake-dep-y",), "import fake_dep\n", "x-fake-dep-y", "needs the module 'fake_dep'"),
        ("fake_a:T", (), "import fake_dep\n", "fake_dep", "needs the module 'fake_dep'"),
        ("fake_none:T", (), "", None, "fake_none:T of fake-x is not there"),
        ("fake_a:T", (), "1 / 0\n", None, "fake_a:T of fake-x fails to import: ZeroDivisionError"),
        ("fake_a:T", (), "", None, "fake_a:T of fake-x fails to import: AttributeError"),
        ("fake_a:T", (), "raise ModuleNotFoundError('odd')\n", None, "fails to import: ModuleNotFoundError: odd"),
    ],
)
def test_entry_points_that_can_not_be_loaded(
    install: Install, entry: str, requires: tuple[str, ...], source: str, package: str | None, text: str
) -> None:
    install("fake-x", point(entry), requires, fake_a=source)
    with pytest.raises(UnknownTransformer) as info:
        load_transformer("carrier")
    assert info.value.package == package
    assert text in str(info.value)
    (listed,) = [one for one in installed_transformers() if one.name == "carrier"]
    assert text in listed.error
    assert (f"python -m pip install {package}" in listed.error) == (package is not None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("T = 5\n", "expected a class, not int"),
        ("class T:\n    name = 'x'\n", "no handle_request and no handle_upgrade and no encode"),
        (TRANSFORMER.format(name="T", wire="w").replace("name =", "title ="), "it has no name"),
    ],
)
def test_what_is_not_a_transformer_is_refused(install: Install, source: str, text: str) -> None:
    install("fake-x", point("fake_a:T"), fake_a=source)
    for choice in ("carrier", "fake_a:T"):
        with pytest.raises(ConfigError, match="is not a transformer") as info:
            load_transformer(choice)
        assert text in str(info.value)


def test_a_class_that_is_not_a_transformer_is_refused() -> None:
    with pytest.raises(ConfigError, match="Codec'> is not a transformer: it has no name and no handle_request"):
        load_transformer(Codec)


def test_a_string_that_names_nothing(install: Install) -> None:
    install("fake-x", "", fake_a="class Thing: ...\n")
    with pytest.raises(UnknownTransformer, match="can't import fake_none: ModuleNotFoundError"):
        load_transformer("fake_none:T")
    with pytest.raises(UnknownTransformer, match="fake_a has no 'Thin'; did you mean 'Thing'"):
        load_transformer("fake_a:Thin")


def test_one_name_from_two_packages_has_to_be_spelled_out(install: Install) -> None:
    source = TRANSFORMER.format(name="T", wire="w")
    install("fake-x", point("fake_a:T"), fake_a=source)
    install("fake-y", point("fake_b:T"), fake_b=source)
    with pytest.raises(ConfigError, match='"fake_a:T" of fake-x and "fake_b:T" of fake-y'):
        load_transformer("carrier")


def test_the_list_says_where_each_comes_from(install: Install) -> None:
    source = TRANSFORMER.format(name="T", wire="w")
    install("fake-x", point("fake_a:T"), fake_a=source)
    listed = {one.name: one for one in installed_transformers()}
    assert listed["carrier"] == Installed("carrier", "fake-x", "2.5", "fake_a:T")
    own = listed["websockets"]
    assert (own.distribution, own.error) == ("ahtransport", "")
    assert set(own.aliases) == {"ws", "websocket", "faye", "uws"}
    install("fake-y", point("fake_b:T", "broken"), fake_b="T = 5")
    assert "is not a transformer" in {one.name: one.error for one in installed_transformers()}["broken"]


# --- parsers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JSON", "json", "binary", "msgpack", "MsgPack"])
def test_the_projects_own_parsers(name: str) -> None:
    parser = load_parser(name)
    assert parser.decode(parser.encode({"a": [1, "ü"]})) == {"a": [1, "ü"]}


def test_parsers_by_string_class_and_object(install: Install) -> None:
    install(
        "fake-x",
        point("fake_a:codec", "odd", "ahtransport.parsers"),
        fake_a="class C:\n  encode = decode = str\ncodec = C()\n",
    )
    assert load_parser("ODD") is sys.modules["fake_a"].codec
    assert type(load_parser("fake_a:C")).__name__ == "C"
    assert isinstance(load_parser(Codec), Codec)
    codec = Codec()
    assert load_parser(codec) is codec
    assert "odd" in [one.name for one in installed_parsers()]


def test_parsers_that_are_none(install: Install) -> None:
    with pytest.raises(ConfigError, match=r"unknown parser 'jsno'; installed are: .*JSON.*; did you mean 'JSON'\?"):
        load_parser("jsno")
    with pytest.raises(ConfigError, match=r"unknown parser 'zzzz'; installed are: [^?]*$"):
        load_parser("zzzz")
    with pytest.raises(ConfigError, match="5 is not a parser: it has no encode and no decode"):
        load_parser(5)
    install("fake-x", point("fake_a:P", "odd", "ahtransport.parsers"), fake_a="import fake_dep\n")
    with pytest.raises(
        ConfigError, match=r"the parser 'odd' can't be used: .*; to add it: python -m pip install fake_dep"
    ):
        load_parser("odd")
    install("fake-y", point("fake_b:P", "odder", "ahtransport.parsers"), fake_b="1 / 0\n")
    with pytest.raises(ConfigError, match="the parser 'odder' can't be used: fake_b:P of fake-y fails to import"):
        load_parser("odder")


# --- objects -----------------------------------------------------------------------------------------------------


def test_load_object(install: Install) -> None:
    install("fake-x", "", fake_a="class A:\n  b = 5\n", fake_b="1 / 0\n")
    assert load_object("fake_a:A.b") == 5
    with pytest.raises(ConfigError, match=r"fake_a has no 'A\.c'"):
        load_object("fake_a:A.c")
    with pytest.raises(ConfigError, match="fake_b:X: can't import fake_b: ZeroDivisionError"):
        load_object("fake_b:X")
