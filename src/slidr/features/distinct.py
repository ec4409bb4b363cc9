"""Distinct counts: how many values of a column an entity's clicks had, in bounded memory, for several windows at once.

Every value is kept as the unit of time in which it was last seen, so that one structure serves all windows:

    tier 0   up to INLINE values in the record itself, exact
    tier 1   up to SLOTS values in a table of their own, exact
    tier 2   CELLS cells of 16-bit stamps, and a ring that counts the cells by stamp: linear counting

A sketch moves up when it is full of values still in its longest window, and is freed with its record.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import CELLS, ESTIMATES, Whole
from slidr.features.layout import INLINE, MOST_UNITS

SLOTS = 64
TABLE_WORDS = 2 * SLOTS
DENSE_WORDS = CELLS + MOST_UNITS
TIER, SLOT, HASHES, STAMPS = 0, 1, 2, 2 + INLINE
# Counters in the store's `used` array: slots taken and freed of each pool.
LIVE, TABLES, DENSE, FREE_TABLES, FREE_DENSE, LATE = range(6)
_AGE_BITS = 0x7FFF
_STAMPED = 0x8000


@numba.njit(cache=True, error_model="numpy")
def _put(
    words: NDArray[np.uint32], at: Whole, size: Whole, value: np.uint32, own: Whole, now: Whole, units: Whole
) -> bool:
    """Note a value in an exact table of hashes and stamps; False where the table is full of live values."""
    free = -1
    for slot in range(size):
        stamp = np.int64(words[at + size + slot])
        if stamp != 0 and now - (stamp - 1) < units:
            if words[at + slot] == value:
                words[at + size + slot] = np.uint32(max(stamp, own + 1))
                return True
        elif free < 0:
            free = slot
    if free < 0:
        return False
    words[at + free] = value
    words[at + size + free] = np.uint32(own + 1)
    return True


@numba.njit(cache=True, error_model="numpy")
def _count(words: NDArray[np.uint32], at: Whole, size: Whole, now: Whole, window: Whole) -> float:
    count: Whole = 0
    for slot in range(size):
        stamp = np.int64(words[at + size + slot])
        count += np.int64(stamp != 0) & np.int64(now - (stamp - 1) < window)
    return float(count)


@numba.njit(cache=True, error_model="numpy")
def _stamp(cells: NDArray[np.uint16], at: Whole, value: np.uint32, own: Whole, now: Whole, units: Whole) -> None:
    cell = at + (np.int64(value) >> 21)
    ring = at + CELLS
    stamp = np.int64(cells[cell])
    age = (now - stamp) & _AGE_BITS
    if stamp != 0 and age < units:
        if own <= now - age:
            return
        cells[ring + (now - age) % units] -= np.uint16(1)
    cells[cell] = np.uint16((own & _AGE_BITS) | _STAMPED)
    cells[ring + own % units] += np.uint16(1)


@numba.njit(cache=True, error_model="numpy")
def _advance(cells: NDArray[np.uint16], at: Whole, last: Whole, now: Whole, units: Whole) -> None:
    """Let the ring forget what has left the longest window."""
    ring = at + CELLS
    if now - last >= units:
        cells[at : ring + units] = np.uint16(0)
        return
    for unit in range(last + 1, now + 1):
        cells[ring + unit % units] = np.uint16(0)
    # Stamps wrap after 2^15 units; expired ones are cleared long before, so that none can look fresh again.
    if (now >> 13) != (last >> 13):
        for cell in range(at, ring):
            if ((now - np.int64(cells[cell])) & _AGE_BITS) >= units:
                cells[cell] = np.uint16(0)


@numba.njit(cache=True, error_model="numpy")
def _take(used: NDArray[np.int64], pool: Whole, free: NDArray[np.int32], spare: Whole) -> Whole:
    if used[spare] > 0:
        used[spare] -= 1
        return np.int64(free[used[spare]])
    used[pool] += 1
    return used[pool] - 1


@numba.njit(cache=True, error_model="numpy")
def add_distinct(
    state: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]],
    at: Whole,
    value: np.uint32,
    units_of_time: tuple[Whole, Whole, Whole],
    units: Whole,
) -> None:
    """Note a value in the sketch that begins at word `at` of the records.

    `state` is (records, tables, dense cells, free lists, used); `units_of_time` is (own, last, now): the unit of the
    click, of the entity's newest click before it, and of the newer of both.
    """
    words, tables, cells, free, used = state
    own, last, now = units_of_time
    if words[at + TIER] == 2:
        _advance(cells, np.int64(words[at + SLOT]) * DENSE_WORDS, last, now, units)
    if value == 0 or now - own >= units:
        return
    if words[at + TIER] == 0:
        if _put(words, at + HASHES, INLINE, value, own, now, units):
            return
        slot = _take(used, TABLES, free[0], FREE_TABLES)
        table = slot * TABLE_WORDS
        tables[table : table + TABLE_WORDS] = np.uint32(0)
        for entry in range(INLINE):
            tables[table + entry] = words[at + HASHES + entry]
            tables[table + SLOTS + entry] = words[at + STAMPS + entry]
        words[at + TIER], words[at + SLOT] = np.uint32(1), np.uint32(slot)
    if words[at + TIER] == 1:
        table = np.int64(words[at + SLOT]) * TABLE_WORDS
        if _put(tables, table, SLOTS, value, own, now, units):
            return
        slot = _take(used, DENSE, free[1], FREE_DENSE)
        dense = slot * DENSE_WORDS
        cells[dense : dense + DENSE_WORDS] = np.uint16(0)
        for entry in range(SLOTS):
            seen = np.int64(tables[table + SLOTS + entry]) - 1
            _stamp(cells, dense, tables[table + entry], seen, now, units)
        free[0, used[FREE_TABLES]] = np.int32(words[at + SLOT])
        used[FREE_TABLES] += 1
        words[at + TIER], words[at + SLOT] = np.uint32(2), np.uint32(slot)
    _stamp(cells, np.int64(words[at + SLOT]) * DENSE_WORDS, value, own, now, units)


@numba.njit(cache=True, error_model="numpy")
def count_distinct(
    state: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]],
    at: Whole,
    now: Whole,
    window: Whole,
    units: Whole,
) -> float:
    """Return how many distinct values the sketch holds whose last sight is within `window` units before `now`."""
    words, tables, cells, _free, _used = state
    if words[at + TIER] == 0:
        return _count(words, at + HASHES, INLINE, now, window)
    if words[at + TIER] == 1:
        return _count(tables, np.int64(words[at + SLOT]) * TABLE_WORDS, SLOTS, now, window)
    ring = np.int64(words[at + SLOT]) * DENSE_WORDS + CELLS
    # The window's units end at `now` and may wrap round the ring's end.
    newest = now % units
    oldest = newest - window + 1
    filled = np.int64(0)
    for unit in range(max(oldest, 0), newest + 1):
        filled += np.int64(cells[ring + unit])
    for unit in range(units + oldest, units if oldest < 0 else 0):
        filled += np.int64(cells[ring + unit])
    return float(ESTIMATES[filled])


@numba.njit(cache=True, error_model="numpy")
def free_distinct(words: NDArray[np.uint32], at: Whole, free: NDArray[np.int32], used: NDArray[np.int64]) -> None:
    """Give the sketch's slot back to its pool."""
    if words[at + TIER] == 1:
        free[0, used[FREE_TABLES]] = np.int32(words[at + SLOT])
        used[FREE_TABLES] += 1
    elif words[at + TIER] == 2:
        free[1, used[FREE_DENSE]] = np.int32(words[at + SLOT])
        used[FREE_DENSE] += 1
