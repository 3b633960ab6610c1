"""A chat that works at once: ``python -m ahtransport demo``.

It is made of what every application is made of: actions, rooms, a chat middleware and static files.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from ahtransport import ActionServer, Request, Response
from ahtransport.demo._chat import add_chat
from ahtransport.demo._linked import add_linked_session
from ahtransport.demo._project import add_default_actions

__all__ = ["add_chat", "add_default_actions", "add_linked_session", "make_server", "static_directory"]


def static_directory() -> str:
    """Give the directory that holds the pages."""
    return str(resources.files(__package__) / "static")


def make_server(**options: Any) -> ActionServer:
    """Make the demo's server: ActionHero's default actions a chat page at ``/``, and ``/linkedSession.html``.

    Args:
        options: as :class:`ahtransport.Server` takes them. Configuration files are not looked for unless ``config``
            says so: the demo works the same in every directory.

    Raises:
        ConfigError: an option is unknown, of the wrong type or impossible.
    """
    defaults: dict[str, Any] = {
        "config": {},
        "server_name": "ahtransport demo",
        "description": "A chat on ahtransport",
        "public": [static_directory()],
        "client_js_write": False,  # a package's own directory is nothing to write to; it is served from memory
        "credentials": False,  # the page is the server's own: no other origin needs its cookies
    }
    server = ActionServer(**{**defaults, **options})
    add_default_actions(server)
    add_chat(server)
    add_linked_session(server)
    page = (resources.files(__package__) / "static" / "chat.html").read_bytes()

    @server.use
    def home(request: Request) -> Response | None:
        """Show the chat at the root."""
        if request.path != "/" or request.method not in ("GET", "HEAD"):
            return None
        return Response(
            200,
            page,
            [
                ("Content-Type", "text/html; charset=utf-8"),
                ("Cache-Control", "no-cache"),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )

    return server
