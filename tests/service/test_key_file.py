from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.service.making import NOW

from slidr.clock import DAY
from slidr.errors import SettingsError
from slidr.service.key_file import add_key, hash_of, moment, read_keys, revoke_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are; nothing is there yet."""
    return tmp_path / "keys" / "api-keys.json"


def test_a_secret_is_shown_and_never_kept(path: Path) -> None:
    """A secret is 256 random bits behind the prefix; the file has its hash alone, and only its owner may read it."""
    secrets = [add_key(path, f"shop-{place}", ["decide"], now=NOW) for place in range(3)]
    assert len(set(secrets)) == 3
    assert all(re.fullmatch(r"slidr_[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    text = path.read_text()
    assert not any(secret.removeprefix("slidr_") in text for secret in secrets)
    assert [key.sha256 for key in read_keys(path)] == [hash_of(secret.encode()) for secret in secrets]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_key_says_what_it_is_worth(path: Path) -> None:
    """A key is valid until it expires or is revoked, and its scopes stand in one order."""
    add_key(path, "shop", ["read", "decide", "read"], now=NOW, lifetime=DAY)
    (key,) = read_keys(path)
    assert (key.scopes, key.created) == (("decide", "read"), moment(NOW))
    assert [key.state(time) for time in (NOW, NOW + DAY - 1, NOW + DAY)] == ["valid", "valid", "expired"]
    revoked = revoke_key(path, "shop", now=NOW + 5)
    assert revoked.revoked == moment(NOW + 5)
    assert revoked.state(NOW) == "revoked"
    assert revoke_key(path, "shop", now=NOW + 9) == revoked
    assert read_keys(path) == (revoked,)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "é", "x" * 65, '"', "\x1b[31m"])
def test_a_name_that_could_deceive_is_refused(path: Path, name: str) -> None:
    """A name is short, and of signs that look the same in every log."""
    with pytest.raises(SettingsError, match="cannot name a key"):
        add_key(path, name, ["decide"], now=NOW)
    assert not path.exists()


def test_a_name_is_given_once(path: Path) -> None:
    """A name is taken for ever, so that a log never means two keys by it; unknown ones are told what is known."""
    add_key(path, "shop", ["decide"], now=NOW)
    revoke_key(path, "shop", now=NOW)
    with pytest.raises(SettingsError, match=r"has a key 'shop'; choose another name"):
        add_key(path, "shop", ["decide"], now=NOW)
    with pytest.raises(SettingsError, match=r"no key 'shup'; did you mean 'shop'"):
        revoke_key(path, "shup", now=NOW)
    with pytest.raises(SettingsError, match="no scope"):
        add_key(path, "other", [], now=NOW)


def test_keys_added_at_once_are_all_kept(path: Path) -> None:
    """Commands that run beside each other do not undo each other's work."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: add_key(path, f"shop-{place}", ["decide"], now=NOW), range(24)))
    assert sorted(key.name for key in read_keys(path)) == sorted(f"shop-{place}" for place in range(24))


def test_a_file_that_holds_no_keys_is_named(path: Path) -> None:
    """What is not such a file, is from a newer slidr, has a key twice, or is everybody's to write is refused."""
    secret = add_key(path, "shop", ["decide"], now=NOW)
    good = json.loads(path.read_text())
    (key,) = good["keys"]
    wrong = {
        "not JSON": ("{", "does not hold API keys"),
        "newer": (json.dumps({**good, "version": 2}), r"Invalid enum value 2 - at `\$\.version`"),
        "scope": (json.dumps({**good, "keys": [{**key, "scopes": ["root"]}]}), "Invalid enum value 'root'"),
        "unknown": (json.dumps({**good, "keys": [{**key, "secret": 1}]}), "unknown field `secret`"),
        "zone": (json.dumps({**good, "keys": [{**key, "expires": "2026-01-01T00:00:00"}]}), "timezone"),
        "name twice": (json.dumps({**good, "keys": [key, {**key, "sha256": "0" * 64}]}), "have one name"),
        "hash twice": (json.dumps({**good, "keys": [key, {**key, "name": "other"}]}), "have one hash"),
    }
    for text, words in wrong.values():
        path.write_text(text)
        with pytest.raises(SettingsError, match=words) as fault:
            read_keys(path)
        assert str(path) in str(fault.value)
        assert secret not in str(fault.value)
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="does not hold API keys"):
        read_keys(path)
    path.write_text(json.dumps(good))
    path.chmod(0o666)
    with pytest.raises(SettingsError, match="may be written by everybody"):
        read_keys(path)


def test_a_place_that_cannot_hold_keys_is_named(tmp_path: Path) -> None:
    """A folder in the place of the file, or a file in the place of its folder, is an error of slidr's own."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=re.escape(f"{tmp_path / 'file'} cannot hold API keys")):
        add_key(tmp_path / "file" / "keys.json", "shop", ["decide"], now=NOW)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        add_key(tmp_path / "folder", "shop", ["decide"], now=NOW)
    assert list((tmp_path / "folder").iterdir()) == []
