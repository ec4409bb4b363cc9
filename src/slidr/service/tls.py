"""TLS: the certificate that the service shows, taken up again when its files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from slidr.errors import SettingsError

LOOK = 60.0
"""Seconds between two looks at the files of the certificate."""
_OTHERS_READ = 0o077
_log = logging.getLogger("slidr.service")


class Certificate:
    """A certificate with its private key, and the context that shows it to clients: TLS 1.2 or later.

    Args:
        certificate: the certificate, and those it rests on behind it (PEM).
        key: its private key (PEM, not encrypted).

    Attributes:
        context: for the server.

    Raises:
        SettingsError: a file cannot be read, is none of these, or the key is not the certificate's.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._stamps = self._look()
        self.context = self._load()
        if self._files[1].stat().st_mode & _OTHERS_READ:
            _log.warning("%s may be read by other accounts: chmod 600 %s", key, key)

    def follow(self, loop: asyncio.AbstractEventLoop, every: float = LOOK) -> None:
        """Take up new files again and again, as long as the loop runs."""
        self.refresh()
        loop.call_later(every, self.follow, loop, every)

    def refresh(self) -> bool:
        """Show the certificate anew to whoever connects from now on, where its files have changed; tell whether.

        Files that cannot be used, such as a certificate whose key has not been replaced yet, leave all as it was.
        """
        try:
            stamps = self._look()
            if stamps == self._stamps:
                return False
            # Tried apart first: loading half of it would spoil the context that is in use.
            self._load()
            self.context.load_cert_chain(*self._files, password=_no_password)
        except (SettingsError, OSError, ValueError) as fault:
            _log.error("the TLS certificate stays as it was: %s", fault)
            return False
        self._stamps = stamps
        _log.info("TLS certificate taken up from %s", self._files[0])
        return True

    def _look(self) -> list[tuple[int, int, int]]:
        """Return what changes whenever a file does."""
        found = []
        for path in self._files:
            try:
                told = path.stat()
            except OSError as fault:
                raise SettingsError(f"no TLS: {path} cannot be read ({fault.strerror})") from None
            found.append((told.st_mtime_ns, told.st_size, told.st_ino))
        return found

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client that asks for new keys again and again on one connection would cost more than it pays.
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            for path in self._files:
                path.read_bytes()
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as fault:
            words = (fault.reason or str(fault)).replace("_", " ").lower()
            raise SettingsError(
                f"no TLS: {certificate} (service.tls_certificate) and {key} (service.tls_key) are not a certificate and"
                f" its unencrypted private key in PEM: {words}"
            ) from None
        except OSError as fault:
            raise SettingsError(f"no TLS: {fault.filename} cannot be read ({fault.strerror})") from None
        return context


def _no_password() -> str:
    """Keep the library from asking for a password where nobody sits."""
    return ""
