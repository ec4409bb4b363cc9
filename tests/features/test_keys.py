"""Keys: the published hash, nulls, the secret, and addresses."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import siphash24
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import SettingsError
from slidr.features.keys import Pseudonymiser, read_secret

SECRET = bytes(range(16))


def test_the_published_vector() -> None:
    """SipHash-2-4 of 00..0e under the key 00..0f is a129ca6149be45e5 (Aumasson and Bernstein, appendix A)."""
    assert Pseudonymiser(SECRET).blobs([bytes(range(15))]).tolist() == [0xA129CA6149BE45E5]


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=70), max_size=20))
def test_hashes_equal_another_implementation(secret: bytes, values: list[bytes]) -> None:
    """Byte strings of any length, empty ones too, hash as the package siphash24 says."""
    expected = [siphash24.siphash24(value, key=secret).intdigest() % 2**64 or 1 for value in values]
    assert Pseudonymiser(secret).blobs(list(values)).tolist() == expected


@given(st.lists(st.none() | st.text(max_size=30), max_size=20))
def test_texts_hash_as_their_bytes(values: list[str | None]) -> None:
    """A text is its UTF-8, one with lone surrogates too; only null is zero."""
    pseudonymiser = Pseudonymiser(SECRET)
    found = pseudonymiser.texts(values)
    blobs = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
    np.testing.assert_array_equal(found, pseudonymiser.blobs(blobs))
    assert [key == 0 for key in found] == [value is None for value in values]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)), min_size=1, max_size=20))
def test_joined_keys_hash_their_parts(pairs: list[tuple[int, int]]) -> None:
    """A compound key is the hash of its parts in their order, and null where any of them is."""
    pseudonymiser = Pseudonymiser(SECRET)
    keys = np.array(pairs, np.uint64).T.copy()
    found = pseudonymiser.join(keys, (1, 0)).tolist()
    for (first, second), joined in zip(pairs, found, strict=True):
        expected = siphash24.siphash24(struct.pack("<QQ", second, first), key=SECRET).intdigest() % 2**64
        assert joined == (0 if 0 in {first, second} else expected)


def test_another_secret_gives_other_keys() -> None:
    """Hashes and fingerprint follow the secret, and the fingerprint is neither the secret nor changing."""
    one, other = Pseudonymiser(SECRET), Pseudonymiser(bytes(16))
    assert one.texts(["ada"]) != other.texts(["ada"])
    assert one.fingerprint == Pseudonymiser(SECRET).fingerprint != other.fingerprint
    assert one.fingerprint not in SECRET.hex()


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_secret_of_another_length_is_refused(size: int) -> None:
    """The key of SipHash has 16 bytes."""
    with pytest.raises(SettingsError, match=f"has {size} bytes; it must have 16"):
        Pseudonymiser(bytes(size))


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """A missing key file is made, readable by its owner alone, and read again after that."""
    path = tmp_path / "folder" / "slidr.key"
    secret = read_secret(path)
    assert len(secret) == 16
    assert read_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secret(tmp_path / "other.key") != secret


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLIDR_KEY is the key where set, and no file is made."""
    monkeypatch.setenv("SLIDR_KEY", SECRET.hex().upper())
    assert read_secret(tmp_path / "slidr.key") == SECRET
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("SLIDR_KEY", "secret")
    with pytest.raises(SettingsError, match="SLIDR_KEY does not hold a secret key: 32 hexadecimal digits"):
        read_secret(tmp_path / "slidr.key")


@pytest.mark.parametrize("content", [b"", b"xyz", b"00" * 15, b"00" * 17, b"\xff" * 32])
def test_a_broken_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that holds no key is never written over, but refused by name."""
    path = tmp_path / "slidr.key"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"slidr\.key does not hold a secret key"):
        read_secret(path)
    assert path.read_bytes() == content


def test_a_key_file_that_cannot_be_made_or_read_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the file, or a file in the place of its folder, is refused by name."""
    with pytest.raises(SettingsError, match="set SLIDR_KEY"):
        read_secret(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="set SLIDR_KEY"):
        read_secret(tmp_path / "file" / "slidr.key")
