"""In which ways the tests that depend on a transformer are run."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ahtransport.testing._clients import connect_websocket
from ahtransport.testing._engineio import connect_engineio
from ahtransport.testing._socketio import connect_socketio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from ahtransport.testing._clients import MessageClient
    from ahtransport.testing._engineio import Mode

__all__ = ["VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """One way to talk to one transformer: a transformer with two transports has at least two variants.

    Attributes:
        name: of the variant, such as ``"engine.io polling"``.
        transformer: the option ``transformer``: a name, or a class.
        connect: ``async with connect(dial, path, query=…, headers=…, parser=…) as client`` makes a
            :class:`~ahtransport.testing.MessageClient`, or raises :class:`~ahtransport.testing.Refused`.
        transport: what ``connection.transport`` says once the client is there.
        pathname: where the transformer is mounted by default.
        options: further options of the server.
        codes: whether close codes and reasons reach the other side.
        primus: whether Primus' own heartbeats and ids are spoken.
        heartbeat: whether the transformer has a heartbeat beneath that of Primus.
        parsers: whether messages are written by the server's parser (the option ``parser``).
        overhead: how many bytes come on the wire with the encoded message.
        forgiving: whether a message that can't be decoded leaves its connection open.
        surviving: whether a function that fails on an event costs an acknowledgement, and not the connection.
        statuses: whether an authorizer's refusal has an HTTP status and headers.
    """

    name: str
    transformer: str | type
    connect: Callable[..., AbstractAsyncContextManager[MessageClient]]
    transport: str = "websocket"
    pathname: str = "/primus"
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    codes: bool = True
    primus: bool = True
    heartbeat: bool = False
    parsers: bool = True
    overhead: int = 0
    forgiving: bool = True
    surviving: bool = False
    statuses: bool = True

    @property
    def transformer_name(self) -> str:
        """The transformer's name."""
        return self.transformer if isinstance(self.transformer, str) else str(self.transformer.name)  # type: ignore[attr-defined]


def _engineio(mode: Mode) -> Variant:
    return Variant(
        f"engine.io {mode}",
        "engine.io",
        connect_engineio(mode),
        transport="polling" if mode == "polling" else "websocket",
        codes=False,
        heartbeat=True,
        overhead=len("4"),
    )


def _socketio(mode: Mode) -> Variant:
    return Variant(
        f"socket.io {mode}",
        "socket.io",
        connect_socketio(mode),
        transport="polling" if mode == "polling" else "websocket",
        pathname="/socket.io",
        codes=False,
        primus=False,
        parsers=False,
        overhead=len('42["message",]'),
        forgiving=False,
        surviving=True,
        statuses=False,
    )


VARIANTS: Final[Mapping[str, Variant]] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            Variant("websockets", "websockets", connect_websocket),
            _engineio("polling"),
            _engineio("websocket"),
            _engineio("upgrade"),
            _socketio("polling"),
            _socketio("websocket"),
            _socketio("upgrade"),
        )
    }
)
"""The variants of the transformers that come with ahtransport, by name."""
