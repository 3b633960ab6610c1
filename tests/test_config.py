"""The configuration: sources, precedence, spelling, origins, errors."""

from __future__ import annotations

import json
import math
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ahtransport._config import OPTIONS, Config, load_config
from ahtransport._errors import ConfigError


class Codec:
    """Looks like a parser and like a transformer given in code."""

    @staticmethod
    def encode(value: Any) -> str:
        return str(value)

    @staticmethod
    def decode(data: str | bytes) -> Any:
        return data


def load(
    source: Any = None, environ: dict[str, str] | None = None, cwd: Path | None = None, **overrides: Any
) -> Config:
    """Load without this machine's environment; without a directory, without a file."""
    if source is None and cwd is None:
        source = {}
    return load_config(source, overrides, environ or {}, cwd)


def refused(
    source: Any = None, environ: dict[str, str] | None = None, cwd: Path | None = None, **overrides: Any
) -> str:
    with pytest.raises(ConfigError) as info:
        load(source, environ, cwd, **overrides)
    return str(info.value)


# --- what the front door promises --------------------------------------------------------------------------------

FRONT_DOOR = """
[servers.websocket]
enabled = true
client_url = "window.location.origin"
client_js_path = "javascript/"
client_js_name = "ActionheroWebsocketClient"
destroy_clients_on_shutdown = false

[servers.websocket.server]
transformer = "websockets"
pathname = "/primus"
parser = "JSON"
plugin = {}
timeout = 35000
ping_interval = 30000
max_length = 10485760
compression = false
origins = "*"
methods = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]
credentials = true
max_age = "30 days"
exposed = false
transport = {}

[servers.websocket.client]
api_path = "/api"
reconnect = {}
timeout = 10000
ping = 25000
pong = 10000
strategy = "disconnect, online, timeout"
manual = false
websockets = true
network = true
transport = {}
queue_size = "Infinity"

[servers.web]
enabled = true
host = "127.0.0.1"
port = 8080
public = ["public"]
fingerprint = { cookie_key = "sessionID", to_set_cookie = true, settings = { path = "/", expires = 3600000 } }
secure = false
"""


def test_the_defaults_are_those_of_actionhero_and_primus() -> None:
    assert load(tomllib.loads(FRONT_DOOR)) == load() == Config()


def test_a_camel_case_file_means_the_same(tmp_path: Path) -> None:
    (tmp_path / "ahtransport.toml").write_text(
        '[servers.websocket]\nclientJsPath = "js"\n[servers.websocket.server]\nmaxAge = "2 days"\n'
        "[servers.web.fingerprint]\ncookieKey = 'c'\nsettings = { expires = 5 }\n"
    )
    config = load(cwd=tmp_path)
    assert config.servers.websocket.client_js_path == "js"
    assert config.servers.websocket.server.max_age == 172800.0
    assert config.servers.web.fingerprint.cookie_key == "c"
    assert config.servers.web.fingerprint.settings.expires == 0.005
    assert config.servers.web.fingerprint.settings.path == "/"


def test_typed_attributes_are_in_seconds() -> None:
    config = load()
    assert config.servers.websocket.server.timeout == 35.0
    assert config.servers.websocket.client.ping == 25.0
    assert config.servers.websocket.client.queue_size == math.inf
    assert config.general.action_timeout == 0.0


def test_the_welcome_names_the_server() -> None:
    assert load().general.welcome_message == "Welcome to the ahtransport api"
    assert load(server_name="x").general.welcome_message == "Welcome to the x api"
    assert load(server_name="x").to_dict()["general"]["welcome_message"] == "Welcome to the {server_name} api"
    assert load(welcome_message="").general.welcome_message == ""


# --- precedence and origins --------------------------------------------------------------------------------------


def test_the_later_source_wins_and_each_value_knows_its_origin(tmp_path: Path) -> None:
    (tmp_path / "ahtransport.toml").write_text(
        '[servers.web]\nport = 1\nhost = "a"\npadding = 3\n[general]\nserver_name = "f"\n'
    )
    environ = {"AHTRANSPORT__SERVERS__WEB__PORT": "2", "AHTRANSPORT__SERVERS__WEB__HOST": "b", "PATH": "/"}
    config = load_config(None, {"port": 3}, environ, tmp_path)
    assert (config.servers.web.port, config.servers.web.host, config.servers.web.padding) == (3, "b", 3)
    assert config.origin("servers.web.port") == "keyword argument"
    assert config.origin("host") == "environment AHTRANSPORT__SERVERS__WEB__HOST"
    assert config.origin("servers.web.padding") == "ahtransport.toml"
    assert config.origin("serverName") == "ahtransport.toml"
    assert config.origin("servers.websocket.server.maxAge") == "default"
    with pytest.raises(
        ConfigError, match=r"servers.web.prot: there is no such option; did you mean servers.web.port\?"
    ):
        config.origin("servers.web.prot")


def test_pyproject_is_read_where_there_is_no_file_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ahtransport.servers.web]\nport = 7\n[project]\nname = 'x'\n")
    config = load(cwd=tmp_path)
    assert config.servers.web.port == 7
    assert config.origin("port") == "pyproject.toml [tool.ahtransport]"
    (tmp_path / "ahtransport.toml").write_text("")
    assert load(cwd=tmp_path).servers.web.port == 8080


@pytest.mark.parametrize("text", ["", "[tool.other]\n", "tool = 5\n"])
def test_a_pyproject_without_our_table_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert load(cwd=tmp_path) == Config()


def test_no_file_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AHTRANSPORT__SERVERS__WEB__PORT", "9000")
    assert load_config().servers.web.port == 9000
    assert load_config({}, environ={}) == Config()


def test_an_explicit_path_replaces_the_search(tmp_path: Path) -> None:
    (tmp_path / "ahtransport.toml").write_text("[servers.web]\nport = 1\n")
    (tmp_path / "other.toml").write_text("\ufeff[servers.web]\nhost = 'h'\n", "utf-8")
    config = load("other.toml", cwd=tmp_path)
    assert (config.servers.web.port, config.servers.web.host) == (8080, "h")
    assert config.origin("host") == "other.toml"
    assert load(tmp_path / "other.toml").origin("host") == str(tmp_path / "other.toml")


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "ahtransport.toml").write_text("[servers.web]\nport = 1\n")
    (tmp_path / "other.toml").write_text("[servers.web]\nhost = 'h'\n")
    config = load(None, {"AHTRANSPORT_CONFIG": "other.toml"}, tmp_path, port=5)
    assert (config.file, config.origin("host"), config.servers.web.port) == ("other.toml", "other.toml", 5)
    assert load("ahtransport.toml", {"AHTRANSPORT_CONFIG": "other.toml"}, tmp_path).file == "ahtransport.toml"
    assert load({}, {"AHTRANSPORT_CONFIG": "other.toml"}, tmp_path).file is None
    assert config.replace(port=6).file == "other.toml"
    assert refused(None, {"AHTRANSPORT_CONFIG": "none.toml"}, tmp_path).startswith("none.toml: can't be read")


def test_a_mapping_stands_for_a_file() -> None:
    config = load({"servers": {"web": {"port": 5}}}, {"AHTRANSPORT__SERVERS__WEB__HOST": "h"})
    assert (config.servers.web.port, config.servers.web.host) == (5, "h")
    assert config.origin("port") == "config argument"


def test_a_config_is_taken_as_it_is_and_can_be_replaced() -> None:
    first = load(port=1, plugin={"a": "m:A"})
    assert load_config(first, environ={"AHTRANSPORT__SERVERS__WEB__PORT": "2"}) is first
    second = load_config(first, {"host": "h", "plugin": {"b": "m:B"}})
    assert (second.servers.web.port, second.servers.web.host) == (1, "h")
    assert second.servers.websocket.server.plugin == {"a": "m:A", "b": "m:B"}
    assert first.servers.web.host == "127.0.0.1"
    assert second.replace(port=9).servers.web.port == 9
    with pytest.raises(ConfigError, match="keyword argument: prot is not known"):
        first.replace(prot=9)


# --- keywords ----------------------------------------------------------------------------------------------------


def test_flat_names_mean_the_first_section_that_has_them() -> None:
    config = load(timeout=1000, enabled=False, port=0, server_name="n", max_length=5, apiPath="/x")
    assert config.servers.websocket.server.timeout == 1.0
    assert config.servers.websocket.client.timeout == 10.0
    assert (config.servers.websocket.enabled, config.servers.web.enabled) == (False, True)
    assert config.servers.web.api_path == "/x"
    assert config.servers.websocket.client.api_path == "/api"


def test_nested_keywords_by_long_and_short_names() -> None:
    config = load(
        servers={"web": {"port": 1}},
        general={"description": "d"},
        web={"host": "h", "fingerprint": {"settings": {"path": "/p"}}},
        client={"timeout": 5000, "queueSize": 3},
        websocket={"client_url": "https://example.com"},
        server={"pathname": "/rt"},
        fingerprint={"cookie_key": "k"},
    )
    web, websocket = config.servers.web, config.servers.websocket
    assert (web.port, web.host, web.fingerprint.settings.path, web.fingerprint.cookie_key) == (1, "h", "/p", "k")
    assert (websocket.client.timeout, websocket.client.queue_size) == (5.0, 3)
    assert (websocket.client_url, websocket.server.pathname) == ("https://example.com", "/rt")
    assert config.general.description == "d"


def test_the_same_option_twice_is_an_error() -> None:
    assert refused(port=1, web={"port": 2}) == (
        "keyword argument: servers.web.port is given twice (keyword argument has it, too)"
    )
    assert "servers.web.max_body is given twice" in refused({"servers": {"web": {"maxBody": 1, "max_body": 2}}})


# --- the environment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SERVERS__WEB__PORT", "9000", 9000),
        ("SERVERS__WEB__HOST", "::", "::"),
        ("SERVERS__WEB__HOST", '"::1"', "::1"),
        ("SERVERS__WEB__SECURE", "0", False),
        ("SERVERS__WEB__SERVER_INFORMATION", "False", False),
        ("SERVERS__WEB__ENABLED", "1", True),
        ("SERVERS__WEB__enabled", "TRUE", True),
        ("SERVERS__WEB__PUBLIC", "static", ("static",)),
        ("SERVERS__WEB__PUBLIC", '["a", "b"]', ("a", "b")),
        ("servers__web__public", "['a']", ("a",)),
        ("GENERAL__SERVER_NAME", "2024", "2024"),
        ("GENERAL__SERVER_NAME", "1\nx = 2", "1\nx = 2"),
        ("GENERAL__serverName", "true", "true"),
        ("GENERAL__API_VERSION", "1.0", "1.0"),
        ("SERVERS__WEBSOCKET__SERVER__MAX_AGE", "1.5 hours", 5400.0),
        ("SERVERS__WEBSOCKET__SERVER__TIMEOUT", "500", 0.5),
        ("SERVERS__WEBSOCKET__SERVER__PING_INTERVAL", "false", 0.0),
        ("SERVERS__WEBSOCKET__SERVER__TRANSFORMER", "engine.io", "engine.io"),
        ("SERVERS__WEBSOCKET__SERVER__TRANSFORMER", '["websockets", "engine.io"]', ("websockets", "engine.io")),
        ("SERVERS__WEBSOCKET__SERVER__METHODS", "get, post", ("GET", "POST")),
        ("SERVERS__WEBSOCKET__CLIENT__QUEUE_SIZE", "Infinity", math.inf),
        ("SERVERS__WEBSOCKET__CLIENT__QUEUE_SIZE", "100", 100),
        (
            "SERVERS__WEBSOCKET__CLIENT__RECONNECT",
            '{"max": 5, "reconnect timeout": 9}',
            {"max": 5, "reconnect timeout": 9},
        ),
        ("SERVERS__WEBSOCKET__CLIENT__RECONNECT", "{ max = 5 }", {"max": 5}),
        ("SERVERS__WEBSOCKET__CLIENT__RECONNECT__MAX", "5", {"max": 5}),
        ("SERVERS__WEBSOCKET__SERVER__TRANSPORT__A__B", "x", {"a": {"b": "x"}}),
    ],
)
def test_environment_values(name: str, text: str, expected: Any) -> None:
    config = load(environ={f"AHTRANSPORT__{name}": text})
    changed = [key for key in OPTIONS if config.origin(key) != "default"]
    assert len(changed) == 1
    value: Any = config
    for part in changed[0].split("."):
        value = getattr(value, part)
    assert value == expected
    assert type(value) is type(expected) or isinstance(expected, dict)
    assert config.origin(changed[0]) == f"environment AHTRANSPORT__{name}"


def test_an_environment_variable_may_hold_a_whole_section() -> None:
    config = load(environ={"AHTRANSPORT__SERVERS__WEB__FINGERPRINT": '{cookieKey = "k", settings = {path = "/x"}}'})
    assert config.servers.web.fingerprint.cookie_key == "k"
    assert config.servers.web.fingerprint.settings.path == "/x"


def test_free_form_tables_merge_by_key_and_keep_their_origins() -> None:
    config = load(
        {"servers": {"websocket": {"server": {"plugin": {"a": "m:A", "b": "m:B"}}}}},
        {"AHTRANSPORT__SERVERS__WEBSOCKET__SERVER__PLUGIN__B": "m:C"},
    )
    assert config.servers.websocket.server.plugin == {"a": "m:A", "b": "m:C"}
    key = "servers.websocket.server.plugin"
    assert config.origin(f"{key}.a") == "config argument"
    assert (
        config.origin(f"{key}.b")
        == config.origin(key)
        == "environment AHTRANSPORT__SERVERS__WEBSOCKET__SERVER__PLUGIN__B"
    )
    with pytest.raises(ConfigError, match="no such option"):
        config.origin(f"{key}.c")
    with pytest.raises(TypeError):
        config.servers.websocket.server.plugin["c"] = 1  # type: ignore[index]


def test_tables_in_a_free_form_table_merge_likewise_and_keep_their_origins() -> None:
    given = {"socket.io": {"ping_timeout": 2000, "deep": {"a": 1, "b": 2}, "kind": {"x": 1}}}
    variable = "AHTRANSPORT__SERVERS__WEBSOCKET__SERVER__TRANSPORT__SOCKET.IO__"
    config = load(
        {"servers": {"websocket": {"server": {"transport": given}}}},
        {f"{variable}PING_INTERVAL": "1000", f"{variable}UPGRADE_TIMEOUT": "3000"},
        transport={"socket.io": {"deep": {"b": 3}, "kind": "text"}, "engine.io": {"a": 1}},
    )
    assert config.servers.websocket.server.transport == {
        "socket.io": {
            "ping_timeout": 2000,
            "deep": {"a": 1, "b": 3},
            "kind": "text",
            "ping_interval": 1000,
            "upgrade_timeout": 3000,
        },
        "engine.io": {"a": 1},
    }
    assert given == {"socket.io": {"ping_timeout": 2000, "deep": {"a": 1, "b": 2}, "kind": {"x": 1}}}
    origins = {
        "socket.io": "keyword argument",
        "socket.io.ping_timeout": "config argument",
        "socket.io.ping_interval": f"environment {variable}PING_INTERVAL",
        "socket.io.upgrade_timeout": f"environment {variable}UPGRADE_TIMEOUT",
        "socket.io.deep.a": "config argument",
        "socket.io.deep.b": "keyword argument",
        "socket.io.kind": "keyword argument",
    }
    key = "servers.websocket.server.transport"
    assert {name: config.origin(f"{key}.{name}") for name in origins} == origins
    with pytest.raises(ConfigError, match="no such option"):
        config.origin(f"{key}.socket.io.kind.x")
    again = config.replace(transport={"engine.io": {"b": 2}})
    assert again.servers.websocket.server.transport["engine.io"] == {"a": 1, "b": 2}


def test_a_plug_in_is_replaced_whole_though_it_is_a_mapping() -> None:
    config = load({"servers": {"websocket": {"server": {"plugin": {"a": {"client": "function () {}"}}}}}})
    assert config.replace(plugin={"a": {"server": print}}).servers.websocket.server.plugin == {"a": {"server": print}}


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("SERVERS__WEB__PROT", "1", "servers.web.prot is not known; did you mean servers.web.port?"),
        ("PORT", "1", "port is not known; did you mean servers.web.port?"),
        ("SERVERS__WEB__PORT__X", "1", "servers.web.port.x is not known"),
        ("", "1", " is not known"),
        ("SERVERS__WEB", "5", "servers.web: expected a table of options, not 5"),
        ("SERVERS__WEB__PORT", "80a", "servers.web.port: expected a whole number from 0 to 65535, not '80a'"),
        ("SERVERS__WEB__ENABLED", "yes", "servers.web.enabled: expected true or false, not 'yes'"),
        ("SERVERS__WEB__PUBLIC", "[" * 9999, "servers.web.public"),
    ],
)
def test_environment_errors(name: str, text: str, error: str) -> None:
    if name.endswith("PUBLIC"):  # hopeless nesting is no list, so it is a directory's name
        assert load(environ={f"AHTRANSPORT__{name}": text}).servers.web.public == (text,)
    else:
        assert refused(environ={f"AHTRANSPORT__{name}": text}).startswith(f"environment AHTRANSPORT__{name}: {error}")


# --- errors of files and keywords --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[servers.web]\nprot = 1\n", "servers.web.prot is not known; did you mean servers.web.port?"),
        ("[server.web]\n", "server is not known; did you mean servers?"),
        ("[servers.websockets]\n", "servers.websockets is not known; did you mean servers.websocket?"),
        ("port = 8080\n", "port is not known; did you mean servers.web.port?"),
        ("[servers]\nweb = 5\n", "servers.web: expected a table of options, not 5"),
        ("[servers.web]\nport = '80'\n", "servers.web.port: expected a whole number from 0 to 65535, not '80'"),
        ("[servers.web]\nport = true\n", "servers.web.port: expected a whole number"),
        ("[servers.web]\nport = 65536\n", "servers.web.port: expected a whole number from 0 to 65535, not 65536"),
        ("[servers.web]\nsecure = true\n", "servers.web.secure needs servers.web.cert"),
        ("[servers.web]\ntrusted_proxies = ['10.0.0.300']\n", "servers.web.trusted_proxies: expected a list of IP"),
        (
            "[servers.websocket.server]\noverflow = 'clsoe'\n",
            'servers.websocket.server.overflow: expected one of "close"',
        ),
        ("[servers.websocket.server]\nmax_age = '30 dayz'\n", "servers.websocket.server.max_age: expected a duration"),
        ("[servers.websocket.server]\nauthorization = 1\n", "servers.websocket.server.authorization is not known"),
        ("[servers", "is not valid TOML: "),
        ("x = " + "[" * 9999, "is not valid TOML: "),
        ("x = " + "9" * 9999, "is not valid TOML: "),
    ],
)
def test_file_errors_name_the_file_and_the_key(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "ahtransport.toml").write_text(text)
    assert refused(cwd=tmp_path).startswith(f"ahtransport.toml: {error}")


def test_hints_follow_what_was_expected() -> None:
    assert refused(overflow="clsoe").endswith("not 'clsoe'; did you mean \"close\"?")
    assert refused(overflow="zzz").endswith("not 'zzz'")
    assert refused(max_age="30 dayz").endswith('"dayz" is not a unit of time; did you mean "day"?')
    assert refused(max_age="30 qqqqqq").endswith('"qqqqqq" is not a unit of time')
    assert refused(public=[1]).endswith("1 is not a string")
    assert refused(origins="example.com").endswith("'example.com' is not one")
    for wildcard in ("https://*.example.com", "*.example.com", "https://*"):
        assert refused(origins=["https://a.example", wildcard]).endswith(
            f'{wildcard!r} is not one: there are no wildcards; list each origin, or "*" for all of them'
        )
    assert refused(plugin={"a": 1}).endswith("a = 1 is not one")
    assert refused(transport={1: 2}).endswith("the key 1 is not a string")
    assert refused(client={"timeout": 2**31}).endswith("at most 2147483647 ms, as browsers' timers allow")
    assert refused(timeout=10**400).endswith("at most 10000000000000 ms")
    assert len(refused(port="9" * 1000)) < 200


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    assert refused("none.toml", cwd=tmp_path) == "none.toml: can't be read: No such file or directory"
    assert refused(tmp_path).startswith(f"{tmp_path}: can't be read: ")
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    assert refused("latin.toml", cwd=tmp_path).startswith("latin.toml: is not valid TOML: ")
    (tmp_path / "pyproject.toml").write_text("[tool]\nahtransport = 5\n")
    assert refused(cwd=tmp_path) == "pyproject.toml [tool.ahtransport]: expected a table, not 5"


def test_unknown_keywords_name_what_was_meant() -> None:
    assert refused(prot=1) == "keyword argument: prot is not known; did you mean servers.web.port?"
    assert refused(pingIntervall=1).endswith("did you mean servers.websocket.server.ping_interval?")
    assert refused(queue_size=1).endswith("did you mean servers.websocket.client.queue_size?")
    assert refused(zzzzzzzz=1) == "keyword argument: zzzzzzzz is not known"
    assert refused(web=None) == "keyword argument: servers.web: expected a table of options, not None"


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1500, 1.5),
        (0.5, 0.0005),
        ("35000", 35.0),
        ("10s", 10.0),
        ("10 S", 10.0),
        (".5 min", 30.0),
        ("1.5 hours", 5400.0),
        ("250 ms", 0.25),
        (" 2 weeks ", 1209600.0),
        ("1 year", 31557600.0),
        (timedelta(minutes=2), 120.0),
        (0, 0.0),
        (False, 0.0),
        (timedelta(0), 0.0),
    ],
)
def test_durations(value: Any, seconds: float) -> None:
    assert load(timeout=value).servers.websocket.server.timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [-1, "-1s", "s", "", "1 s 2", True, None, [], math.nan, math.inf, timedelta(-1), "1e3", "٣s"]
)
def test_no_durations(value: Any) -> None:
    assert "servers.websocket.server.timeout: expected a duration" in refused(timeout=value)


@pytest.mark.parametrize("value", [0, False, "0s", timedelta(0)])
def test_durations_that_can_not_be_zero(value: Any) -> None:
    assert "servers.web.header_timeout: expected a duration" in refused(header_timeout=value)


@pytest.mark.parametrize(
    ("options", "key", "expected"),
    [
        ({"origins": ["https://A.example", "null"]}, "servers.websocket.server.origins", ("https://a.example", "null")),
        (
            {"origins": ["file://", "http://[::1]:8080", "chrome-extension://abc"]},
            "servers.websocket.server.origins",
            ("file://", "http://[::1]:8080", "chrome-extension://abc"),
        ),
        (
            {"origins": "https://a.example, http://b.example:81"},
            "servers.websocket.server.origins",
            ("https://a.example", "http://b.example:81"),
        ),
        ({"exposed": "X-A, x-b"}, "servers.websocket.server.exposed", ("X-A", "x-b")),
        ({"exposed": False}, "servers.websocket.server.exposed", ()),
        ({"pathname": "/rt/"}, "servers.websocket.server.pathname", "/rt"),
        ({"pathname": "/"}, "servers.websocket.server.pathname", "/"),
        ({"public": Path("a")}, "servers.web.public", ("a",)),
        ({"public": ("a", Path("b"), "a")}, "servers.web.public", ("a", "b")),
        ({"cert": Path("c")}, "servers.web.cert", "c"),
        ({"starting_chat_rooms": {"a": {}, "b": {}}}, "general.starting_chat_rooms", ("a", "b")),
        ({"trusted_proxies": "10.0.0.0/8, ::1"}, "servers.web.trusted_proxies", ("10.0.0.0/8", "::1")),
        ({"transformer": Codec}, "servers.websocket.server.transformer", Codec),
        ({"transformer": [Codec, "ws"]}, "servers.websocket.server.transformer", (Codec, "ws")),
        ({"transformer": {"/a": "ws"}}, "servers.websocket.server.transformer", {"/a": "ws"}),
        ({"transformer": "a.b:C"}, "servers.websocket.server.transformer", "a.b:C"),
        ({"parser": Codec}, "servers.websocket.server.parser", Codec),
        ({"parser": "binary"}, "servers.websocket.server.parser", "binary"),
        ({"plugin": {"a": Codec}}, "servers.websocket.server.plugin", {"a": Codec}),
        ({"client": {"queue_size": math.inf}}, "servers.websocket.client.queue_size", math.inf),
        ({"client": {"strategy": ""}}, "servers.websocket.client.strategy", ""),
    ],
)
def test_values(options: dict[str, Any], key: str, expected: Any) -> None:
    value: Any = load(**options)
    for part in key.split("."):
        value = getattr(value, part)
    assert value == expected


@pytest.mark.parametrize(
    "options",
    [
        {"transformer": ""},
        {"transformer": []},
        {"transformer": {}},
        {"transformer": {1: "a"}},
        {"transformer": 5},
        {"transformer": ["a", 5]},
        {"transformer": "a:b:c"},
        {"parser": 5},
        {"parser": "a:"},
        {"parser": " "},
        {"plugin": []},
        {"plugin": {"a": "no colon"}},
        {"plugin": {"a": None}},
        {"pathname": "primus"},
        {"pathname": "/a?b"},
        {"methods": 5},
        {"methods": "G T"},
        {"origins": False},
        {"origins": "https://user@a.example"},
        {"origins": "https://a.example/"},
        {"origins": "https://\xe4.example"},
        {"origins": "https://a.example:port"},
        {"exposed": "a b"},
        {"max_length": 0},
        {"max_length": 1.0},
        {"compression": 1},
        {"fingerprint": {"cookie_key": "a;b"}},
        {"fingerprint": {"settings": {"path": "/;x"}}},
        {"client": {"strategy": "always"}},
        {"client": {"queue_size": -1}},
        {"client": {"queue_size": True}},
        {"client": {"queue_size": "many"}},
        {"client_url": "https://x'y"},
        {"client_js_name": "a/b"},
        {"trusted_proxies": [1]},
        {"host": ""},
        {"cert": 5},
    ],
)
def test_impossible_values(options: dict[str, Any]) -> None:
    assert refused(**options).startswith("keyword argument: ")
    assert ": expected " in refused(**options)


# --- printing ----------------------------------------------------------------------------------------------------


def test_to_dict_gives_values_as_a_user_writes_them_and_loads_again() -> None:
    config = load(
        {"servers": {"web": {"keep_alive": "7s"}}},
        {"AHTRANSPORT__SERVERS__WEB__PORT": "9000"},
        max_age=timedelta(hours=1),
        timeout=timedelta(microseconds=1500),
        public=Path("static"),
        origins=("https://a.example",),
        transformer=Codec,
        plugin={"a": Codec},
        parser=Codec(),
        client={"reconnect": {"retries": math.inf}, "queueSize": math.inf},
    )
    tree = config.to_dict()
    assert tree["servers"]["web"]["port"] == 9000
    assert tree["servers"]["web"]["keep_alive"] == "7s"
    assert tree["servers"]["web"]["public"] == "static"
    server = tree["servers"]["websocket"]["server"]
    assert (server["max_age"], server["timeout"]) == (3600000, 1.5)
    assert server["transformer"] == server["plugin"]["a"] == server["parser"] == f"{__name__}:Codec"
    assert tree["servers"]["websocket"]["client"]["reconnect"] == {"retries": "Infinity"}
    assert tree["servers"]["websocket"]["client"]["queue_size"] == "Infinity"
    assert json.loads(json.dumps(tree)) == tree
    assert load(tree).to_dict() == tree
    assert load(load().to_dict()) == Config()
