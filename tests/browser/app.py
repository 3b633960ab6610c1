"""The servers of the browser tests, as a program: the demo, the pages beside this file, and somebody at the door.

It reads the options of a server as JSON from each line of its input, starts that server in a process of its own (by
forking, since the tests start very many) and writes its process id and its port.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import trio

from ahtransport import Param, Reject, Request, Response
from ahtransport.demo import make_server, static_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).resolve().parent
PAGES = HERE / "pages"
EXAMPLE = (HERE.parent / "clients" / "actionhero_example.js").read_text(encoding="utf-8")
TUTORIAL = f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>the example of ActionHero's tutorial</title>
    <link rel="icon" href="data:,">
    <script>
      const shown = []
      function appendMessage (message) {{ shown.push(message) }}
    </script>
    <script src="/public/javascript/ActionheroWebsocketClient.js"></script>
    <script>
{EXAMPLE}
    </script>
  </head>
  <body></body>
</html>
"""
PLAIN = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>plain Primus</title>
    <link rel="icon" href="data:,">
    <script src="PATHNAME/primus.js"></script>
  </head>
  <body></body>
</html>
"""
HTML = [("Content-Type", "text/html; charset=utf-8")]
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def authorize(request: Request) -> None:
    """Refuse two sorts of people, for two reasons."""
    token = request.query.get("token")
    if token == "wrong":
        raise Reject(401, "who are you?")
    if token == "banned":
        raise Reject(403, "not you again")


def build(**options: Any) -> Any:
    """Make the server."""
    options = {"public": [str(PAGES), static_directory()], **options}
    server = make_server(**options)
    server.authorize(authorize)

    @server.action
    def echo(connection: Any, text: Annotated[str, Param(formatter=str)], number: int = 1) -> dict[str, Any]:
        """Give back what came."""
        return {"text": text, "number": number}

    @server.action
    def someAction(connection: Any, key: str, value: str) -> dict[str, Any]:
        """Do what ActionHero's tutorial asks for."""
        return {"key": key, "value": value}

    @server.action(blocked_connection_types=["web"])
    async def alertMe(connection: Any) -> dict[str, Any]:
        """Send what the client's event "alert" is for."""
        await connection.send({"context": "alert", "message": "look"})
        return {}

    @server.action
    async def slow() -> dict[str, Any]:
        """Take longer than anybody waits."""
        await trio.sleep(3600)
        return {}

    @server.use
    def plain(request: Request) -> Response | None:
        """Serve a page that has Primus alone, from where this transformer has it."""
        if request.path != "/plain.html":
            return None
        (pathname,) = server.pathnames.values()
        return Response(200, PLAIN.replace("PATHNAME", pathname).encode(), HTML)

    @server.use
    def tutorial(request: Request) -> Response | None:
        """Serve the page with the tutorial's script."""
        if request.path != "/tutorial.html":
            return None
        return Response(200, TUTORIAL.encode(), HTML)

    @server.use
    def strict(request: Request) -> Response | None:
        """Allow pages below /strict/ nothing that they do not need."""
        if request.path.startswith("/strict/"):
            request.response_headers.append(("Content-Security-Policy", STRICT))
        return None

    return server


async def serve(options: dict[str, Any]) -> None:
    """Serve until SIGTERM; say who and where."""
    server = build(**options)
    with trio.open_signal_receiver(signal.SIGTERM) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heed, server, received)
            await nursery.start(server.serve)
            os.write(1, f"{os.getpid()} {server.port}\n".encode())


async def heed(server: Any, received: AsyncIterator[int]) -> None:
    await anext(received)
    server.shutdown()


def begin(options: dict[str, Any]) -> int:
    """Start a server in a process of its own, give its id."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(0)
    try:
        trio.run(serve, options)
    except BaseException:
        traceback.print_exc()
        os.write(1, b"failed\n")
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    begun = []
    try:
        for line in sys.stdin:
            begun.append(begin(json.loads(line)))
    finally:
        for pid in begun:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
