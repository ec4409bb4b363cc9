"""Distinct counts: how many values of a column an entity's clicks had, in bounded memory, for several windows at once.

Every value is kept as the unit of time in which it was last seen, so that one structure serves all windows:

    tier 0   up to INLINE values in the record itself, exact
    tier 1   up to SLOTS values in a table of their own, exact
    tier 2   CELLS cells of 16-bit stamps, a ring that counts the cells by stamp, and its total: linear counting

A sketch moves up when it is full of values still in its longest window, and is freed with its record.
"""

from __future__ import annotations

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import CELLS, ESTIMATES, Whole
from slidr.features.layout import INLINE, MOST_UNITS

SLOTS = 64
TABLE_WORDS = 2 * SLOTS
FILLED = CELLS + MOST_UNITS
"""Place of the total of a dense count's ring."""
DENSE_WORDS = FILLED + 32
TIER, SLOT, HASHES, STAMPS = 0, 1, 2, 2 + INLINE
# Places in a state's `used` array: records live, slots taken and freed of each pool, clicks too late for some window,
# records evicted at the cap, and, in a snapshot, records there was room for.
LIVE, TABLES, DENSE, FREE_TABLES, FREE_DENSE, LATE, EVICTED, ROOM, USED = range(9)
State: TypeAlias = tuple[
    NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]
]
"""Records, tables of tier 1, cells of tier 2, lists of free slots, and `used`."""
_AGE_BITS = 0x7FFF
_STAMPED = 0x8000


@numba.njit(cache=True, error_model="numpy", forceinline=True)
def _put(words: NDArray[np.uint32], size: int, value: np.uint32, own: Whole, oldest: np.uint32) -> bool:
    """Note a value in an exact table of hashes and stamps; False where the table is full of live values.

    A stamp is a unit of time plus one; those above `oldest` are live. No early exit: the search is one of vectors.
    """
    hashes, stamps = words[:size], words[size : 2 * size]
    found, free = np.uint32(size), np.uint32(size)
    for slot in range(size):
        live = stamps[slot] > oldest
        place = np.uint32(slot)
        found = min(found, place if live and hashes[slot] == value else np.uint32(size))
        free = min(free, np.uint32(size) if live else place)
    stamp = np.uint32(own + 1)
    if found < size:
        stamps[found] = max(stamps[found], stamp)
        return True
    if free == size:
        return False
    hashes[free], stamps[free] = value, stamp
    return True


@numba.njit(cache=True, error_model="numpy", forceinline=True)
def _count(stamps: NDArray[np.uint32], size: int, oldest: np.uint32) -> float:
    count = np.uint32(0)
    for slot in range(size):
        count += np.uint32(stamps[slot] > oldest)
    return float(count)


@numba.njit(cache=True, error_model="numpy", forceinline=True)
def _oldest(now: Whole, window: Whole) -> np.uint32:
    """Return the stamp that the newest unit outside the window has; live stamps are above it."""
    return np.uint32(max(now + 1 - window, 0))


@numba.njit(cache=True, error_model="numpy")
def _stamp(cells: NDArray[np.uint16], value: np.uint32, own: Whole, now: Whole, units: Whole) -> None:
    cell = np.int64(value) >> 21
    ring = cells[CELLS:]
    stamp = np.int64(cells[cell])
    age = (now - stamp) & _AGE_BITS
    if stamp != 0 and age < units:
        if own <= now - age:
            return
        ring[(now - age) % units] -= np.uint16(1)
        cells[FILLED] -= np.uint16(1)
    cells[cell] = np.uint16((own & _AGE_BITS) | _STAMPED)
    ring[own % units] += np.uint16(1)
    cells[FILLED] += np.uint16(1)


@numba.njit(cache=True, error_model="numpy")
def _advance(cells: NDArray[np.uint16], last: Whole, now: Whole, units: Whole) -> None:
    """Let the ring forget what has left the longest window."""
    if now == last:
        return
    if now - last >= units:
        cells[:] = np.uint16(0)
        return
    ring = cells[CELLS:]
    for unit in range(last + 1, now + 1):
        cells[FILLED] -= ring[unit % units]
        ring[unit % units] = np.uint16(0)
    # Stamps wrap after 2^15 units; expired ones are cleared long before, so that none can look fresh again.
    if (now >> 13) != (last >> 13):
        for cell in range(CELLS):
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
    state: State,
    at: Whole,
    value: np.uint32,
    units_of_time: tuple[Whole, Whole, Whole],
    units: Whole,
) -> None:
    """Note a value in the sketch that begins at word `at` of the records.

    `state` is (records, tables, dense cells, free lists, used); `units_of_time` is (own, last, now): the unit of the
    click, of the entity's newest click before it, and of the newer of both.
    """
    words, _tables, _cells, free, used = state
    own, last, now = units_of_time
    if words[at + TIER] == 2:
        _advance(_dense(state, at), last, now, units)
    if value == 0 or now - own >= units:
        return
    oldest = _oldest(now, units)
    if words[at + TIER] == 0:
        inline = words[at + HASHES : at + HASHES + 2 * INLINE]
        if _put(inline, INLINE, value, own, oldest):
            return
        slot = _take(used, TABLES, free[0], FREE_TABLES)
        words[at + TIER], words[at + SLOT] = np.uint32(1), np.uint32(slot)
        table = _table(state, at)
        table[:] = np.uint32(0)
        table[:INLINE] = inline[:INLINE]
        table[SLOTS : SLOTS + INLINE] = inline[INLINE:]
    if words[at + TIER] == 1:
        table = _table(state, at)
        if _put(table, SLOTS, value, own, oldest):
            return
        free[0, used[FREE_TABLES]] = np.int32(words[at + SLOT])
        used[FREE_TABLES] += 1
        slot = _take(used, DENSE, free[1], FREE_DENSE)
        words[at + TIER], words[at + SLOT] = np.uint32(2), np.uint32(slot)
        cells = _dense(state, at)
        cells[:] = np.uint16(0)
        for entry in range(SLOTS):
            _stamp(cells, table[entry], np.int64(table[SLOTS + entry]) - 1, now, units)
    _stamp(_dense(state, at), value, own, now, units)


@numba.njit(cache=True, error_model="numpy", forceinline=True)
def _table(state: State, at: Whole) -> NDArray[np.uint32]:
    """Return the table that a sketch of tier 1 points to."""
    table = np.int64(state[0][at + SLOT]) * TABLE_WORDS
    return state[1][table : table + TABLE_WORDS]


@numba.njit(cache=True, error_model="numpy", forceinline=True)
def _dense(state: State, at: Whole) -> NDArray[np.uint16]:
    """Return the cells that a sketch of tier 2 points to."""
    dense = np.int64(state[0][at + SLOT]) * DENSE_WORDS
    return state[2][dense : dense + DENSE_WORDS]


@numba.njit(cache=True, error_model="numpy")
def count_distinct(
    state: State,
    at: Whole,
    now: Whole,
    window: Whole,
    units: Whole,
) -> float:
    """Return how many distinct values the sketch holds whose last sight is within `window` units before `now`."""
    words = state[0]
    oldest = _oldest(now, window)
    if words[at + TIER] == 0:
        return _count(words[at + STAMPS : at + STAMPS + INLINE], INLINE, oldest)
    if words[at + TIER] == 1:
        return _count(_table(state, at)[SLOTS:], SLOTS, oldest)
    cells = _dense(state, at)
    if window == units:
        return float(ESTIMATES[cells[FILLED]])
    ring = cells[CELLS:FILLED]
    # The window's units end at `now` and may wrap round the ring's end.
    newest = now % units
    first = newest - window + 1
    filled = np.int64(0)
    for unit in range(max(first, 0), newest + 1):
        filled += np.int64(ring[unit])
    for unit in range(units + first, units if first < 0 else 0):
        filled += np.int64(ring[unit])
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
