"""The errors a user meets: one tree under :class:`AhTransportError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ahtransport._http import Response

__all__ = [
    "ActionError",
    "AhTransportError",
    "Answered",
    "ConfigError",
    "ConnectionClosed",
    "ProtocolError",
    "Reject",
    "RoomError",
    "UnknownTransformer",
    "unwrapped",
]


class AhTransportError(Exception):
    """Base of every error that ahtransport raises on purpose."""


class ConfigError(AhTransportError):
    """A setting is unknown, has the wrong type or an impossible value.

    The text names where it came from (file, environment variable or keyword), the key, and the nearest known name.
    """


class UnknownTransformer(ConfigError):
    """No installed transformer has this name.

    Attributes:
        name: what was asked for.
        installed: the names that would have worked.
        package: the package that would add it, if one is known.
    """

    def __init__(self, name: str, installed: Sequence[str], package: str | None = None, hint: str = "") -> None:
        self.name = name
        self.installed = tuple(installed)
        self.package = package
        text = f"unknown transformer {name!r}; installed are: {', '.join(self.installed) or 'none'}"
        if package:
            text += f"; to add it: python -m pip install {package}"
        super().__init__(f"{text}; {hint}" if hint else text)


class ConnectionClosed(AhTransportError):
    """The connection is gone; raised by ``send``, ``emit`` and ``call``.

    Attributes:
        code: WebSocket close code (RFC 6455 section 7.4); 1006 when the peer vanished without saying why.
        reason: the peer's or the server's words, often empty.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"connection closed with {code}" + (f": {reason}" if reason else ""))


class Reject(AhTransportError):
    """Raise it in ``authorize`` or a middleware: refuses the request before any upgrade.

    Attributes:
        status: HTTP status, 400 to 599.
        reason: told to the client in the body, as ``{"error": reason}``.
        headers: added to the response.
        body: sent instead of the JSON, if it is not None; its ``Content-Type`` is one of ``headers``.
        data: told to a Socket.IO client beside the reason, as the ``data`` of its ``connect_error``.
    """

    def __init__(
        self,
        status: int = 401,
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
        *,
        body: bytes | None = None,
        data: object = None,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"a refusal needs a status from 400 to 599, not {status}")
        self.status = status
        self.reason = reason
        self.headers = list(headers)
        self.body = body
        self.data = data
        super().__init__(f"{status} {reason}".rstrip())


class Answered(Reject):
    """Refuses an upgrade with a response that the application has made; other than for a :class:`Reject` of its own,
    this may be a redirect.

    Attributes:
        response: what the client gets.
    """

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.status = response.status
        self.response = response


class ProtocolError(AhTransportError):
    """The peer broke the wire protocol.

    Attributes:
        code: the WebSocket close code that answers it (RFC 6455 section 7.4.1).
    """

    def __init__(self, text: str, code: int = 1002) -> None:
        self.code = code
        super().__init__(text)


class RoomError(AhTransportError):
    """A room verb can't be carried out; the text is what the client is told."""


class ActionError(AhTransportError):
    """Raise it in an action: its text reaches the client as ``error``.

    Attributes:
        status: HTTP status of the answer when the action came by HTTP.
    """

    def __init__(self, text: str, status: int = 500) -> None:
        self.status = status
        super().__init__(text)


def unwrapped(error: BaseException) -> BaseException:
    """Give what was raised: of an exception group of one, as a nursery makes it, that one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
