"""The public names are pinned: adding or losing one is a decision, not an accident."""

from __future__ import annotations

import importlib
import inspect

import pytest

import ahtransport
import ahtransport.abc
import ahtransport.testing

APPLICATIONS = [
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
PLUG_INS = [
    "Ack",
    "Control",
    "Core",
    "Event",
    "Headers",
    "Later",
    "Link",
    "Message",
    "Outlet",
    "Pacer",
    "Packet",
    "Parser",
    "Payload",
    "Peer",
    "PrimusCodec",
    "ProtocolError",
    "Receiver",
    "Reject",
    "Request",
    "Response",
    "Seat",
    "Timer",
    "Transformer",
    "WebSocket",
]
TESTERS = [
    "VARIANTS",
    "Dial",
    "EngineIOClient",
    "Frame",
    "HttpResponse",
    "MemoryHost",
    "MemoryStream",
    "MessageClient",
    "PrimusClient",
    "Record",
    "Refused",
    "SocketIOClient",
    "Stage",
    "TransformerContract",
    "Variant",
    "WebSocketClient",
    "connect_engineio",
    "connect_socketio",
    "connect_websocket",
    "fetch",
    "frame_bytes",
    "leftovers",
    "memory_host",
    "memory_stream_pair",
    "running",
]
CLIENT = ["BrowserClient", "ClientFiles", "Wire"]
DOORS = {
    "ahtransport": APPLICATIONS,
    "ahtransport.abc": PLUG_INS,
    "ahtransport.client": CLIENT,
    "ahtransport.testing": TESTERS,
}


@pytest.mark.parametrize("door", DOORS)
def test_names(door: str) -> None:
    assert sorted(importlib.import_module(door).__all__) == sorted(DOORS[door])


@pytest.mark.parametrize("door", DOORS)
def test_every_name_is_there_and_explained(door: str) -> None:
    module = importlib.import_module(door)
    for name in DOORS[door]:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{door}.{name} has no docstring"


def test_the_door_for_applications_is_small() -> None:
    assert len(ahtransport.__all__) <= 25


def test_nothing_else_is_public() -> None:
    public = {name for name, thing in vars(ahtransport).items() if not name.startswith("_") and name != "annotations"}
    modules = {name for name in public if inspect.ismodule(getattr(ahtransport, name))}
    assert public - modules == {name for name in APPLICATIONS if not name.startswith("_")}
    assert modules <= {"abc", "cli", "client", "demo", "testing", "transports"}


def test_errors_are_one_tree() -> None:
    for name in APPLICATIONS:
        thing = getattr(ahtransport, name)
        if inspect.isclass(thing) and issubclass(thing, Exception):
            assert issubclass(thing, ahtransport.AhTransportError)
