"""ahtransport: a realtime server on trio that lets you choose the transport with one option.

The door for applications. Authors of plug-ins go through :mod:`ahtransport.abc`, testers through
:mod:`ahtransport.testing`.
"""

from __future__ import annotations

from importlib.metadata import version as _version

from ahtransport._actions.inputs import Param
from ahtransport._actions.runner import ActionCall
from ahtransport._actions.server import ActionServer
from ahtransport._config import Config, load_config
from ahtransport._connection import Connection
from ahtransport._errors import (
    ActionError,
    AhTransportError,
    ConfigError,
    ConnectionClosed,
    ProtocolError,
    Reject,
    RoomError,
    UnknownTransformer,
)
from ahtransport._http import Request, Response
from ahtransport._listening import Namespace
from ahtransport._rooms import Rooms
from ahtransport._server import Server
from ahtransport._session import Session
from ahtransport._statistics import ServerStatistics
from ahtransport._transforms import Envelope

__version__ = _version("ahtransport")

__all__ = [
    "ActionCall",
    "ActionError",
    "ActionServer",
    "AhTransportError",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "Envelope",
    "Namespace",
    "Param",
    "ProtocolError",
    "Reject",
    "Request",
    "Response",
    "RoomError",
    "Rooms",
    "Server",
    "ServerStatistics",
    "Session",
    "UnknownTransformer",
    "__version__",
    "load_config",
]
