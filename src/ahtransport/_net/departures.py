"""What the channels that are served in one turn have to send leaves at its end, together.

A turn of the reactor serves all sockets that are ready. To send each answer where it is made goes from the interpreter
into the kernel's TCP and back for every message, and each finds the caches of the CPU full of the other. Sent one after
the other they cost less, and less still by one system call, where the system has that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ahtransport._net.channel import OnSocket

__all__ = ["Departures", "EachSocket"]

_FEW: Final = 4  # up to here a call for each is as good
_LARGE: Final = 4096  # bytes from which a piece travels alone: to copy it once more costs as much as a call


class EachSocket(Protocol):
    """Sends to many sockets at once, each its own."""

    @property
    def longest(self) -> int:
        """How many bytes it takes at most."""
        ...

    @property
    def most(self) -> int:
        """How many sockets it takes at most."""
        ...

    def send_each(self, descriptors: list[int], pieces: list[bytes]) -> Iterable[tuple[int, int]]:
        """Send to each; gives the places of those that did not take all of it, with the bytes that they took, or
        something negative."""
        ...


class Departures:
    """Channels that have collected something.

    Attributes:
        channels: they, in the order in which they leave; one may be there twice, or have nothing any more.
    """

    __slots__ = ("_each", "channels")

    def __init__(self, each: EachSocket | None) -> None:
        self.channels: list[OnSocket] = []
        self._each = each

    def leave(self) -> None:
        """Let all of it leave; nobody is left in :attr:`channels`.

        Nothing here calls a wire or a handler: who wrote to a channel between its :meth:`~OnSocket.take` and the call
        that sends it would overtake what was taken.
        """
        channels, self.channels = self.channels, []
        if self._each is None or len(channels) <= _FEW:
            for channel in channels:
                channel.uncork()
            return
        group: list[OnSocket] = []
        pieces: list[bytes] = []
        left, most = self._each.longest, self._each.most
        for channel in channels:
            data = channel.take()
            size = len(data)
            if not size:
                continue
            if size > _LARGE or channel.straight is None:  # as with TLS
                channel.write(data)
                continue
            if size > left or len(group) == most:
                _together(self._each, group, pieces)
                group, pieces, left = [], [], self._each.longest
            group.append(channel)
            pieces.append(data)
            left -= size
        if group:
            _together(self._each, group, pieces)


def _together(each: EachSocket, group: list[OnSocket], pieces: list[bytes]) -> None:
    for place, sent in each.send_each([channel.descriptor for channel in group], pieces):
        if sent < 0:
            group[place].write(pieces[place])  # it finds out what is wrong
        else:
            group[place].keep(pieces[place], sent)
