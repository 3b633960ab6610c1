"""The generated client of one server: made when it is asked for, served from memory, written at start-up."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import trio

from ahtransport._barrier import contained
from ahtransport._errors import ConfigError
from ahtransport._http import Response
from ahtransport._log import fields, get_logger
from ahtransport._web.conditional import Validators, not_modified
from ahtransport._web.files import is_plain_name
from ahtransport.client._assemble import CLIENT, Client, Parts, assemble, identifier
from ahtransport.client._files import ClientFiles, write_file
from ahtransport.client._options import Wire, client_config, parser_kind
from ahtransport.client._sources import source, to_json
from ahtransport.client._types import declarations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from ahtransport._config import Config
    from ahtransport._http import Request
    from ahtransport.abc import Parser

__all__ = ["BrowserClient"]

_log = get_logger()

_SCRIPT: Final = "application/javascript; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_MIMES: Final = {".js": _SCRIPT, ".min.js": _SCRIPT, ".mjs": _SCRIPT, ".d.ts": _TEXT, ".d.mts": _TEXT}


#: For how long a server's start waits for the disk, seconds.
PATIENCE: Final = 2.0


class BrowserClient:
    """The generated client of one server. Nothing is read or made before somebody asks for it.

    Args:
        config: the server's.
        wires: the client sides of the transformers that are mounted, the default first.
        parser: the server's.
        plugins: gives the JavaScript of plug-ins by name.
        actions: gives the declared actions, for their types.

    Attributes:
        trouble: why there is no client, and what to do; empty when there is one.

    Raises:
        ConfigError: an option of the client is impossible.
    """

    def __init__(
        self,
        config: Config,
        wires: Sequence[Wire],
        parser: Parser,
        plugins: Callable[[], Mapping[str, str]] = dict,
        actions: Callable[[], Iterable[Any]] = tuple,
    ) -> None:
        websocket = config.servers.websocket
        self.name = websocket.client_js_name
        self._public = config.servers.web.public
        self._writes = websocket.client_js_write
        self._plugins = plugins
        self._actions = actions
        self._folders = tuple(part for part in re.split(r"[/\\]", websocket.client_js_path) if part not in ("", "."))
        path = "/".join(("", *self._folders, self.name))
        self._urls = {f"{at}{path}{ext}": ext for at in ("", "/public") for ext in _MIMES} if self.name else {}
        # Where a transformer stands among those that have a client side; others have to make do without.
        self._places = [index for index, wire in enumerate(wires) if wire.modules]
        self._wires = [wires[index] for index in self._places]
        kind = parser_kind(parser)
        self.trouble = _trouble(wires, self._wires, parser, kind)
        self._config = ""
        if not self.trouble:
            options = {"name": identifier(self.name), **client_config(config, self._wires, kind)}
            try:
                self._config = to_json(options)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"servers.websocket.client: {error}") from error
            self._kinds = {kind, *(str(server["options"].get("parser")) for server in options["servers"])}
            self._custom = getattr(parser, "client", "")

    # -- what it is made of

    @property
    def _client(self) -> Client:
        """Its texts. Plug-ins may be added until it is asked for; the last ones are kept for all servers together."""
        parsers = []
        if "msgpack" in self._kinds:
            parsers.append(("msgpack", source("msgpack.js")))
        if "custom" in self._kinds:
            parsers.append(("custom", self._custom))
        modules = {name: text for wire in self._wires for name, text in wire.modules.items()}
        return assemble(
            Parts(
                version=_version(),
                name=self.name,
                config=self._config,
                parsers=tuple(parsers),
                wires=tuple(modules.items()),
                plugins=tuple(self._plugins().items()),
            )
        )

    @property
    def hash(self) -> str | None:
        """What clients of these options show when they connect; None: there is no client."""
        return None if self.trouble else self._client.hash

    def content(self, extension: str) -> bytes:
        """Give one of the files by its extension, such as ``".min.js"``."""
        if extension in (".d.ts", ".d.mts"):
            name = identifier(self.name) or CLIENT
            wires = {module for wire in self._wires for module in wire.modules}
            is_module = extension == ".d.mts"
            types = declarations(name, self._actions(), module=is_module, parsers=self._kinds, wires=wires)
            return types.encode()
        return self._client.script(extension)

    def files(self) -> ClientFiles:
        """Give all files.

        Raises:
            ConfigError: there is no client; says why.
        """
        if self.trouble:
            raise ConfigError(self.trouble)
        name = self.name or CLIENT
        contents = {f"{name}{extension}": self.content(extension) for extension in _MIMES}
        return ClientFiles(name, self._client.hash, contents, self._client.primus(0))

    # -- served from memory

    def answer(self, request: Request) -> Awaitable[Response] | None:
        """Answer a request for one of the files; None: it is for something else."""
        path = request.path
        extension = self._urls.get(unquote(path) if "%" in path else path)
        return None if extension is None else self._answer(request, extension, None)

    async def answer_primus(self, request: Request, place: int) -> Response:
        """Answer a request for ``primus.js``.

        Args:
            request: the request.
            place: which of the server's transformers was asked.
        """
        return await self._answer(request, ".js", place)

    async def _answer(self, request: Request, extension: str, place: int | None) -> Response:
        always = [("X-Content-Type-Options", "nosniff")]
        if place is None:  # what is served by a transformer gets its CORS headers from there
            always.append(("Access-Control-Allow-Origin", "*"))
        if request.method not in ("GET", "HEAD"):
            return Response.text(405, "method not allowed", [("Allow", "GET, HEAD"), *always])
        if self.trouble or (place is not None and place not in self._places):
            return Response.text(404, self.trouble or "this transformer has no client side", always)
        if place is not None:
            body = await trio.to_thread.run_sync(self._client.primus, self._places.index(place), abandon_on_cancel=True)
        elif _MIMES[extension] == _SCRIPT:
            body = await trio.to_thread.run_sync(self._client.script, extension, abandon_on_cancel=True)
        else:
            body = self.content(extension)
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = [("ETag", etag), ("Cache-Control", "no-cache"), *always]
        # (No date is known: a condition that has only a date is none.)
        if "if-none-match" in request.headers and not_modified(request.headers, Validators(etag, 0)):
            return Response(304, b"", headers)
        return Response(200, body, [("Content-Type", _MIMES[extension]), *headers])

    # -- written at start-up

    async def begin(self, nursery: trio.Nursery) -> None:
        """Write the files below the first public directory, when there is one; done when this returns, unless the disk
        takes its time. What does not work is logged, once: they are served from memory anyway."""
        if not self.name:
            return
        path = "/".join((*self._folders, f"{self.name}.js"))
        if self.trouble:
            _log.warning("%s", self.trouble, extra=fields("client.missing"))
        elif not self._has_place():
            return
        elif not all(map(is_plain_name, path.split("/"))):
            text = "the browser client is served from memory: %r can't be the path of a file everywhere"
            _log.warning(text, path, extra=fields("client.unwritten"))
        else:
            done = trio.Event()
            nursery.start_soon(self._write_in_thread, done)
            with trio.move_on_after(PATIENCE):
                await done.wait()

    async def _write_in_thread(self, done: trio.Event) -> None:
        with contained("writing the browser client"):
            # What other tasks may change meanwhile, actions and plug-ins, is read here, the rest is the thread's.
            client = self._client
            types = {extension: self.content(extension) for extension, mime in _MIMES.items() if mime == _TEXT}
            try:
                await trio.to_thread.run_sync(self._write, client, types, abandon_on_cancel=True)
            except OSError as error:
                text = "the browser client can't be written and is served from memory: %s"
                _log.warning(text, error, extra=fields("client.unwritten"))
        done.set()

    def _has_place(self) -> bool:
        # Not worth a thread: most servers without a directory of files are the ones that are to start quickly.
        return self._writes and bool(self._public) and os.path.isdir(self._public[0])

    def _write(self, client: Client, types: Mapping[str, bytes]) -> None:
        folder = Path(self._public[0], *self._folders)
        folder.mkdir(parents=True, exist_ok=True)
        for extension in _MIMES:
            write_file(folder / f"{self.name}{extension}", types.get(extension) or client.script(extension))


@functools.cache
def _version() -> str:
    return version("ahtransport")


def _trouble(wires: Sequence[Wire], usable: Sequence[Wire], parser: Parser, kind: str) -> str:
    """Say why there can be no client; empty when there can."""
    own = 'or serve one of your own and set servers.websocket.client_js_name = ""'
    if not usable:
        names = ", ".join(wire.name for wire in wires) or "none"
        return f"no browser client: the transformer ({names}) has no client_modules; choose another as well, {own}"
    if kind == "custom" and not isinstance(getattr(parser, "client", None), str):
        return (
            f"no browser client: the parser {type(parser).__name__} has no client side; give it an attribute `client`, "
            f"JavaScript that sets parsers.custom = {{ encode, decode }}, {own}"
        )
    return ""
