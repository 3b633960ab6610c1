"""The targets, a module per layer; importing this package registers them."""

from __future__ import annotations

from fuzz.core import TARGETS
from fuzz.targets import compression, config, engineio, files, http, messages, requests, socketio, verbs, websocket

__all__ = [
    "TARGETS",
    "compression",
    "config",
    "engineio",
    "files",
    "http",
    "messages",
    "requests",
    "socketio",
    "verbs",
    "websocket",
]
