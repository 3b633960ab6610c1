"""SIGHUP: read the certificate again, as daemons do."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from ahtransport._errors import ConfigError
from ahtransport._log import fields, get_logger

if TYPE_CHECKING:
    from ahtransport._server import Server

__all__ = ["hangup_signals", "heed_hangup"]

_log = get_logger()


def hangup_signals(server: Server) -> tuple[signal.Signals, ...]:
    """Give the signals that have a server read its certificate again; none where there is no certificate, so that a
    terminal that closes still ends the program."""
    names = ("SIGHUP",) if server.config.servers.web.secure else ()
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


async def heed_hangup(server: Server) -> None:
    """Do what the signal asks for, and log one line about it."""
    try:
        await server.reload_certificate()
    except ConfigError as error:
        _log.error("the certificate from before stays: %s", error, extra=fields("certificate.kept"))
    else:
        _log.info("the certificate was read again", extra=fields("certificate.read"))
