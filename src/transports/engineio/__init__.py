"""The Engine.IO transformer: protocol 4, by long-polling, by WebSocket, and from one to the other.

What is exported beside it is for transformers on top, such as Socket.IO's.
"""

from __future__ import annotations

from ahtransport.transports.engineio._codec import encode_message
from ahtransport.transports.engineio._session import Session
from ahtransport.transports.engineio._state import Carried
from ahtransport.transports.engineio._transformer import EngineIOTransformer

__all__ = ["Carried", "EngineIOTransformer", "Session", "encode_message"]
