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
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR, SECOND
from slidr.errors import SettingsError
from slidr.features.siphash import PLACES, hash_columns, hash_spans, join_keys

KEY_BYTES = 16
_EXAMPLE = "2026-03-01T00:00:00+00:00"
_MARGIN = HOUR
"""Keys overlap longer than the horizon by this: clicks come late, and some are dated ahead of the clock."""
_MANY = 1024
"""Texts of which it is worth remembering the long ones."""
_MOST_PARTS = 64  # of a joined key; there are no more columns to join
_NO_PLACES, _NO_JOINS = np.zeros(0, np.int64), np.zeros((0, 1), np.int64)


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
        parts = np.zeros(_MOST_PARTS, np.uint64)
        self._joining = (np.frombuffer(secret, dtype="<u8").astype(np.uint64), parts, parts.view(np.uint8))
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
        hashes: NDArray[np.uint64] = self.columns(values, 1)[0]
        return hashes

    def columns(
        self, values: list[bytes | None], columns: int, joins: NDArray[np.int64] = _NO_JOINS
    ) -> NDArray[np.uint64]:
        """Hash columns of byte strings, and below them keys that are joined of several; null becomes 0.

        A joined key is the hash of its parts' hashes, and null where any of them is.

        Args:
            values: one column behind the other.
            columns: how many columns they are.
            joins: for each joined key the columns of its parts, filled up with -1; int64[joined keys, most parts].

        Returns:
            uint64[columns and joined keys, values of a column].
        """
        sizes = np.array([0, *[-1 if value is None else len(value) for value in values]], np.int64)
        data = np.frombuffer(b"".join([value for value in values if value]), np.uint8)
        out = np.empty((columns + len(joins), len(values) // columns), np.uint64)
        hash_columns((data, sizes, _room(len(values))), joins, self._joining, out)
        return out

    def spans(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], valid: NDArray[np.bool_]
    ) -> NDArray[np.uint64]:
        """Hash the spans `data[offsets[i]:offsets[i + 1]]`; rows that are not valid become 0."""
        out = np.empty(len(valid), np.uint64)
        hash_spans((data, offsets, _room(len(valid))), valid, self._joining[0], out)
        return out

    def join(self, keys: NDArray[np.uint64], joins: NDArray[np.int64]) -> None:
        """Fill the last rows of a key matrix, uint64[rows, clicks], with joined keys; see `columns`."""
        join_keys(keys, joins, self._joining)


def _room(texts: int) -> NDArray[np.int64]:
    """Return places for the long ones among so many texts."""
    return np.zeros(PLACES, np.int64) if texts >= _MANY else _NO_PLACES


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
