"""ActionHero's verb ``file``, from the message to the disk and back."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ahtransport import ActionServer
from ahtransport._parsers import JSONParser
from ahtransport.testing import connect_websocket, leftovers, memory_host
from fuzz.core import no_tracebacks, target, text_of

if TYPE_CHECKING:
    from ahtransport import Connection

_LIMIT = 40  # bytes of a file that is sent
_PUBLIC = ("simple.html", "deep/index.html", "100%.txt", "grüß.txt", ".well-known/x.json", "a b", "%2e")
_SECOND = ("simple.html", "only.txt")
_SECRET = ("secret.txt", "public-secret/secret.txt", "public/.hidden", "public/deep/..secret")
_LINKS = {
    "in.txt": "simple.html",
    "inner": "deep",
    "out.txt": "../secret.txt",
    "up": "..",
    "second": "../second",
    "root": "/",
    "loop": "loop",
    "nowhere": "missing",
}
_ERRORS = ("that file is not found", "file is a required param to send a file")
_TOO_LARGE = "that file is too large to be sent as a message"


def _fill(top: Path) -> None:
    """Make the public directories, with what must be found, and what must not in and beside them."""
    for directory, names in (("public", _PUBLIC), ("second", _SECOND), (".", _SECRET)):
        for name in names:
            path = top / directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{directory}: {name}" if names is not _SECRET else f"secret: {name}", "utf-8")
    public = top / "public"
    (public / "large.txt").write_text("x" * (_LIMIT + 1))
    os.mkfifo(public / "fifo")
    for name, goal in _LINKS.items():
        (public / name).symlink_to(goal)


def _named(top: Path, name: str) -> list[Path]:
    """Say which files a name may stand for, as the operating system sees it, wherever they are."""
    parts = [part for part in name.split("/") if part]
    if parts[:1] == ["public"]:
        del parts[0]
    found = []
    for directory in (top / "public", top / "second"):
        path = Path(os.path.realpath(directory.joinpath(*parts)))
        found.append(path / "index.html" if path.is_dir() else path)
    return found


def _check(top: Path, name: Any, reply: dict[str, Any]) -> None:
    """Judge one reply: the file that was asked for, all of it, or one of three errors."""
    if "error" in reply:
        text = reply["error"]
        assert reply == {"error": text, "content": None, "mime": "text/html", "length": len(text)}
        if text == _TOO_LARGE:
            assert isinstance(name, str)
            assert name.rstrip("/").endswith("large.txt")
        else:
            assert text in _ERRORS
            assert not isinstance(name, str) or name not in _PUBLIC, f"{name} is there"
        return
    assert reply.keys() == {"content", "mime", "length", "lastModified"}
    content = reply["content"]
    assert content.startswith(("public: ", "second: ")), f"{name!r} is nobody's business"
    assert reply["length"] == len(content.encode()) <= _LIMIT
    assert isinstance(name, str)
    assert content in [path.read_text("utf-8") for path in _named(top, name) if path.is_file()], f"{name!r} is another"


def _requests(data: bytes) -> list[dict[str, Any]]:
    """Make a request of each line: it is the name of a file, or JSON that is put in its place."""
    parser = JSONParser()
    requests: list[dict[str, Any]] = []
    for line in data.split(b"\n")[:20]:
        name: Any = text_of(line)
        if line[:1] == b"=":
            try:
                name = parser.decode(line[1:])
                json.dumps(name, allow_nan=False)
            except ValueError:
                continue
        requests.append({"event": "file", "file": name, "messageId": len(requests) + 1})
    return requests


async def _ask(top: Path, requests: list[dict[str, Any]]) -> None:
    public = [str(top / "public"), str(top / "second"), str(top / "missing")]
    server = ActionServer(config={}, public=public, max_file=_LIMIT, ping_interval=0, welcome_message="")
    opened: list[Connection] = []
    closed: list[Connection] = []
    server.on_open(opened.append)
    server.on_close(lambda connection, code, reason: closed.append(connection))
    with trio.fail_after(20):
        async with memory_host(server) as host:
            async with connect_websocket(host.dial) as client:
                for request in (*requests, {"event": "detailsView", "messageId": "last"}):
                    await client.send_encoded(json.dumps(request))
                for request in requests:
                    reply = await client.receive()
                    assert reply.pop("context") == "response"
                    assert reply.pop("messageId") == request["messageId"]
                    _check(top, request["file"], reply)
                assert (await client.receive())["messageId"] == "last", "a request had two replies"
                assert opened == list(server.connections.values())
                await client.close()
            while len(closed) < len(opened) or leftovers(server):  # noqa: ASYNC110 -- there is nothing that would tell
                await trio.sleep(0.001)
    assert opened == closed


_NAMES = (
    "deep/../../secret.txt",
    "../public-secret/secret.txt",
    "....//secret.txt",
    "..\\secret.txt",
    "%2e%2e/secret.txt",
    "..%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "..%c0%afsecret.txt",
    "simple.html\0.txt",
    "/etc/hostname",
    "root/etc/hostname",
    "file:///etc/hostname",
    "public/public/simple.html",
    "public/../.hidden",
    "/simple.html",
    "simple.html/",
    "SIMPLE.HTML",
    "deep/",
    "fifo",
    "large.txt",
    "only.txt",
    "second/only.txt",
    "up/secret.txt",
    "up/public/simple.html",
    "con.txt",
    "\ud800",
    "",
)


@target(
    [
        "\n".join((*_PUBLIC, *_LINKS)).encode(),
        "\n".join(_SECRET).encode(),
        *(name.encode("utf-8", "surrogatepass") for name in _NAMES),
        b'=["simple.html"]\n={"toString":"simple.html"}\n=null\n=true\n=1e400\n=[]\n="simple.html"',
    ],
    slow=True,
)
def file_verb(data: bytes) -> None:
    """Any names of files, a line each: one reply each, never another file than the one that is named and public."""

    # The clock is the real one: files are looked for in a thread, for which a virtual one does not wait.
    with no_tracebacks(), tempfile.TemporaryDirectory() as directory:
        top = Path(os.path.realpath(directory))
        _fill(top)
        trio.run(_ask, top, _requests(data))
