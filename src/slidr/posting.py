"""Posting: JSON is sent to an address until it was taken, signed so that the receiver knows who sent it.

Identifier, time and signature go with each message as the Standard Webhooks specification has them (version 1.0,
section "Webhook headers"), so that receivers can check them with a library that they have.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from slidr.clock import SECOND, Clock
from slidr.errors import SettingsError

SECRET = "SLIDR_WEBHOOK_SECRET"  # noqa: S105 the name of the variable that holds it
_PREFIX = "whsec_"
_SHORTEST = 24  # bytes of a secret, as the specification asks for
_TIMEOUT = 5.0
_PAUSES = (1.0, 5.0, 25.0)


class Receiver:
    """An address that takes messages.

    Args:
        address: http:// or https://.
        clock: dates the messages.
        setting: that names the address, for errors.
        secret: signs the messages; None for no signature.
        pauses: seconds between two attempts to send one.

    Raises:
        SettingsError: the address is neither.
    """

    def __init__(
        self,
        address: str,
        clock: Clock,
        *,
        setting: str,
        secret: bytes | None = None,
        pauses: tuple[float, ...] = _PAUSES,
    ) -> None:
        if urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).netloc:
            raise SettingsError(f"{setting} is no address; it begins with https:// or http://, then the server")
        self._address, self._clock, self._secret, self._pauses = address, clock, secret, pauses
        self._ended = threading.Event()

    def end(self) -> None:
        """Let what is being sent be given up at its next failure."""
        self._ended.set()

    def post(self, identifier: str, body: bytes) -> str:
        """Send a message; returns what went wrong in the last attempt, empty once it was taken.

        Args:
            identifier: of the message, the same whenever it is sent, so that a receiver can leave out what it has.
            body: JSON.
        """
        fault = ""
        for pause in (*self._pauses, None):
            request = urllib.request.Request(self._address, body, self._headers(identifier, body))  # noqa: S310 see above
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310
                    return ""
            except (OSError, ValueError) as error:
                # The address may hold a secret, and so may the message of an error: its kind must do.
                fault = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
            if pause is None or self._ended.wait(pause):
                break
        return fault

    def _headers(self, identifier: str, body: bytes) -> dict[str, str]:
        seconds = str(self._clock.now() // SECOND)
        headers = {
            "content-type": "application/json",
            "user-agent": "slidr",
            "webhook-id": identifier,
            "webhook-timestamp": seconds,
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, identifier, seconds, body)
        return headers


def signature(secret: bytes, identifier: str, seconds: str, body: bytes) -> str:
    """Return the signature of a message: HMAC-SHA256 of its identifier, time and body.

    >>> signature(b"k" * 24, "one", "1772402400", b"{}")
    'v1,hqzI8XnE7xgpwqMEJx+WMRi6LuweTNka1C/1Cvs3ZG4='
    """
    signed = b".".join((identifier.encode(), seconds.encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def webhook_secret() -> bytes | None:
    """Return the secret of the environment variable SLIDR_WEBHOOK_SECRET, base64 behind `whsec_`; None without one.

    Raises:
        SettingsError: it is no such text, or too short.
    """
    text = os.environ.get(SECRET, "")
    if not text:
        return None
    try:
        found = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not text.startswith(_PREFIX) or len(found) < _SHORTEST:
        raise SettingsError(
            f"{SECRET} is no secret of a webhook: {_PREFIX} and then at least {_SHORTEST} random bytes in base64, such"
            f" as `echo {_PREFIX}$(head -c 32 /dev/urandom | base64)` prints"
        )
    return found
