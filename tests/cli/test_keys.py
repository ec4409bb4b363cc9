from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Run

from slidr.clock import SystemClock
from slidr.service.auth import Keys


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, str]:
    """The option that names a settings file; the keys lie beside it."""
    (tmp_path / "slidr.toml").write_text("")
    return "--settings", str(tmp_path / "slidr.toml")


def test_a_key_is_made_listed_and_revoked(slidr: Run, options: tuple[str, str], tmp_path: Path) -> None:
    """The secret is shown once and opens the service; the list shows names and states, and no secret or hash."""
    made = slidr("keys", "add", "shop", "--scope", "decide", "--scope", "read", "--expires", "90d", *options)
    secret = made.out.splitlines()[0]
    assert "good for decide, read until" in made.out
    headers = [(b"authorization", f"Bearer {secret}".encode())]
    assert Keys(tmp_path / "api-keys.json", SystemClock()).check(headers, "read") == "shop"
    for listed in (slidr("keys", "list", *options), slidr("keys", "list", "--json", *options)):
        assert "shop" in listed.out
        assert "valid" in listed.out
        assert secret not in listed.out
        assert "sha256" not in listed.out
    revoked = slidr("keys", "revoke", "shop", "--json", *options).document
    assert revoked["revoked"] is not None
    (found,) = slidr("keys", "list", "--json", *options).document["keys"]
    assert (found["state"], found["revoked"]) == ("revoked", revoked["revoked"])


def test_machines_get_the_key_too(slidr: Run, options: tuple[str, str]) -> None:
    """With --json the secret stands in the one object, and nowhere else."""
    document = slidr("keys", "add", "shop", "--scope", "admin", "--json", *options).document
    assert document["key"].startswith("slidr_")
    assert (document["scopes"], document["expires"]) == (["admin"], None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "a b", "--scope", "read"), "cannot name a key"),
        (("add", "shop"), "Missing option '--scope'"),
        (("add", "shop", "--scope", "root"), "'root' is not one of"),
        (("add", "shop", "--scope", "read", "--expires", "soon"), "'soon' is not a duration"),
        (("revoke", "shop"), "has no key 'shop'; it has none"),
    ],
)
def test_wrong_arguments_are_told(slidr: Run, options: tuple[str, str], arguments: tuple[str, ...], words: str) -> None:
    """What cannot be done is one line and no traceback, and makes no file."""
    said = slidr("keys", *arguments, *options)
    assert said.code != 0
    assert words in said.err
    assert not (Path(options[1]).parent / "api-keys.json").exists()


def test_no_keys_are_told(slidr: Run, options: tuple[str, str]) -> None:
    """A list without keys names the file that it looked at."""
    assert "api-keys.json has no API keys" in slidr("keys", "list", *options).out
