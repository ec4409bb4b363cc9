"""Posting: a message is signed as a standard says, tried again, and given up with a reason that holds no secret."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from tests.receiving import receiving

from slidr.clock import SECOND, ManualClock
from slidr.errors import SettingsError
from slidr.posting import SECRET, Receiver, webhook_secret

KEY = bytes(range(32))


def receiver(address: str, pauses: tuple[float, ...] = ()) -> Receiver:
    """Return a receiver that signs."""
    return Receiver(address, ManualClock(1_772_402_400 * SECOND), setting="replay.webhook", secret=KEY, pauses=pauses)


def test_a_message_is_signed_as_standard_webhooks_are() -> None:
    """Identifier, time and body are signed together, so that none of them can be another one's."""
    with receiving([]) as (address, taken):
        assert not receiver(address).post("r-1", b'{"a":1}')
    (one,) = taken
    wanted = base64.b64encode(hmac.new(KEY, b'r-1.1772402400.{"a":1}', hashlib.sha256).digest()).decode()
    headers = {name: one.headers[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    assert headers == {"webhook-id": "r-1", "webhook-timestamp": "1772402400", "webhook-signature": f"v1,{wanted}"}


def test_it_is_tried_again_under_the_same_identifier() -> None:
    """Until it is taken; and given up with the status, and nothing of the address, once all attempts failed."""
    with receiving([500, 503]) as (address, taken):
        assert not receiver(address, (0.0, 0.0)).post("r-1", b"{}")
        assert [one.headers["webhook-id"] for one in taken] == ["r-1"] * 3
    with receiving([500, 503]) as (address, _):
        assert receiver(f"{address}?token=secret", (0.0,)).post("r-1", b"{}") == "HTTP 503"
    assert receiver(address).post("r-1", b"{}") == "URLError"


def test_what_is_no_address_or_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the setting, and shows nothing of a secret."""
    with pytest.raises(SettingsError, match=r"replay\.webhook is no address"):
        receiver("file:///etc/passwd")
    monkeypatch.delenv(SECRET, raising=False)
    assert webhook_secret() is None
    monkeypatch.setenv(SECRET, "whsec_" + base64.b64encode(KEY).decode())
    assert webhook_secret() == KEY
    for text in ("hunter2", "whsec_hunter2", "whsec_" + base64.b64encode(KEY[:20]).decode()):
        monkeypatch.setenv(SECRET, text)
        with pytest.raises(SettingsError, match=SECRET) as refused:
            webhook_secret()
        assert "hunter2" not in str(refused.value)
