"""The door for testers: run a server without sockets, talk to it, and hold a transformer to its contract.

Nothing here is needed to serve. Only :class:`TransformerContract` needs pytest and pytest-trio
(``pip install "ahtransport[test]"``).

A test of an application, in no time although it waits for a minute::

    async def test_idle_clients_are_pinged(autojump_clock):
        async with memory_host(server) as host:
            async with connect_websocket(host.dial) as client:
                await trio.sleep(60)

A transformer of your own passes the whole contract, on memory and on real sockets, with this file::

    from ahtransport.testing import TransformerContract, Variant, connect_websocket
    from mine import MyTransformer

    class TestMine(TransformerContract):
        variant = Variant("mine", MyTransformer, connect_websocket)
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ahtransport.testing._clients import Dial, MessageClient, PrimusClient, connect_websocket
from ahtransport.testing._engineio import EngineIOClient, connect_engineio
from ahtransport.testing._hosts import MemoryHost, leftovers, memory_host, running
from ahtransport.testing._http import HttpResponse, Refused, fetch
from ahtransport.testing._socketio import SocketIOClient, connect_socketio
from ahtransport.testing._stage import Record, Stage
from ahtransport.testing._streams import MemoryStream, memory_stream_pair
from ahtransport.testing._variants import VARIANTS, Variant
from ahtransport.testing._websocket import Frame, WebSocketClient, frame_bytes

if TYPE_CHECKING:
    from ahtransport.testing._contract import TransformerContract

__all__ = [
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


# pytest wants to know of modules with assertions before they are imported.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite("ahtransport.testing._contract")


def __getattr__(name: str) -> Any:
    if name == "TransformerContract":  # made on demand: only this one needs pytest
        from ahtransport.testing._contract import TransformerContract

        return TransformerContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
