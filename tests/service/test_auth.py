from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from tests.service.making import NOW

from slidr.clock import DAY, SECOND, ManualClock
from slidr.errors import ServiceError, SettingsError
from slidr.service.auth import Keys, check_exposure
from slidr.service.door import RefusedError
from slidr.service.key_file import add_key, revoke_key


def shown(secret: str, kind: str = "Bearer") -> list[tuple[bytes, bytes]]:
    """Return the headers of a request that shows a key."""
    return [(b"host", b"x"), (b"authorization", f"{kind} {secret}".encode()), (b"content-length", b"0")]


def refusal(keys: Keys, headers: list[tuple[bytes, bytes]], scope: str = "decide") -> tuple[int, str, str]:
    """Return status, detail and challenge of a request that is refused."""
    with pytest.raises(RefusedError) as refused:
        keys.check(headers, scope)
    ((name, challenge),) = refused.value.headers
    assert name == b"www-authenticate"
    return refused.value.problem.status, refused.value.problem.detail, challenge.decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are; nothing is there yet."""
    return tmp_path / "api-keys.json"


def test_a_key_opens_what_its_scopes_name(path: Path) -> None:
    """Each key opens its own scopes, and admin all; another scope is 403, and names what the key is good for."""
    secrets = {name: add_key(path, name, [name], now=NOW) for name in ("decide", "read", "admin")}
    keys = Keys(path, ManualClock(NOW))
    for name, secret in secrets.items():
        for scope in ("decide", "read", "admin"):
            if name in (scope, "admin"):
                assert keys.check(shown(secret), scope) == name
            else:
                status, detail, challenge = refusal(keys, shown(secret), scope)
                assert (status, challenge) == (
                    403,
                    f'Bearer realm="slidr", error="insufficient_scope", scope="{scope}"',
                )
                assert detail.startswith(f"the API key '{name}' is good for {name}, and this takes {scope}")


def test_what_is_no_key_is_refused(path: Path) -> None:
    """No header, another kind, two headers, and any change of a secret are 401, without the secret in the words."""
    secret = add_key(path, "shop", ["decide"], now=NOW)
    keys = Keys(path, ManualClock(NOW))
    status, detail, challenge = refusal(keys, [(b"host", b"x")])
    assert (status, challenge) == (401, 'Bearer realm="slidr"')
    assert "shows no API key" in detail
    changed = [secret[:-1], secret + "x", secret.upper(), secret[:-1] + "\xe9", "", "slidr_", " ", secret + " x"]
    for wrong in (*changed, secret.removeprefix("slidr_")):
        status, detail, challenge = refusal(keys, shown(wrong))
        assert (status, "is not known" in detail) == (401, True)
        assert challenge == 'Bearer realm="slidr", error="invalid_token"'
        assert secret[:20] not in detail
    for headers in (shown(secret, "Basic"), [(b"authorization", secret.encode())], shown(secret) + shown(secret)):
        status, detail, challenge = refusal(keys, headers)
        assert (status, challenge) == (401, 'Bearer realm="slidr", error="invalid_request"')
        assert secret not in detail
    assert keys.check(shown(secret, "bearer"), "decide") == "shop"
    assert keys.check(shown(f" {secret} "), "decide") == "shop"


def test_a_key_expires_by_the_clock(path: Path) -> None:
    """From the very microsecond on a key is refused, though it was good and remembered before."""
    secret = add_key(path, "shop", ["decide"], now=NOW, lifetime=DAY)
    clock = ManualClock(NOW)
    keys = Keys(path, clock)
    assert keys.check(shown(secret), "decide") == "shop"
    clock.advance(DAY - 1)
    assert keys.check(shown(secret), "decide") == "shop"
    clock.advance(1)
    status, detail, _ = refusal(keys, shown(secret))
    assert (status, detail) == (401, "the API key 'shop' expired at 2026-03-03T09:00:00+00:00; ask for another")
    clock.advance(-DAY)
    assert keys.check(shown(secret), "decide") == "shop"


def test_a_change_of_the_file_is_seen_within_a_second(path: Path) -> None:
    """Added keys open and revoked ones are refused one second later, without a restart."""
    secret = add_key(path, "shop", ["decide"], now=NOW)
    clock = ManualClock(NOW)
    keys = Keys(path, clock)
    assert keys.check(shown(secret), "decide") == "shop"
    other = add_key(path, "other", ["decide"], now=NOW)
    revoke_key(path, "shop", now=NOW)
    clock.advance(SECOND - 1)
    assert keys.check(shown(secret), "decide") == "shop"
    clock.advance(1)
    assert keys.check(shown(other), "decide") == "other"
    assert refusal(keys, shown(secret))[:2] == (401, "the API key 'shop' was revoked; ask for another")


def test_a_clock_that_is_set_back_hides_no_change(path: Path) -> None:
    """When the clock jumps back, the file is looked at again all the same."""
    secret = add_key(path, "shop", ["decide"], now=NOW)
    clock = ManualClock(NOW)
    keys = Keys(path, clock)
    revoke_key(path, "shop", now=NOW)
    clock.advance(-DAY)
    assert refusal(keys, shown(secret))[0] == 401


def test_a_spoilt_file_leaves_the_keys_as_they_were(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is spoilt or gone is logged once; who had a key keeps it, and nobody else gets in."""
    secret = add_key(path, "shop", ["decide"], now=NOW)
    clock = ManualClock(NOW)
    keys = Keys(path, clock)
    for spoil, words in ((lambda: path.write_text("{"), "does not hold API keys"), (path.unlink, "is gone")):
        caplog.clear()
        spoil()
        for _ in range(3):
            clock.advance(SECOND)
            assert keys.check(shown(secret), "decide") == "shop"
            assert refusal(keys, [])[0] == 401
        assert caplog.text.count(words) == 1
        assert len(caplog.records) == 1


def test_without_a_file_everybody_is_served_until_there_is_one(path: Path) -> None:
    """No file asks for no key; the first key that is made closes the door, and deleting it opens it no more."""
    clock = ManualClock(NOW)
    keys = Keys(path, clock)
    assert keys.open
    assert keys.check([], "admin") is None
    add_key(path, "shop", ["decide"], now=NOW)
    clock.advance(SECOND)
    assert refusal(keys, [])[0] == 401
    path.unlink()
    clock.advance(SECOND)
    assert refusal(keys, [])[0] == 401
    assert not keys.open


def test_a_file_at_fault_stops_the_start(path: Path) -> None:
    """A service does not start open because its file of keys cannot be read."""
    path.write_text("{")
    with pytest.raises(SettingsError, match="does not hold API keys"):
        Keys(path, ManualClock(NOW))
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        Keys(path, ManualClock(NOW))


def test_a_file_that_others_read_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The mode of the file is looked at whenever it is read."""
    add_key(path, "shop", ["decide"], now=NOW)
    Keys(path, ManualClock(NOW))
    assert caplog.text == ""
    path.chmod(0o640)
    Keys(path, ManualClock(NOW))
    assert f"{path} may be read by other accounts: chmod 600" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_what_is_remembered_is_bounded(path: Path) -> None:
    """However many headers are shown, unknown ones are forgotten and spellings of known ones are few."""
    secret = add_key(path, "shop", ["decide"], now=NOW)
    keys = Keys(path, ManualClock(NOW))
    for place in range(3000):
        assert keys.check(shown(" " * place + secret), "decide") == "shop"
        refusal(keys, shown(f"slidr_{place}"))
    assert len(keys._seen) <= 1024


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_the_own_machine_needs_no_key(path: Path, host: str) -> None:
    """Whoever is on the machine is served without keys."""
    check_exposure(Keys(path, ManualClock(NOW)), host, allowed=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0", "::ffff:192.0.2.7"])  # noqa: S104 the point
def test_others_are_not_served_without_keys(path: Path, host: str) -> None:
    """An address that others reach needs a key file, or a setting that says so."""
    keys = Keys(path, ManualClock(NOW))
    with pytest.raises(
        ServiceError, match=r"there are no API keys: make one with `slidr keys add NAME --scope decide`"
    ):
        check_exposure(keys, host, allowed=False)
    check_exposure(keys, host, allowed=True)
    add_key(path, "shop", ["decide"], now=NOW)
    check_exposure(Keys(path, ManualClock(NOW)), host, allowed=False)


def test_a_folder_that_may_not_be_entered_is_no_reason_to_open(path: Path) -> None:
    """A folder that may not be entered is an error, not an absence of keys."""
    if os.geteuid() == 0:
        pytest.skip("root enters every folder")
    folder = path.parent / "closed"
    folder.mkdir()
    add_key(folder / "keys.json", "shop", ["decide"], now=NOW)
    folder.chmod(0)
    try:
        with pytest.raises(SettingsError, match="cannot be read"):
            Keys(folder / "keys.json", ManualClock(NOW))
    finally:
        folder.chmod(0o700)
