"""The generated client's files: what is in them, and what they are in Node.js and in a page."""

from __future__ import annotations

import fnmatch
import subprocess
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ahtransport import ConfigError, Server
from ahtransport.client._assemble import Parts, assemble
from ahtransport.client._sources import literal, to_json
from generated import NODE, READ, RUN, TRANSFORMERS, build, config_of, needs_node, node, text

ROOT = Path(__file__).resolve().parents[1]


# -- the files


@pytest.mark.parametrize("transformer", TRANSFORMERS)
def test_the_file_has_what_its_transformer_needs_and_no_more(transformer: str) -> None:
    script = text(build(transformer=transformer))
    config = config_of(script)
    assert [server["wire"] for server in config["servers"]] == [transformer]
    assert ("wires['engine.io'] =" in script) == (transformer != "websockets")
    assert ("wires['socket.io'] =" in script) == (transformer == "socket.io")
    assert ("wires.websockets =" in script) == (transformer == "websockets")
    assert "parsers.msgpack =" not in script


def test_several_transformers_are_in_one_file_and_the_first_is_the_default() -> None:
    files = build(transformer=["socket.io", "websockets", "engine.io"])
    script = text(files)
    servers = config_of(script)["servers"]
    assert [(server["wire"], server["pathname"]) for server in servers] == [
        ("socket.io", "/socket.io"),
        ("websockets", "/primus"),
        ("engine.io", "/primus"),
    ]
    for wire in ("wires['engine.io'] =", "wires['socket.io'] =", "wires.websockets ="):
        assert script.count(wire) == 1


def test_the_configuration_is_what_the_client_reads() -> None:
    files = build(
        ping_interval=12000,
        client_url="https://example.com",
        client={
            "api_path": "/v2",
            "cookie_key": "who",
            "timeout": "3s",
            "ping": 0,
            "pong": 1.5,
            "strategy": "online",
            "manual": True,
            "websockets": False,
            "network": False,
            "queue_size": 7,
            "reconnect": {"max": "Infinity", "min": "10s", "reconnect_timeout": 5, "retries": 3, "factor": 1.5},
            "transport": {"a": 1},
        },
    )
    config = config_of(text(files))
    assert config.pop("version")
    assert config == {
        "hash": files.hash,
        "name": "ActionheroWebsocketClient",
        "url": "https://example.com",
        "apiPath": "/v2",
        "cookieKey": "who",
        "servers": [{"wire": "websockets", "pathname": "/primus", "options": {"a": 1}}],
        "parser": "json",
        "pingInterval": 12000,
        "client": {
            "reconnect": {"max": float("inf"), "min": 10000, "reconnect timeout": 5, "retries": 3, "factor": 1.5},
            "timeout": 3000,
            "ping": 0,
            "pong": 1.5,
            "strategy": "online",
            "manual": True,
            "websockets": False,
            "network": False,
            "queueSize": 7,
        },
    }


def test_the_defaults_are_those_of_the_options() -> None:
    config = config_of(text(build()))
    assert config["url"] == "window.location.origin"
    assert config["cookieKey"] == "sessionID"
    assert config["client"]["queueSize"] is None
    assert config["client"]["reconnect"] == {}
    assert config_of(text(build(fingerprint={"cookie_key": "sid"})))["cookieKey"] == "sid"


def test_each_of_several_transformers_has_options_of_its_own() -> None:
    both = ["engine.io", "websockets"]
    config = config_of(text(build(transformer=both, client={"transport": {"engine.io": {"a": 1}}})))
    assert [server["options"] for server in config["servers"]] == [{"a": 1}, {}]
    for transport, complaint in (({"engin.io": {}}, "keys are their names"), ({"engine.io": 1}, "expected a table")):
        with pytest.raises(ConfigError, match=complaint):
            build(transformer=both, client={"transport": transport})


@pytest.mark.parametrize(
    ("reconnect", "complaint"),
    [
        ({"maximum": 1}, "unknown option 'maximum'; there are max, min, retries, \"reconnect timeout\", factor"),
        ({"max": "soon"}, "reconnect.max: 'soon' is not a duration"),
        ({"factor": "2"}, "reconnect.factor: expected a number of at least 0, not '2'"),
        ({"retries": -1}, "expected a number of at least 0, not -1"),
        ({"retries": True}, "expected a number of at least 0, not True"),
        ({"min": float("nan")}, "expected a number of at least 0, not nan"),
    ],
)
def test_options_of_reconnecting_are_checked(reconnect: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(client={"reconnect": reconnect})
    assert complaint in str(caught.value)


def test_what_json_cannot_carry_is_an_error_of_the_configuration() -> None:
    for value in (object(), {1: 2}, float("nan")):
        with pytest.raises(ConfigError, match=r"servers\.websocket\.client"):
            build(client={"transport": {"key": value}})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="contains itself"):
        build(client={"transport": {"key": endless}})


def test_msgpack_is_there_when_it_is_spoken() -> None:
    script = text(build(parser="msgpack"))
    assert script.count("parsers.msgpack =") == 1
    assert config_of(script)["parser"] == "msgpack"
    script = text(build(transformer="socket.io", transport={"parser": "msgpack"}))
    assert script.count("parsers.msgpack =") == 1
    config = config_of(script)
    assert config["parser"] == "json"
    assert config["servers"][0]["options"] == {"parser": "msgpack"}


class Upper:
    """A parser of one's own, with both sides."""

    client: ClassVar[str] = (
        "parsers.custom = { encode: (v) => String(v).toUpperCase(), decode: (d) => d } // no semicolon"
    )

    def encode(self, value: Any) -> str:
        return str(value).upper()

    def decode(self, data: str | bytes) -> Any:
        return data


class OneSided(Upper):
    client = None  # type: ignore[assignment]


def test_a_parser_of_ones_own_brings_its_client_side() -> None:
    script = text(build(parser=Upper))
    assert config_of(script)["parser"] == "custom"
    assert script.count(Upper.client) == 1


def test_without_a_client_side_of_the_parser_there_is_no_client() -> None:
    with pytest.raises(ConfigError, match=r"the parser OneSided has no client side.*`client`.*client_js_name"):
        build(parser=OneSided)


def test_there_is_no_client_where_there_is_no_websocket() -> None:
    with pytest.raises(ConfigError, match=r"servers\.websocket\.enabled"):
        build(websocket={"enabled": False})


def test_plugins_are_in_the_file() -> None:
    server = Server(config={})
    before = server.client_files()
    server.plugin("emitter", {"client": " function (primus, options) { primus.plugged = options; }; \n"})
    server.plugin("onTheServerOnly", {"server": lambda server, options: None})
    after = server.client_files()
    assert "function (primus, options) { primus.plugged = options; }\n )" in text(after).replace("\n)", "\n )")
    assert "onTheServerOnly" not in text(after)
    assert "primus.plugged" in after.primus.decode()
    assert before.hash != after.hash


# -- the hash


def test_the_hash_stands_for_options_and_sources() -> None:
    assert build().hash == build(port=0, max_length=77, client_js_write=False).hash
    assert len(build().hash) == 12
    different = [
        build(),
        build(transformer="engine.io"),
        build(pathname="/other"),
        build(parser="msgpack"),
        build(client={"timeout": 1}),
        build(client={"reconnect": {"max": 1}}),
        build(client_js_name="other"),
    ]
    assert len({files.hash for files in different}) == len(different)
    parts = Parts("1", "a", '{"servers":[{}]}')
    changed = [
        parts,
        Parts("2", "a", parts.config),
        Parts("1", "a", parts.config, parsers=(("x", "1"),)),
        Parts("1", "a", parts.config, wires=(("x", "1"),)),
        Parts("1", "a", parts.config, plugins=(("x", "1"),)),
        Parts("1", "a", parts.config, plugins=(("x", "2"),)),
    ]
    assert len({assemble(one).hash for one in changed}) == len(changed)


def test_servers_with_the_same_options_share_the_texts() -> None:
    one, other = build(transformer="engine.io"), build(transformer="engine.io")
    assert text(one) == text(other)
    assert one.files["ActionheroWebsocketClient.min.js"] is other.files["ActionheroWebsocketClient.min.js"]


# -- names


@pytest.mark.parametrize("name", ["My Client", "1st", "client-v2", "schön", "", "default"])
def test_a_name_that_is_no_identifier_is_a_files_name_only(name: str) -> None:
    files = build(client_js_name=name)
    assert files.name == (name or "ActionheroWebsocketClient")
    assert "export { Primus, ActionheroWebsocketClient, ActionheroWebsocketClient as default };" in text(files, ".mjs")


def test_a_name_that_is_an_identifier_is_exported() -> None:
    assert text(build(client_js_name="Chat"), ".mjs").endswith("as default, ActionheroWebsocketClient as Chat };\n")


# -- every source is shipped


def test_every_source_is_package_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {
        package: ROOT
        / "src"
        / (package.removeprefix("ahtransport.") if ".transports" in package else package).replace(".", "/")
        for package in project["packages"]
    }
    forgotten = [
        path
        for package, folder in folders.items()
        for path in (*folder.glob("**/*.js"), *folder.glob("**/*.d.ts"))
        if not any(
            other != folder and other.is_relative_to(folder) and path.is_relative_to(other)
            for other in folders.values()
        )
        and not any(
            fnmatch.fnmatch(path.relative_to(folder).as_posix(), pattern)
            for pattern in project["package-data"].get(package, ())
        )
    ]
    assert sum(len(list(folder.glob("*.js"))) for folder in folders.values()) > 3
    assert not forgotten


# -- in JavaScript


@needs_node
class TestInNode:
    @pytest.mark.parametrize("transformer", [*TRANSFORMERS, TRANSFORMERS])
    @pytest.mark.parametrize("parser", ["JSON", "msgpack"])
    def test_every_script_is_javascript(self, transformer: Any, parser: str, tmp_path: Path) -> None:
        assert NODE is not None
        for path in build(transformer=transformer, parser=parser).write(tmp_path):
            if path.suffix in (".js", ".mjs"):
                subprocess.run([NODE, "--check", path], check=True, timeout=60)

    def test_require_gives_the_class_with_everything_on_it(self, tmp_path: Path) -> None:
        build(client_js_name="Chat", transformer=TRANSFORMERS).write(tmp_path)
        (tmp_path / "run.cjs").write_text(
            "const found = ['./Chat.js', './Chat.min.js'].map((file) => { const Chat = require(file);"
            "  return [typeof Chat, Chat.Chat === Chat, Chat.default === Chat, Chat.ActionheroWebsocketClient === Chat,"
            "    typeof Chat.Primus.connect, typeof globalThis.Chat, typeof globalThis.Primus]; });"
            "const Primus = require('./primus.js');"
            "found.push([typeof Primus.connect, Primus.Primus === Primus, 'ActionheroWebsocketClient' in Primus]);"
            "console.log(JSON.stringify(found));"
        )
        whole = ["function", True, True, True, "function", "undefined", "undefined"]
        assert node("", module=tmp_path / "run.cjs") == [whole, whole, ["function", True, False]]

    def test_import_gives_the_same(self, tmp_path: Path) -> None:
        build(client_js_name="Chat").write(tmp_path)
        (tmp_path / "run.mjs").write_text(
            "import * as all from './Chat.mjs';"
            "console.log(JSON.stringify([Object.keys(all), all.Chat === all.default, typeof all.Primus.connect]));"
        )
        names = ["ActionheroWebsocketClient", "Chat", "Primus", "default"]
        assert node("", module=tmp_path / "run.mjs") == [names, True, "function"]

    def test_a_page_gets_globals_and_keeps_its_own(self) -> None:
        scripts = [text(build(client_js_name=name), ".min.js") for name in ("Chat", "a b", "URL", "__proto__")]
        found = node(RUN, [*scripts, build().primus.decode()])
        usual = {"console", "setTimeout", "clearTimeout", "URL", "TextEncoder", "TextDecoder", "URLSearchParams"}
        usual |= {"self", "pwned"}
        new = [set(one["globals"]) - usual for one in found]
        both = {"Primus", "ActionheroWebsocketClient"}
        assert new == [both | {"Chat"}, both, both, both, {"Primus"}]
        keeps = (
            f"{READ} const page = vm.createContext({{ URL: 7 }}); vm.runInContext(given, page); console.log(page.URL)"
        )
        assert node(keeps, scripts[2]) == 7

    def test_plugins_are_functions_under_their_names(self) -> None:
        server = Server(config={})
        for name in ("emitter", "__proto__", "it's </script>"):
            server.plugin(name, {"client": "function (primus, options) {} // the end"})
        scripts = [text(server.client_files()), text(server.client_files(), ".min.js")]
        for found in node(RUN, scripts):
            assert found["plugins"] == ["emitter", "__proto__", "it's </script>"]
            assert found["polluted"] == []

    def test_infinity_arrives(self) -> None:
        value = to_json({"a": float("inf"), "b": [float("-inf")]})
        script = f"const it = {literal(value)}; console.log(JSON.stringify([it.a === Infinity, it.b[0] === -Infinity]))"
        assert node(script) == [True, True]
