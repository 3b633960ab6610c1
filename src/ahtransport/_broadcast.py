"""One message for many connections, encoded once per transformer and wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ahtransport._half import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ahtransport._connection import Connection
    from ahtransport.abc import Event, Message, Payload, Transformer

__all__ = ["Broadcast"]


class Broadcast:
    """A message or an event on its way to everybody."""

    def __init__(self, packet: Message | Event) -> None:
        self._packet = packet
        self._encoded: dict[tuple[Transformer, str], Sequence[Payload]] = {}
        self._failure: Exception | None = None

    def to(self, recipients: Iterable[Connection]) -> None:
        """Send it. A client over its limit is closed in the end, not before all others have what they can take.

        Raises:
            TypeError, ValueError: a transformer can't carry it; those who are reached by others have it all the same.
        """
        transformer: Transformer | None = None  # whose frame this is
        frame = b""
        size = 0
        others = []
        for connection in recipients:
            # The shortest way is for most, who read what they are sent: past everything, to the socket. A broadcast
            # is some thousand steps of this, each on data that has left the CPU's caches since the last. Nobody is
            # closed here, so the recipients need not be copied before.
            outlet = connection._outlet
            sock = outlet.straight
            if sock is None:
                others.append(connection)
                continue
            if connection._transformer is not transformer:
                transformer = connection._transformer
                frame = b"".join([payload.frame() for payload in self._encode(connection)])
                size = len(frame)
            try:
                sent = sock.send(frame)
            except OSError:
                others.append(connection)
                continue
            if sent != size and not outlet.keep(frame, sent):
                connection._congested = True
        for connection in others:
            self._by_link(connection)
        if self._failure is not None:
            raise self._failure

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
            except (TypeError, ValueError) as error:
                found, self._failure = (), error
            self._encoded[transformer, wire] = found
        return found
