"""The Engine.IO transformer: protocol 4, by long-polling, by WebSocket, and from one to the other."""

from __future__ import annotations

from ahtransport.transports.engineio._transformer import EngineIOTransformer

__all__ = ["EngineIOTransformer"]
