"""The Socket.IO transformer: protocol 5 over Engine.IO 4, for stock Socket.IO clients."""

from __future__ import annotations

from ahtransport.transports.socketio._transformer import SocketIOTransformer

__all__ = ["SocketIOTransformer"]
