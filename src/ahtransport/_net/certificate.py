"""The server's certificate and its key: read, checked, and read again while the server runs."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from ahtransport._errors import ConfigError

if TYPE_CHECKING:
    from pathlib import PurePath

__all__ = ["Certificate"]


class _EncryptedKeyError(Exception):
    """OpenSSL has asked for a passphrase."""


class Certificate:
    """What TLS connections are opened with.

    Args:
        cert: the file with the certificate, and with those between it and the root (PEM).
        key: the file with its private key (PEM); empty: the key is in the file ``cert``, too.

    Attributes:
        context: for the connections that are opened from now on; those that are open keep theirs.

    Raises:
        ConfigError: a file is missing, unreadable or something else, the two don't match, or the key is encrypted.
    """

    def __init__(self, cert: str | PurePath, key: str | PurePath = "") -> None:
        self._cert = str(cert)
        self._key = str(key) or self._cert
        self.context = self._read()

    def load(self) -> None:
        """Read both files again. It blocks, so a running server calls it in a thread.

        Raises:
            ConfigError: as above; then the old certificate stays.
        """
        self.context = self._read()

    def _read(self) -> ssl.SSLContext:
        self._check("servers.web.cert", self._cert, "CERTIFICATE")
        self._check("servers.web.key", self._key, "PRIVATE KEY")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996 does away with what was before
        # Renegotiation costs the server much and the client nothing; TLS 1.3 has none (RFC 8446 section 4.1.2).
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
        except _EncryptedKeyError:
            raise ConfigError(
                f"servers.web.key: the key in {self._key} is encrypted; a passphrase beside it would protect nothing: "
                f"decrypt it (openssl pkey -in {self._key} -out NEW) and let only the server's user read it"
            ) from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                text = f"servers.web.key: the key in {self._key} is not that of the certificate in {self._cert}"
                raise ConfigError(f"{text} (whose own must come first)") from error
            text = f"servers.web.cert: {self._cert} and {self._key} can't be used"
            raise ConfigError(f"{text}: {_said(error)}") from error
        except OSError as error:  # gone since it was checked
            raise ConfigError(f"servers.web.cert: {self._cert} or {self._key} can't be read: {error}") from error
        return context

    @staticmethod
    def _check(option: str, path: str, label: str) -> None:
        """Look into a file: OpenSSL does not say which of the two it did not like.

        Raises:
            ConfigError: it can't be read, or has no such part.
        """
        try:
            with open(path, "rb") as file:
                content = file.read(1_048_576)
        except FileNotFoundError as error:
            raise ConfigError(f"{option}: there is no file {path}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{option}: {path} can't be read: {reason}") from error
        if f"{label}-----".encode() not in content:
            raise ConfigError(f"{option}: there is no {label.lower()} in {path}, which has to be a PEM file")


def _no_passphrase() -> str:
    raise _EncryptedKeyError


def _said(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
