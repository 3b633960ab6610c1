"""The command line: ``ahtransport demo``, ``serve``, ``client``, ``config``, ``transformers``, ``init``."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from ahtransport import AhTransportError, Config, Server, __version__, load_config
from ahtransport._cli.apps import find_server, watched
from ahtransport._cli.project import create_project
from ahtransport._cli.reload import supervise
from ahtransport._cli.running import run, set_up_logging
from ahtransport._config import OPTIONS, to_toml
from ahtransport._registry import installed_transformers

__all__ = ["main"]

_F = TypeVar("_F", bound=Callable[..., Any])
_CONFIG = click.Path(exists=True, dir_okay=False)


class _Command(click.Command):
    """A command whose expected errors are one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AhTransportError as error:
            raise click.ClickException(str(error)) from error


class _Group(click.Group):
    command_class = _Command


def _listening(function: _F) -> _F:
    """Add the options of every command that listens."""
    for add in (
        click.option(
            "--transformer", metavar="NAME", help="What carries the messages; see `ahtransport transformers`."
        ),
        click.option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 or :: to be reached from elsewhere."),
        click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on; 0: any free one."),
        click.option("--socket", metavar="PATH", help="A Unix socket to listen on, instead of an address and a port."),
        click.option("--log-format", type=click.Choice(["text", "json"]), help="How the log is written."),
        click.option("-v", "--verbose", count=True, help="Log what happens; twice: everything."),
    ):
        function = add(function)
    return function


def _given(**options: Any) -> dict[str, Any]:
    """Keep the options that stand on the command line; the others leave the configuration as it is."""
    given = {name: value for name, value in options.items() if value is not None}
    if not given.keys().isdisjoint(("host", "port")):
        given.setdefault("socket", "")  # a port that is asked for here is not meant to lose to a socket of the file's
    return given


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ahtransport", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", count=True, help="Log what happens; twice: everything.")
@click.pass_context
def main(ctx: click.Context, verbose: int) -> None:
    """A realtime server that lets you choose the transport with one option."""
    ctx.obj = verbose


@main.command()
@_listening
@click.pass_obj
def demo(already_verbose: int, /, verbose: int, **options: Any) -> None:
    """Serve a chat that works at once, at http://127.0.0.1:8080 unless told otherwise."""
    from ahtransport.demo import make_server

    logs = set_up_logging(already_verbose + verbose)
    run(make_server(**_given(**options)), logs)


@main.command()
@click.argument("target", metavar="MODULE_OR_FILE[:SERVER]")
@_listening
@click.option("--config", type=_CONFIG, metavar="FILE", help="The configuration, instead of ./ahtransport.toml.")
@click.option("--reload", is_flag=True, help="Start again when a .py or .toml file changes.")
@click.pass_obj
def serve(already_verbose: int, /, target: str, config: str | None, reload: bool, verbose: int, **options: Any) -> None:
    """Serve an application: app.py, app.py:server or package.module:server.

    Options given here win over the configuration and over what the application itself says.
    """
    verbosity = already_verbose + verbose
    logs = set_up_logging(verbosity)
    given = _given(**options)
    if reload:
        command = [sys.executable, "-m", "ahtransport", "serve", *["-v"] * verbosity]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in _given(config=config, **options).items()]
        raise SystemExit(trio.run(supervise, [*command, "--", target], watched(target)))
    server = find_server(target, config)
    server.configure(**given)
    run(server, logs)


@main.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--app", metavar="MODULE_OR_FILE[:SERVER]", help="For this application, with its plug-ins and actions.")
@click.option("--config", type=_CONFIG, metavar="FILE", help="The configuration, instead of ./ahtransport.toml.")
@click.option("--transformer", metavar="NAME", help="What carries the messages; see `ahtransport transformers`.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the hash, and each file's path and sizes in bytes.")
def client(directory: Path, app: str | None, config: str | None, transformer: str | None, as_json: bool) -> None:
    """Write the generated browser client into a directory, for another web server to serve."""
    server = Server(config=config) if app is None else find_server(app, config)
    server.configure(**_given(transformer=transformer))
    files = server.client_files()
    try:
        written = [(path, path.read_bytes()) for path in files.write(directory)]
    except OSError as error:
        raise click.ClickException(str(error)) from error
    sizes = [(str(path), len(content), len(gzip.compress(content, 9, mtime=0))) for path, content in written]
    if as_json:
        entries = [{"path": path, "bytes": size, "gzip": packed} for path, size, packed in sizes]
        click.echo(json.dumps({"hash": files.hash, "files": entries}, indent=2))
        return
    for path, size, packed in sizes:
        click.echo(f"{path:<56} {size:>8,} bytes, {packed:>7,} with gzip")


@main.command("config")
@click.argument("target", metavar="[MODULE_OR_FILE[:SERVER]]", required=False)
@click.option(
    "--config", "file", type=_CONFIG, metavar="FILE", help="The configuration, instead of ./ahtransport.toml."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON: values as a tree, origins by key.")
def show_config(target: str | None, file: str | None, as_json: bool) -> None:
    """Print the effective configuration and where each value came from: as TOML that could be a file.

    With an application, what it says itself counts, too.
    """
    config = load_config(file) if target is None else find_server(target, file).config
    tree = config.to_dict()
    if as_json:
        origins = {key: config.origin(key) for key in OPTIONS}
        click.echo(json.dumps({"values": tree, "origins": origins}, indent=2))
    else:
        click.echo(_as_toml(config, tree))


def _as_toml(config: Config, tree: dict[str, Any]) -> str:
    lines: list[str] = []
    section = ""
    for key in OPTIONS:
        value: Any = tree
        for part in key.split("."):
            value = value[part]
        parent, _, name = key.rpartition(".")
        if parent != section:
            section = parent
            lines += ["", f"[{section}]"]
        lines.append(f"{f'{name} = {to_toml(value)}':<48} # {config.origin(key)}")
    return "\n".join(lines[1:])


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def transformers(as_json: bool) -> None:
    """List the transformers that are installed, and from which package."""
    found = installed_transformers()
    if as_json:
        click.echo(json.dumps([{**asdict(one), "loads": not one.error} for one in found], indent=2))
        return
    for one in found:
        click.echo(f"{one.name:<16} {f'{one.distribution} {one.version}':<24} {one.module}")
        if one.aliases:
            click.echo(f"{'':<16} also called {', '.join(one.aliases)}")
        if one.error:
            click.echo(f"{'':<16} can't be used: {one.error}")
    if not found:
        click.echo("none")


@main.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def init(directory: Path) -> None:
    """Write a project to start from: app.py, ahtransport.toml with every option explained, public/index.html."""
    for path in create_project(directory):
        click.echo(f"wrote {path}")
    click.echo(f"\nStart it:\n  cd {directory}\n  python -m ahtransport serve app.py --reload")
