"""Keys: the published hash, nulls, the secret, and addresses."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import siphash24
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import DAY, HOUR, SECOND
from slidr.errors import SettingsError
from slidr.features.catalogue import Clicks
from slidr.features.clicks import Click, encode_clicks
from slidr.features.keys import KeyRing, Pseudonymiser, read_secret, read_secrets, rotate_secret
from slidr.features.layout import compile_catalogue

SECRET = bytes(range(16))


def test_the_published_vector() -> None:
    """SipHash-2-4 of 00..0e under the key 00..0f is a129ca6149be45e5 (Aumasson and Bernstein, appendix A)."""
    assert Pseudonymiser(SECRET).blobs([bytes(range(15))]).tolist() == [0xA129CA6149BE45E5]


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=70), max_size=20))
def test_hashes_equal_another_implementation(secret: bytes, values: list[bytes]) -> None:
    """Byte strings of any length, empty ones too, hash as the package siphash24 says."""
    expected = [siphash24.siphash24(value, key=secret).intdigest() % 2**64 or 1 for value in values]
    assert Pseudonymiser(secret).blobs(list(values)).tolist() == expected


@given(st.lists(st.binary(min_size=40, max_size=70), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_long_texts_that_repeat_hash_alike(values: list[bytes], seed: int) -> None:
    """Among many, a long text that was seen before, or differs from one in a single byte, hashes as it does alone."""
    generator = np.random.default_rng(seed)
    near = [value[:at] + b"?" + value[at + 1 :] for value in values for at in generator.integers(0, len(value), 3)]
    several = [*values, *near]
    chosen = [several[place] for place in generator.integers(0, len(several), 1100)]
    pseudonymiser = Pseudonymiser(SECRET)
    alone = {value: int(pseudonymiser.blobs([value])[0]) for value in several}
    assert pseudonymiser.blobs(list(chosen)).tolist() == [alone[value] for value in chosen]


@given(st.lists(st.none() | st.text(max_size=30), max_size=20))
def test_texts_hash_as_their_bytes(values: list[str | None]) -> None:
    """A text is its UTF-8, one with lone surrogates too; only null is zero."""
    pseudonymiser = Pseudonymiser(SECRET)
    found = pseudonymiser.texts(values)
    blobs = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
    np.testing.assert_array_equal(found, pseudonymiser.blobs(blobs))
    assert [key == 0 for key in found] == [value is None for value in values]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=20))
def test_joined_keys_hash_their_parts(pairs: list[tuple[int, int]]) -> None:
    """A compound key is the hash of its parts in their order, and null where any of them is."""
    keys = np.zeros((4, len(pairs)), np.uint64)
    keys[:2] = np.array(pairs, np.uint64).reshape(-1, 2).T
    Pseudonymiser(SECRET).join(keys, np.array([[1, 0], [1, -1]]))
    for (first, second), joined, alone in zip(pairs, *keys[2:].tolist(), strict=True):
        expected = siphash24.siphash24(struct.pack("<QQ", second, first), key=SECRET).intdigest() % 2**64
        assert joined == (0 if 0 in {first, second} else expected)
        expected = siphash24.siphash24(struct.pack("<Q", second), key=SECRET).intdigest() % 2**64
        assert alone == (0 if second == 0 else expected)


@given(st.lists(st.tuples(st.none() | st.binary(max_size=99), st.none() | st.just(b"") | st.binary()), max_size=20))
def test_columns_hash_as_their_values_alone(pairs: list[tuple[bytes | None, bytes | None]]) -> None:
    """Columns that are hashed and joined at once give the hashes of each value alone, and their joined keys."""
    pseudonymiser = Pseudonymiser(SECRET)
    values = [first for first, _ in pairs] + [second for _, second in pairs]
    found = pseudonymiser.columns(values, 2, np.array([[0, 1]]))
    assert found.shape == (3, len(pairs))
    expected = np.zeros((3, len(pairs)), np.uint64)
    for row in (0, 1):
        expected[row] = [int(pseudonymiser.blobs([pair[row]])[0]) for pair in pairs]
    pseudonymiser.join(expected, np.array([[0, 1]]))
    np.testing.assert_array_equal(found, expected)


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


NOW = 1_772_323_200 * SECOND
SECOND_KEY = SECRET[::-1]


def ring_of(*lines: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KeyRing:
    """Return the ring of an environment variable with these lines."""
    monkeypatch.setenv("SLIDR_KEY", ",".join(lines))
    return read_secrets(tmp_path / "slidr.key")


def test_keys_follow_each_other_by_the_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key is hashed with beside the other from its time on, and serves a horizon and an hour later."""
    begins = datetime.fromtimestamp(NOW / SECOND, UTC).isoformat()
    ring = ring_of(SECRET.hex(), f"{SECOND_KEY.hex()} {begins}", monkeypatch=monkeypatch, tmp_path=tmp_path)
    one, two = (Pseudonymiser(key).fingerprint for key in (SECRET, SECOND_KEY))
    serves = NOW + DAY + HOUR
    for now, serving, beside in ((0, one, None), (NOW - 1, one, None), (NOW, one, two), (serves - 1, one, two)):
        found = ring.at(now, DAY)
        assert (found.fingerprint, found.beside and found.beside.fingerprint) == (serving, beside)
        assert found.known == {one, two}
    assert (ring.at(serves, DAY).fingerprint, ring.at(serves, DAY).beside) == (two, None)
    assert [ring.changes(now, DAY) for now in (0, NOW, serves)] == [NOW, serves, None]
    assert (ring.oldest.fingerprint, ring.newest.fingerprint) == (one, two)
    assert ring.of("none") is None
    assert (of := ring.of(two)) is not None
    assert of.fingerprint == two


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["00" * 16, "11" * 16], "needs a time behind it"),
        (["00" * 16, "11" * 16 + " 2026-03-01T00:00:00Z", "22" * 16 + " 2026-02-01T00:00:00Z"], "later than that of"),
        (["00" * 16, "11" * 16 + " 2026-03-01T00:00:00"], "'2026-03-01T00:00:00' is not the time of a secret key"),
        (["00" * 16, "11" * 16 + " soon"], "'soon' is not the time of a secret key; give it with a zone"),
        (["00" * 16, "00" * 16 + " 2026-03-01T00:00:00Z"], "one secret key stands on two lines"),
        (["00" * 16, "11 2026-03-01T00:00:00Z"], "32 hexadecimal digits"),
    ],
)
def test_broken_rings_are_refused(lines: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys without times, times without zones or out of order, and doubled keys are refused with what to do."""
    with pytest.raises(SettingsError, match=f"SLIDR_KEY.*{said}"):
        ring_of(*lines, monkeypatch=monkeypatch, tmp_path=tmp_path)


def test_a_key_that_follows_too_soon_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A third key that begins before the second one serves would leave that one no time to warm up."""
    lines = ["00" * 16, "11" * 16 + " 2026-03-01T00:00:00Z", "22" * 16 + " 2026-03-02T00:30:00Z"]
    ring = ring_of(*lines, monkeypatch=monkeypatch, tmp_path=tmp_path)
    with pytest.raises(SettingsError, match=r"follows that of 2026-03-01T00:00:00.*too soon: each needs 90000 s"):
        ring.at(NOW, DAY)
    assert ring.at(NOW, HOUR).beside is not None


def test_rotating_adds_a_key_to_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file keeps its keys and its mode and has one more, unless a rotation is under way."""
    path = tmp_path / "slidr.key"
    first = read_secret(path)
    ring = rotate_secret(path, now=NOW, horizon=DAY)
    assert read_secrets(path) == ring
    assert path.stat().st_mode & 0o777 == 0o600
    assert [key.since for key in ring.keys] == [0, NOW]
    assert (ring.keys[0].secret, ring.keys[1].secret) == (first, read_secret(path))
    with pytest.raises(SettingsError, match="the last rotation goes on until 2026-03-02T01:00:00"):
        rotate_secret(path, now=NOW + DAY, horizon=DAY)
    assert len(rotate_secret(path, now=NOW + DAY + HOUR, horizon=DAY).keys) == 3
    monkeypatch.setenv("SLIDR_KEY", SECRET.hex())
    with pytest.raises(SettingsError, match="SLIDR_KEY is set: add"):
        rotate_secret(path, now=NOW, horizon=DAY)


def test_clicks_are_hashed_with_both_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the overlap a batch holds the same clicks a second time, as the next key alone would hash them."""
    lines = [SECRET.hex(), SECOND_KEY.hex() + " 2026-03-01T00:00:00Z"]
    ring = ring_of(*lines, monkeypatch=monkeypatch, tmp_path=tmp_path)
    layout = compile_catalogue((Clicks(("ip", "user"), "1h"), Clicks("network", "1h")))
    clicks = [Click(click_id=name, time=datetime.now(UTC), ip="192.0.2.1", user="u") for name in ("a", "b")]
    batch = encode_clicks(clicks, layout, ring.at(NOW, DAY)).take(slice(1, 2))
    for found, secret in ((batch, SECRET), (batch.beside, SECOND_KEY)):
        expected = encode_clicks(clicks[1:], layout, Pseudonymiser(secret))
        assert found is not None
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.keys, expected.keys)
        np.testing.assert_array_equal(found.times, expected.times)
