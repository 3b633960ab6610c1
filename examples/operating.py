"""What an operator sees: JSON log lines, /healthz, /metrics, and the same figures in the program.

Needs the extra ``prometheus``. Run it, connect some clients to it, then try::

    curl -i http://127.0.0.1:8080/healthz
    curl http://127.0.0.1:8080/metrics
    curl http://127.0.0.1:8080/busy

With ``shutdown_delay`` it goes on for five seconds after Ctrl+C, while ``/healthz`` says 503.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter

from ahtransport import Connection, Request, Response, Server

server = Server(port=8080, metrics="/metrics", log_format="json", shutdown_delay="5 s")
messages = Counter("chat_messages", "What people have said")  # the program's own; it is served along


@server.on_message
def said(connection: Connection, message: Any) -> None:
    messages.inc()
    server.broadcast(message)


async def busy(request: Request) -> Response:
    now = server.statistics()
    return Response.json(200, {"connections": sum(now.connections.values()), "backlog": now.backlog})


server.route("/busy", busy)

if __name__ == "__main__":
    server.run()
