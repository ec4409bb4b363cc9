"""Marks of evicted entities: which keys lost their state while it was still of use.

A mark is 32 bits: half a fingerprint of the key, half the entity's newest time in 64ths of the horizon. A key's mark
stands in one bucket of eight, where a new one takes the place of the oldest. So memory is bounded; a mark is lost
where more than eight keys of one bucket were evicted within a horizon, and 1 new key in 8,000 at most is taken for an
evicted one. An entity that comes back within 1/64 after its horizon is too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.kernel import kernel

_BUCKET = 8
_FEWEST = 1024
"""Marks that the smallest table has room for."""
_PARTS = 64
"""Parts of a horizon in which the age of a mark is told."""
_LATE = 16 * _PARTS
"""Parts by which a click may be older than its entity's newest one and still find the mark."""


def make_marks(entities: int) -> NDArray[np.uint32]:
    """Return an empty table with room for twice as many marks as entities."""
    return np.zeros(max(_FEWEST, 1 << (2 * entities - 1).bit_length()), np.uint32)


@kernel()
def _bucket(marks: NDArray[np.uint32], key: Whole) -> Whole:
    # The middle bits: the lowest choose the place in the index, the upper half is counted by distinct counts.
    return np.int64((np.uint64(key) >> np.uint64(16)) & np.uint64(len(marks) - 1)) // _BUCKET * _BUCKET


@kernel()
def _part(time: Whole, horizon: Whole) -> Whole:
    return int(float(time) / (float(horizon) / _PARTS)) & 0xFFFF


@kernel()
def _fingerprint(key: Whole) -> Whole:
    return np.int64(np.uint64(key) & np.uint64(0xFFFF)) or 1


@kernel()
def _age(mark: Whole, part: Whole) -> Whole:
    """Return by how many parts a mark is older than `part`; negative where it is younger."""
    return ((part - (np.int64(mark) & 0xFFFF) + 0x8000) & 0xFFFF) - 0x8000


@kernel()
def leave_mark(marks: NDArray[np.uint32], key: Whole, newest: Whole, horizon: Whole) -> None:
    """Note that a key was evicted whose newest click was at `newest`."""
    bucket, part = _bucket(marks, key), _part(newest, horizon)
    place = bucket
    for slot in range(bucket, bucket + _BUCKET):
        if marks[slot] == 0 or np.int64(marks[slot]) >> 16 == _fingerprint(key):
            place = slot
            break
        if _age(marks[slot], part) > _age(marks[place], part):
            place = slot
    marks[place] = np.uint32(_fingerprint(key) << 16 | part)


@kernel()
def take_mark(marks: NDArray[np.uint32], key: Whole, time: Whole, horizon: Whole) -> bool:
    """Return whether a key was evicted within the horizon before `time`, and remove its mark."""
    bucket, part = _bucket(marks, key), _part(time, horizon)
    for slot in range(bucket, bucket + _BUCKET):
        if marks[slot] != 0 and np.int64(marks[slot]) >> 16 == _fingerprint(key):
            fresh: bool = -_LATE <= _age(marks[slot], part) <= _PARTS
            marks[slot] = np.uint32(0)
            return fresh
    return False
