"""The command line, as far as it needs no running server: config, transformers, init, and what can go wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import ahtransport
from ahtransport._cli.apps import split_target, watched
from ahtransport._config import OPTIONS, Config, load_config
from ahtransport.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "from ahtransport import Server\nserver = Server(port=7, config={config})\nother = 5\n"


@pytest.fixture(autouse=True)
def _restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty directory, and forget what the applications of a test have done to this process."""
    monkeypatch.chdir(tmp_path)
    modules, path = set(sys.modules), list(sys.path)
    monkeypatch.delenv("AHTRANSPORT_CONFIG", raising=False)
    yield
    sys.path[:] = path
    os.environ.pop("AHTRANSPORT_CONFIG", None)
    for name in set(sys.modules) - modules:
        if not name.startswith("ahtransport"):
            del sys.modules[name]


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args, prog_name="ahtransport", catch_exceptions=False)


def refused(*args: str) -> str:
    """Run what must fail, with one clear message and exit code 1."""
    result = run(*args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def app(path: Path, config: str = "None") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(APP.format(config=config))


# --- the program itself ------------------------------------------------------------------------------------------


def test_version_and_help() -> None:
    assert run("--version").output == f"ahtransport {ahtransport.__version__}\n"
    text = run("-h").output
    assert all(command in text for command in ("demo", "serve", "config", "transformers", "init"))
    assert run("serve").exit_code == 2
    assert run("serve", "x:y", "--port", "65536").exit_code == 2


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("app.py", ("app.py", "server")),
        ("app.py:api", ("app.py", "api")),
        ("pkg.mod:a.b", ("pkg.mod", "a.b")),
        ("pkg.mod", ("pkg.mod", "server")),
        ("C:\\x\\app.py", ("C:\\x\\app.py", "server")),
        ("C:\\x\\app.py:s", ("C:\\x\\app.py", "s")),
        ("/a:b/app.py", ("/a:b/app.py", "server")),
    ],
)
def test_split_target(target: str, expected: tuple[str, str]) -> None:
    assert split_target(target) == expected


def test_watched(tmp_path: Path) -> None:
    outside = tmp_path.parent
    assert watched("app:server") == [tmp_path]
    assert watched("sub/app.py") == [tmp_path]
    assert watched(f"{outside}/app.py:server") == [tmp_path, outside]


# --- config ------------------------------------------------------------------------------------------------------


def test_config_prints_a_file_with_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ahtransport.toml").write_text("[servers.web]\npadding = 4\n")
    monkeypatch.setenv("AHTRANSPORT__SERVERS__WEB__PORT", "9000")
    result = run("config")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == "[general]"
    assert "padding = 4 # ahtransport.toml" in lines
    assert "port = 9000 # environment AHTRANSPORT__SERVERS__WEB__PORT" in lines
    assert 'host = "127.0.0.1" # default' in lines
    assert load_config(tomllib.loads(result.output), environ={}) == load_config()
    assert len([line for line in lines if " # " in line]) == len(OPTIONS)


def test_config_as_json(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[servers.web]\nport = 1\n")
    found = json.loads(run("config", "--json", "--config", "x.toml").output)
    assert found["values"]["servers"]["web"]["port"] == 1
    assert found["origins"]["servers.web.port"] == "x.toml"
    assert found["origins"]["servers.web.host"] == "default"
    assert load_config(found["values"], environ={}) == load_config("x.toml")


def test_config_of_an_application(tmp_path: Path) -> None:
    app(tmp_path / "sub" / "realtime.py")
    (tmp_path / "x.toml").write_text("[servers.web]\nport = 1\nhost = 'h'\n")
    found = json.loads(run("config", "--json", "sub/realtime.py").output)
    assert found["origins"]["servers.web.port"] == "keyword argument"
    found = json.loads(run("config", "--json", "--config", "x.toml", "sub/realtime.py").output)
    assert found["values"]["servers"]["web"]["port"] == 7
    assert found["origins"]["servers.web.host"] == "x.toml"


def test_an_application_that_chooses_its_own_configuration(tmp_path: Path) -> None:
    app(tmp_path / "own.py", "{}")
    (tmp_path / "x.toml").write_text("")
    message = "own.py:server chooses its own configuration, so --config can't change it"
    assert refused("config", "--config", "x.toml", "own.py") == message
    assert run("config", "own.py").exit_code == 0


def test_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "ahtransport.toml").write_text("[servers.web]\nprot = 1\n")
    message = "ahtransport.toml: servers.web.prot is not known; did you mean servers.web.port?"
    assert refused("config") == message
    app(tmp_path / "wrong_config.py")
    assert refused("config", "wrong_config.py") == f"wrong_config.py: {message}"
    assert run("config", "--config", "none.toml").exit_code == 2


# --- transformers ------------------------------------------------------------------------------------------------


def test_client(tmp_path: Path) -> None:
    result = run("client", "out/deep", "--transformer", "engine.io")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "deep"
    name = "ActionheroWebsocketClient"
    names = [f"{name}.js", f"{name}.min.js", f"{name}.mjs", f"{name}.d.ts", f"{name}.d.mts", "primus.js"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert "wires['engine.io'] =" in (folder / f"{name}.js").read_text(encoding="utf-8")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [os.path.join("out", "deep", one) for one in names]
    assert all(re.fullmatch(r"\S+ +[\d,]+ bytes, +[\d,]+ with gzip", line) for line in lines)


def test_client_as_json_for_an_application(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from ahtransport import ActionServer\n"
        "server = ActionServer(client_js_name='Chat')\n"
        "server.plugin('mine', {'client': 'function () { /* mine */ }'})\n"
        "@server.action\n"
        "def addUp(connection, a: int): pass\n"
    )
    result = run("client", ".", "--app", "app.py", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [one["path"] for one in told["files"]][:2] == ["Chat.js", "Chat.min.js"]
    for one in told["files"]:
        content = (tmp_path / one["path"]).read_bytes()
        assert one["bytes"] == len(content)
        assert one["gzip"] == len(gzip.compress(content, 9, mtime=0))
    script = (tmp_path / "Chat.js").read_text(encoding="utf-8")
    assert told["hash"] in script
    assert "/* mine */" in script
    assert "addUp" in (tmp_path / "Chat.d.ts").read_text(encoding="utf-8")


def test_client_that_there_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "class Own:\n    def encode(self, value): return value\n    def decode(self, data): return data\n"
    )
    (tmp_path / "ahtransport.toml").write_text('[servers.websocket.server]\nparser = "own:Own"\n')
    sys.path.insert(0, str(tmp_path))
    assert "the parser Own has no client side" in refused("client", "out")
    (tmp_path / "ahtransport.toml").unlink()
    (tmp_path / "file").write_text("")
    assert "file" in refused("client", "file/out")
    assert "unknown transformer" in refused("client", "out", "--transformer", "engin.io")


def test_transformers() -> None:
    result = run("transformers")
    assert result.exit_code == 0
    words = result.output.split()
    assert words[words.index("websockets") + 1] == "ahtransport"
    assert "ahtransport.transports.ws:WebSocketTransformer" in words
    assert "also called ws, websocket, faye, uws" in result.output
    (own,) = [one for one in json.loads(run("transformers", "--json").output) if one["name"] == "websockets"]
    assert own["loads"] is True
    assert own["aliases"] == ["ws", "websocket", "faye", "uws"]


def test_transformers_that_can_not_be_used(tmp_path: Path) -> None:
    info = tmp_path / "fake_cli-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-cli\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ahtransport.transformers]\nbroken = fake_cli_none:T\n")
    sys.path.insert(0, str(tmp_path))
    result = run("transformers")
    assert "can't be used: fake_cli_none:T of fake-cli is not there" in result.output
    (broken,) = [one for one in json.loads(run("transformers", "--json").output) if one["name"] == "broken"]
    assert broken["loads"] is False


def test_no_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("sys.meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()])
    assert run("transformers").output == "none\n"


# --- init --------------------------------------------------------------------------------------------------------


def test_init_writes_a_project_with_every_option_explained(tmp_path: Path) -> None:
    result = run("init", "chat room")
    assert result.exit_code == 0
    project = tmp_path / "chat room"
    assert sorted(path.name for path in project.rglob("*")) == ["ahtransport.toml", "app.py", "index.html", "public"]
    assert str(os.path.join("chat room", "app.py")) in result.output
    text = (project / "ahtransport.toml").read_text("utf-8")
    assert all(f"{key.rpartition('.')[2]} = " in text for key in OPTIONS)
    config = load_config(project / "ahtransport.toml", environ={})
    assert config == Config().replace(server_name="chat room")
    assert config.origin("server_name") == str(project / "ahtransport.toml")


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")
    assert refused("init", ".") == "app.py exists already, so nothing has been written; choose another directory"
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]
    assert (tmp_path / "app.py").read_text() == "mine"
    (tmp_path / "file").write_text("")
    assert run("init", "file").exit_code == 2
    assert refused("init", "file/below").startswith(f"file{os.sep}below: ")


def test_init_works_in_the_working_directory(tmp_path: Path) -> None:
    assert run("init", ".").exit_code == 0
    assert load_config("ahtransport.toml").general.server_name == tmp_path.name


# --- serve: what can go wrong ------------------------------------------------------------------------------------


def test_serve_names_what_is_not_there(tmp_path: Path) -> None:
    app(tmp_path / "realtime.py")
    (tmp_path / "sub").mkdir()
    assert refused("serve", "realtim.py") == "there is no file realtim.py; did you mean realtime.py?"
    assert refused("serve", "zzz/app.py") == "there is no file zzz/app.py"
    assert (
        refused("serve", "sub/") == f"sub/ is a directory; name a file in it, such as {os.path.join('sub', 'app.py')}"
    )
    assert refused("serve", "zzz_none.app:x") == "there is no module 'zzz_none.app', here or installed"


def test_serve_names_the_attribute_that_is_not_there(tmp_path: Path) -> None:
    app(tmp_path / "realtime.py")
    assert refused("serve", "realtime.py:servr") == "realtime.py has no 'servr'; did you mean 'server'?"
    assert refused("serve", "realtime:application") == "realtime has no 'application'; did you mean 'server'?"
    assert refused("serve", "realtime:other") == "realtime:other is not a Server but an int; did you mean 'server'?"
    assert refused("serve", "realtime:server.url") == (
        "realtime:server.url is not a Server but a str; did you mean 'server'?"
    )
    (tmp_path / "empty.py").write_text("server = 'x'\n")
    assert refused("serve", "empty.py") == "empty.py:server is not a Server but a str"


def test_serve_shows_the_traceback_of_an_application_that_can_not_be_imported(tmp_path: Path) -> None:
    (tmp_path / "helper_module.py").write_text("def f():\n    return 1 / 0\n")
    (tmp_path / "failing.py").write_text("import helper_module\nhelper_module.f()\n")
    text = refused("serve", "failing.py")
    assert text.startswith("failing.py can't be imported:\n\nTraceback (most recent call last):\n  File ")
    assert f'File "{tmp_path / "failing.py"}", line 2' in text.splitlines()[3]
    assert text.endswith("ZeroDivisionError: division by zero")
    assert "importlib" not in text
    assert "_cli" not in text
    assert "failing" not in sys.modules
    assert refused("serve", "failing:server").startswith("failing can't be imported:\n\nTraceback")
    (tmp_path / "missing.py").write_text("import zzz_none\n")
    assert refused("serve", "missing").endswith("ModuleNotFoundError: No module named 'zzz_none'")
    (tmp_path / "broken.py").write_text("x = (\n")
    text = refused("serve", "broken.py")
    assert text.startswith("broken.py can't be imported:\n\n  File ")
    assert "SyntaxError: '(' was never closed" in text
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    assert refused("serve", "exits.py") == "exits.py ended the program while it was imported (exit code 3)"


def test_serve_takes_a_file_of_a_package_with_its_relative_imports(tmp_path: Path) -> None:
    app(tmp_path / "shop" / "inner" / "live.py")
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "inner" / "__init__.py").write_text("")
    (tmp_path / "shop" / "door.py").write_text("from .inner.live import server\n")
    assert run("config", "shop/door.py").exit_code == 0
    assert run("config", "shop.inner.live:server").exit_code == 0
    assert sys.modules["shop.door"].__file__ == str(tmp_path / "shop" / "door.py")


def test_a_file_may_have_the_name_of_any_module(tmp_path: Path) -> None:
    for name in ("zipapp.py", "json.py", "my.app.py"):
        app(tmp_path / name)
        assert run("config", name).exit_code == 0
    assert sys.modules["json"] is json
    assert sys.modules["zipapp_application"].server.config.servers.web.port == 7
    assert sys.modules["my_app"].other == 5


def test_h17_serve_refuses_what_the_configuration_refuses(tmp_path: Path) -> None:
    app(tmp_path / "realtime.py")
    assert refused("serve", "realtime.py", "--transformer", "sockjs").startswith("unknown transformer 'sockjs'")
    assert refused("demo", "--transformer", "websokets").endswith("did you mean 'websockets'?")


@pytest.mark.parametrize("command", [["demo"], ["serve", "realtime.py"]])
def test_h17_a_port_in_use(tmp_path: Path, command: list[str]) -> None:
    app(tmp_path / "realtime.py")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = refused(*command, "--port", str(port))
    assert text == f"port {port} of 127.0.0.1 is in use; choose another with --port (0: any free one)"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "192.0.2.1 is no address of this machine; see servers.web.host or --host"),
        ("name.invalid", "there is no host 'name.invalid'; see servers.web.host or --host"),
    ],
)
def test_a_host_that_is_not_ours(host: str, message: str) -> None:
    assert refused("demo", "--port", "0", "--host", host) == message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "port 80 of 127.0.0.1 is not for everybody"),
        (OSError(97, "Address family not supported"), "can't listen on port 80 of 127.0.0.1: [Errno 97]"),
    ],
)
def test_other_reasons_not_to_listen(monkeypatch: pytest.MonkeyPatch, error: OSError, message: str) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("trio.open_tcp_listeners", refuse)
    assert refused("demo", "--port", "80").startswith(message)


def test_an_error_that_is_no_matter_of_listening_is_not_explained_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr("trio.open_tcp_listeners", fail)
    with pytest.raises((LookupError, ExceptionGroup)):
        run("demo", "--port", "0")
