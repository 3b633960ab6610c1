"""The server of the browser tests, as a program: the demo, the pages beside this file, and somebody at the door.

``python app.py '{"transformer": "engine.io", "port": 8080}'`` takes the server's options as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import trio

from ahtransport import Param, Reject, Request, Response
from ahtransport.demo import make_server, static_directory

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


async def main(options: dict[str, Any]) -> None:
    server = build(**options)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        print(server.port, flush=True)


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
