"""SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), as kernels over many texts."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.kernel import kernel
from slidr.features.prefetch import eight_bytes, natural

_LONG = 48
"""Bytes of a text, such as a browser's, from which on it is sooner compared with one seen before than hashed."""
_PLACES_BITS = 12
PLACES = 1 << _PLACES_BITS
"""Places for the long texts that were seen last."""


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


@kernel(inline=True)
def _hash(
    texts: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
    row: Whole,
    secret: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> np.uint64:
    """Return the hash of a text. A long one that equals the last long one at its place in `seen` has its hash."""
    data, offsets, seen = texts
    start: Whole = offsets[row]
    stop: Whole = offsets[row + 1]
    if stop - start >= _LONG and len(seen):
        place = _place_of(data, start, stop)
        last = seen[place] - 1
        seen[place] = row + 1
        if last >= 0 and _equal(data, (start, stop), (offsets[last], offsets[last + 1])):
            return np.uint64(out[last])
    return max(_siphash(data, start, stop, secret), np.uint64(1))


@kernel(inline=True)
def _join(
    keys: NDArray[np.uint64],
    rows: NDArray[np.int64],
    click: Whole,
    secret: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]],
) -> np.uint64:
    """Return the hash of the keys of a click in `rows`, up to one that is negative; 0 where any is null."""
    key, words, data = secret
    null, parts = False, 0
    while parts < len(rows) and rows[parts] >= 0:
        words[parts] = keys[rows[parts], click]
        null |= words[parts] == np.uint64(0)
        parts += 1
    return np.uint64(0) if null else max(_siphash(data, 0, 8 * parts, key), np.uint64(1))


@kernel()
def hash_spans(
    texts: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
    valid: NDArray[np.bool_],
    secret: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None:
    """Hash texts; null becomes 0.

    Args:
        texts: (bytes, where each text begins and the last one ends, places for long texts as row plus one, or none).
        valid: which are not null.
        secret: the key, two words.
        out: the hashes.
    """
    for row in range(len(valid)):
        out[row] = _hash(texts, row, secret, out) if valid[row] else np.uint64(0)


@kernel()
def join_keys(
    keys: NDArray[np.uint64],
    joins: NDArray[np.int64],
    secret: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]],
) -> None:
    """Fill the last rows of a key matrix with keys that are joined of those above; `joins` as in `hash_columns`."""
    first = len(keys) - len(joins)
    for number in range(len(joins)):
        for click in range(keys.shape[1]):
            keys[first + number, click] = _join(keys, joins[number], click, secret)


@kernel()
def hash_columns(
    texts: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
    joins: NDArray[np.int64],
    secret: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]],
    out: NDArray[np.uint64],
) -> None:
    """Hash columns of texts, and below them keys that are joined of several; null becomes 0.

    Args:
        texts: (bytes, 0 and then the size of each text, -1 for null, which becomes its end, places for long texts).
        joins: for each joined key the rows of its parts, filled up with -1.
        secret: (the key, room for the parts of a joined key, its bytes).
        out: rows of hashes, a column's each and then a joined key's.
    """
    _data, offsets, _seen = texts
    flat = out.reshape(-1)
    for row in range((len(out) - len(joins)) * out.shape[1]):
        size = offsets[row + 1]
        offsets[row + 1] = offsets[row] + max(size, 0)
        flat[row] = _hash(texts, row, secret[0], flat) if size >= 0 else np.uint64(0)
    join_keys(out, joins, secret)
