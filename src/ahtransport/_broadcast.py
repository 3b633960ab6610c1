"""One message for many connections, encoded once per transformer and wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ahtransport._half import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ahtransport._connection import Connection
    from ahtransport.abc import Event, Message, Payload, Transformer

__all__ = ["Broadcast", "ManySockets"]

_MANY: Final = 8  # recipients; for fewer, a call for each is as good


class ManySockets(Protocol):
    """Sends the same bytes to many sockets at once."""

    @property
    def longest(self) -> int:
        """How many bytes it takes at most."""
        ...

    def send(self, descriptors: list[int], data: bytes) -> Iterable[tuple[int, int]]:
        """Send ``data`` to each; gives the places of those that did not take all of it, with the bytes that they took,
        or something negative."""
        ...


class Broadcast:
    """A message or an event on its way to everybody.

    With ``many``, all who read what they are sent get it by one system call.
    """

    def __init__(self, packet: Message | Event, many: ManySockets | None = None) -> None:
        self._packet = packet
        self._many = many
        self._encoded: dict[tuple[Transformer, str], Sequence[Payload]] = {}
        self._failure: Exception | None = None

    def to(self, recipients: Iterable[Connection]) -> None:
        """Send it; nobody may be among the recipients twice. A client over its limit is closed in the end, not before
        all others have what they can take.

        Raises:
            TypeError, ValueError, or what a parser raises: a transformer can't carry it; those who are reached by
                others have it all the same.
        """
        groups: dict[Transformer, tuple[list[Connection], list[int]]] = {}  # by encoding, with their descriptors
        transformer: Transformer | None = None
        group: list[Connection] = []
        descriptors: list[int] = []
        others: list[Connection] = []
        for connection in list(recipients):
            # The shortest way is for most, who read what they are sent: past everything, to the socket. A broadcast
            # is some thousand steps of this, each on data that has left the CPU's caches since the last.
            if connection._transformer is not transformer:
                transformer = connection._transformer
                group, descriptors = groups.setdefault(transformer, ([], []))
            if not group and (transformer, connection._link.wire) not in self._encoded:
                # A parser may be anybody's. Whatever it does, nobody's socket has been looked at and not yet used.
                self._send(groups, others)
                self._encode(connection)
            outlet = connection._outlet
            if outlet.straight is None:
                others.append(connection)
            else:
                group.append(connection)
                descriptors.append(outlet.descriptor)
        self._send(groups, others)
        for connection in others:
            self._by_link(connection)
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it holds this frame

    def _send(self, groups: dict[Transformer, tuple[list[Connection], list[int]]], others: list[Connection]) -> None:
        """Send to those in the groups, which are empty then; whom it fails for is put to the others."""
        for group, descriptors in groups.values():
            if group:
                self._straight(group, descriptors, others)
                group.clear()
                descriptors.clear()

    def _straight(self, group: list[Connection], descriptors: list[int], others: list[Connection]) -> None:
        """Send the frame to the sockets of those who have the same encoding."""
        frame = b"".join([payload.frame() for payload in self._encode(group[0])])
        size = len(frame)
        if not size:
            return
        many = self._many
        if many is not None and len(group) >= _MANY and size <= many.longest:
            short = many.send(descriptors, frame)
        else:
            short = _one_by_one(group, frame)
        for place, sent in short:
            connection = group[place]
            if sent < 0:
                others.append(connection)
            elif not connection._outlet.keep(frame, sent):
                connection._congested = True

    def _by_link(self, connection: Connection) -> None:
        """Send by the connection's link. Who takes a message at once gets the next one the shortest way."""
        payloads = self._encode(connection)
        if len(payloads) != 1 or connection._congested:
            connection.write(payloads)
        elif not connection._link.write(payloads[0]):
            connection._congested = True
        if connection._state == "open":
            connection._outlet = connection._link.outlet or NOWHERE

    def _encode(self, connection: Connection) -> Sequence[Payload]:
        transformer, wire = connection._transformer, connection._link.wire
        found = self._encoded.get((transformer, wire))
        if found is None:
            try:
                found = transformer.encode(self._packet, wire)
            except Exception as error:  # a parser may raise whatever it likes
                found, self._failure = (), error
            self._encoded[transformer, wire] = found
        return found


def _one_by_one(group: list[Connection], frame: bytes) -> list[tuple[int, int]]:
    """Do what :class:`ManySockets` does, with a system call for each."""
    short = []
    size = len(frame)
    for place, connection in enumerate(group):
        sock = connection._outlet.straight
        try:
            sent = sock.send(frame) if sock is not None else -1
        except OSError:
            sent = -1
        if sent != size:
            short.append((place, sent))
    return short
