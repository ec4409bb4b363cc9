"""Keys: identifiers become keyed 64-bit hashes at the door, and only these go further.

The hash is SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): who lacks the secret key
can neither reverse a hash nor forge a collision. Zero stands for null.

A file, or the environment variable SLIDR_KEY, holds a secret key a line: 32 hexadecimal digits and, from the second
line on, the time from which clicks are hashed with it too. From then on every click is hashed and folded under both
keys; once the younger one's state is as old as its horizon, it serves and the older one is dropped. All of it follows
from the lines and the clock, so that all processes agree without a word to each other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR, SECOND
from slidr.errors import SettingsError
from slidr.features.arithmetic import Whole
from slidr.features.kernel import kernel
from slidr.features.prefetch import eight_bytes, natural

KEY_BYTES = 16
_EXAMPLE = "2026-03-01T00:00:00+00:00"
_MARGIN = HOUR
"""Keys overlap longer than the horizon by this: clicks come late, and some are dated ahead of the clock."""
_ROTATIONS = (13, 16, 17, 21, 32)
_LONG = 48
"""Bytes of a text, such as a browser's, from which on it is sooner compared with one seen before than hashed."""
_PLACES_BITS = 12
_MANY = 1024
"""Texts of which it is worth remembering the long ones."""


@numba.njit(inline="always")
def _rotate(word: np.uint64, by: int) -> np.uint64:
    return (word << np.uint64(by)) | (word >> np.uint64(64 - by))


@numba.njit(inline="always")
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 += v1
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 += v3
    v3 = _rotate(v3, 16) ^ v2
    v0 += v3
    v3 = _rotate(v3, 21) ^ v0
    v2 += v1
    v1 = _rotate(v1, 17) ^ v2
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


@kernel(inline=True)
def _siphash(data: NDArray[np.uint8], start: int, stop: int, secret: NDArray[np.uint64]) -> np.uint64:
    v0 = secret[0] ^ np.uint64(0x736F6D6570736575)
    v1 = secret[1] ^ np.uint64(0x646F72616E646F6D)
    v2 = secret[0] ^ np.uint64(0x6C7967656E657261)
    v3 = secret[1] ^ np.uint64(0x7465646279746573)
    size = stop - start
    whole = start + (size & ~7)
    for at in range(start, whole, 8):
        word = eight_bytes(data, at)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    word = np.uint64(size & 0xFF) << np.uint64(56)
    odd = stop - whole
    if odd > 0 and size >= 8:
        word |= eight_bytes(data, stop - 8) >> np.uint64(64 - 8 * odd)
    else:
        for byte in range(odd):
            word |= np.uint64(data[natural(whole + byte)]) << np.uint64(8 * byte)
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return np.uint64(v0 ^ v1 ^ v2 ^ v3)


@kernel(inline=True)
def _place_of(data: NDArray[np.uint8], start: int, stop: int) -> Whole:
    """Return a place for a text of eight bytes or more, the same for equal ones; it need not be hard to guess."""
    word = np.uint64(stop - start)
    for at in range(start, stop - 7, 8):
        word = _rotate(word, 13) ^ eight_bytes(data, at)
    word = _rotate(word, 13) ^ eight_bytes(data, stop - 8)
    return np.int64((word * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _PLACES_BITS))


@kernel(inline=True)
def _equal(data: NDArray[np.uint8], one: tuple[Whole, Whole], other: tuple[Whole, Whole]) -> bool:
    """Return whether two texts, the first of eight bytes or more, are the same."""
    size = one[1] - one[0]
    if other[1] - other[0] != size:
        return False
    for at in range(0, size - 7, 8):
        if eight_bytes(data, one[0] + at) != eight_bytes(data, other[0] + at):
            return False
    return bool(eight_bytes(data, one[1] - 8) == eight_bytes(data, other[1] - 8))


@kernel()
def _hash_spans(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    secret: NDArray[np.uint64],
    seen: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> None:
    """Hash texts. A long one that equals the last long one at its place in `seen`, by row plus one, has its hash."""
    for row in range(len(valid)):
        out[row] = np.uint64(0)
        if valid[row]:
            start, stop = offsets[row], offsets[row + 1]
            if stop - start >= _LONG and len(seen):
                place = _place_of(data, start, stop)
                last = seen[place] - 1
                seen[place] = row + 1
                if last >= 0 and _equal(data, (start, stop), (offsets[last], offsets[last + 1])):
                    out[row] = out[last]
                    continue
            key = _siphash(data, start, stop, secret)
            out[row] = key if key != np.uint64(0) else np.uint64(1)


@kernel()
def _join(
    keys: NDArray[np.uint64],
    rows: NDArray[np.int64],
    secret: NDArray[np.uint64],
    words: NDArray[np.uint64],
    data: NDArray[np.uint8],
    out: NDArray[np.uint64],
) -> None:
    """Hash the keys of `rows`, joined in `words`, whose bytes `data` shows."""
    for click in range(keys.shape[1]):
        null = False
        for part in range(len(rows)):
            key = keys[rows[part], click]
            null |= key == np.uint64(0)
            words[part] = key
        joined = _siphash(data, 0, len(data), secret)
        out[click] = np.uint64(0) if null else max(joined, np.uint64(1))


class Pseudonymiser:
    """Turns identifiers into keyed 64-bit hashes.

    >>> hashes = Pseudonymiser(bytes(range(16))).texts(["ada", None, "ada"])
    >>> bool(hashes[0] == hashes[2]), int(hashes[1])
    (True, 0)

    Args:
        secret: the secret key, 16 bytes.
        beside: hashes with the next secret key, while keys rotate.
        known: fingerprints of further keys whose bundles are served, such as the one before.

    Raises:
        SettingsError: the secret is not 16 bytes long.
    """

    def __init__(self, secret: bytes, *, beside: Pseudonymiser | None = None, known: Iterable[str] = ()) -> None:
        if len(secret) != KEY_BYTES:
            raise SettingsError(f"the secret key has {len(secret)} bytes; it must have {KEY_BYTES}")
        self._secret = np.frombuffer(secret, dtype="<u8").astype(np.uint64)
        self.beside = beside
        self.known = frozenset((*known, self.fingerprint))

    @property
    def fingerprint(self) -> str:
        """A hash that tells one secret key from another without revealing either."""
        return f"{int(self.texts(['slidr key fingerprint'])[0]):016x}"

    def texts(self, values: list[str | None]) -> NDArray[np.uint64]:
        """Hash texts; null becomes 0."""
        return self.blobs([None if value is None else value.encode("utf-8", "surrogatepass") for value in values])

    def blobs(self, values: list[bytes | None]) -> NDArray[np.uint64]:
        """Hash byte strings; null becomes 0."""
        parts = [b"" if value is None else value for value in values]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=offsets[1:])
        valid = np.fromiter((value is not None for value in values), np.bool_, len(parts))
        return self.spans(np.frombuffer(b"".join(parts), np.uint8), offsets, valid)

    def spans(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_]
    ) -> NDArray[np.uint64]:
        """Hash the spans `data[offsets[i]:offsets[i + 1]]`; rows that are not valid become 0."""
        out = np.empty(len(valid), np.uint64)
        seen = np.zeros(1 << _PLACES_BITS if len(valid) >= _MANY else 0, np.int64)
        _hash_spans(data, offsets, valid, self._secret, seen, out)
        return out

    def join(self, keys: NDArray[np.uint64], rows: tuple[int, ...]) -> NDArray[np.uint64]:
        """Hash several rows of a key matrix (columns, clicks) into one key a click; null where any is null."""
        out = np.empty(keys.shape[1], np.uint64)
        words = np.empty(len(rows), np.uint64)
        _join(keys, _numbers(rows), self._secret, words, words.view(np.uint8), out)
        return out


@lru_cache(maxsize=256)
def _numbers(rows: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


class Secret(NamedTuple):
    """A secret key, and the time from which clicks are hashed with it, microseconds UTC; 0 always."""

    secret: bytes
    since: int


class KeyRing(NamedTuple):
    """The secret keys of a place, oldest first."""

    keys: tuple[Secret, ...]

    @property
    def newest(self) -> Pseudonymiser:
        """Hashes with the newest key, which backfill uses, so that what it makes lasts longest."""
        return Pseudonymiser(self.keys[-1].secret, known=self._known)

    @property
    def oldest(self) -> Pseudonymiser:
        """Hashes with the oldest key."""
        return Pseudonymiser(self.keys[0].secret, known=self._known)

    def changes(self, now: int, horizon: int) -> int | None:
        """Return when after `now` the outcome of `at` next changes, microseconds UTC; None for never."""
        times = (time for key in self.keys[1:] for time in (key.since, key.since + horizon + _MARGIN))
        return min((time for time in times if time > now), default=None)

    def at(self, now: int, horizon: int) -> Pseudonymiser:
        """Return what hashes at a time: with the key that serves, and beside it with the next one, where there is one.

        Args:
            now: microseconds UTC.
            horizon: of the features' state, microseconds.

        Raises:
            SettingsError: a key follows another before that one serves.
        """
        overlap = horizon + _MARGIN
        for older, younger in pairwise(self.keys[1:]):
            if younger.since < older.since + overlap:
                raise SettingsError(
                    f"the secret key of {_iso(younger.since)} follows that of {_iso(older.since)} too soon: each"
                    f" needs {overlap // SECOND} s before the next; move its time, or delete its line"
                )
        serving = max(place for place, key in enumerate(self.keys) if place == 0 or key.since + overlap <= now)
        following = self.keys[serving + 1 : serving + 2]
        known = self._known
        begun = bool(following) and following[0].since <= now
        beside = Pseudonymiser(following[0].secret, known=known) if begun else None
        return Pseudonymiser(self.keys[serving].secret, beside=beside, known=known)

    def of(self, fingerprint: str) -> Pseudonymiser | None:
        """Return what hashes with the key of a fingerprint alone, or None where it is not on the ring."""
        found = (Pseudonymiser(key.secret, known=self._known) for key in self.keys)
        return next((one for one in found if one.fingerprint == fingerprint), None)

    @property
    def _known(self) -> frozenset[str]:
        return frozenset(Pseudonymiser(key.secret).fingerprint for key in self.keys)


def read_secrets(path: Path) -> KeyRing:
    """Return the keys of the environment variable SLIDR_KEY or the key file, which is made where missing.

    Raises:
        SettingsError: a line is not a key and a time, times do not ascend, or the file cannot be made.
    """
    name, text = "SLIDR_KEY", os.environ.get("SLIDR_KEY")
    if text is None:
        name, text = str(path), _read_or_make(path)
    lines = [line.split() for line in text.replace(",", "\n").splitlines() if line.strip()]
    keys = tuple(_secret(words, name) for words in lines)
    if not keys:
        raise SettingsError(f"{name} does not hold a secret key: 32 hexadecimal digits are expected")
    for older, younger in pairwise(keys):
        if younger.since <= older.since:
            raise SettingsError(
                f"{name}: each secret key but the first needs a time behind it, later than that of the line"
                f" before, such as {_EXAMPLE}"
            )
    if len({key.secret for key in keys}) < len(keys):
        raise SettingsError(f"{name}: one secret key stands on two lines; delete one of them")
    return KeyRing(keys)


def read_secret(path: Path) -> bytes:
    """Return the newest key of `read_secrets`."""
    return read_secrets(path).keys[-1].secret


def rotate_secret(path: Path, *, now: int, horizon: int) -> KeyRing:
    """Add a new key to the key file, hashed with from now on, and return the ring.

    Raises:
        SettingsError: the keys come from SLIDR_KEY, or an earlier rotation has not ended.
    """
    if "SLIDR_KEY" in os.environ:
        raise SettingsError(
            "SLIDR_KEY is set: add `,<32 hexadecimal digits> <time>` to it, with the time from which they are used"
        )
    ring = read_secrets(path)
    if ring.at(now, horizon).beside is not None or ring.keys[-1].since > now:
        ends = ring.keys[-1].since + horizon + _MARGIN
        raise SettingsError(f"{path}: the last rotation goes on until {_iso(ends)}; rotate again after that")
    grown = KeyRing((*ring.keys, Secret(secrets.token_bytes(KEY_BYTES), now)))
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.writelines(f"{key.secret.hex()}{f' {_iso(key.since)}' if key.since else ''}\n" for key in grown.keys)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return grown


def _read_or_make(path: Path) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Mode 0600 from the start: the key is what keeps the hashes from being reversed.
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
    except FileExistsError:
        pass
    except OSError as fault:
        raise SettingsError(f"no secret key: {path} cannot be written ({fault}); set SLIDR_KEY") from None
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as fault:
        raise SettingsError(f"no secret key: {path} cannot be read ({fault}); set SLIDR_KEY") from None


def _secret(words: list[str], name: str) -> Secret:
    try:
        secret = bytes.fromhex(words[0])
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise SettingsError(f"{name} does not hold a secret key: 32 hexadecimal digits are expected")
    if len(words) == 1:
        return Secret(secret, 0)
    try:
        time = datetime.fromisoformat(" ".join(words[1:]))
    except ValueError:
        time = datetime.min  # noqa: DTZ901 it has no zone, like any other time that is refused below
    if time.tzinfo is None:
        raise SettingsError(
            f"{name}: {' '.join(words[1:])!r} is not the time of a secret key; give it with a zone, such as {_EXAMPLE}"
        )
    return Secret(secret, int(time.timestamp()) * SECOND)


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time // SECOND, UTC).isoformat()
