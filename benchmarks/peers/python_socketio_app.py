"""python-socketio on asyncio: ``uvicorn python_socketio_app:app --port PORT --loop uvloop``."""

from __future__ import annotations

from typing import Any

import socketio

sio = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(sio)


@sio.event
async def message(sid: str, data: Any) -> None:
    """Send to all what begins with B, and the rest back."""
    if isinstance(data, str) and data[:1] == "B":
        await sio.emit("message", data)
    else:
        await sio.emit("message", data, to=sid)
