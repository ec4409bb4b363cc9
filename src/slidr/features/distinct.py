"""Distinct counts: how many values of a column an entity's clicks had, in bounded memory, for several windows at once.

Every value is kept as the unit of time in which it was last seen, so that one structure serves all windows:

    tier 0   up to INLINE values in the record itself, exact
    tier 1   up to SLOTS values in a table of their own, exact
    tier 2   CELLS cells of 16-bit stamps, a ring that counts the cells by stamp, and its total: linear counting

A sketch moves up when it is full of values still in its longest window, and is freed with its record.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import CELLS, ESTIMATES, Whole
from slidr.features.kernel import kernel
from slidr.features.layout import INLINE, MOST_UNITS
from slidr.features.prefetch import natural

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
_FLOORS = 2 * INLINE - 1
_AGE_BITS = 0x7FFF
_STAMPED = 0x8000


@kernel(inline=True)
def short_key(key: np.uint64) -> np.uint32:
    """Return the upper half of a key; zero stands for null, so a half of zero becomes one."""
    value = np.uint32(key >> np.uint64(32))
    return np.uint32(1) if value == 0 and key != 0 else value


@kernel(inline=True)
def _put(words: NDArray[np.uint32], at: Whole, size: int, value: np.uint32, own: Whole, oldest: np.uint32) -> bool:
    """Note a value in an exact table of hashes and stamps; False where the table is full of live values.

    A stamp is a unit of time plus one; those above `oldest` are live. No early exit: the search is one of vectors.
    """
    found, free = np.uint32(size), np.uint32(size)
    for slot in range(size):
        live = words[at + size + slot] > oldest
        place = np.uint32(slot)
        found = min(found, place if live and words[at + slot] == value else np.uint32(size))
        free = min(free, np.uint32(size) if live else place)
    stamp = np.uint32(own + 1)
    if found < size:
        words[at + size + found] = max(words[at + size + found], stamp)
        return True
    if free == size:
        return False
    words[at + free], words[at + size + free] = value, stamp
    return True


@kernel(inline=True)
def _count(words: NDArray[np.uint32], at: Whole, size: int, oldest: np.uint32) -> float:
    count = np.uint32(0)
    for slot in range(size):
        count += np.uint32(words[at + slot] > oldest)
    return float(count)


@kernel(inline=True)
def _oldest(now: Whole, window: Whole) -> np.uint32:
    """Return the stamp that the newest unit outside the window has; live stamps are above it."""
    return np.uint32(max(now + 1 - window, 0))


@kernel(inline=True)
def _stamp(
    cells: NDArray[np.uint16], at: Whole, value: np.uint32, own: Whole, when: tuple[Whole, Whole], units: Whole
) -> None:
    """Note a value in dense cells; `when` is the present unit and its place in the ring."""
    now, newest = when
    cell = at + (np.int64(value) >> 21)
    ring = at + CELLS
    stamp = np.int64(cells[cell])
    age = (now - stamp) & _AGE_BITS
    if stamp != 0 and age < units:
        if own <= now - age:
            return
        cells[natural(ring + (newest - age if newest >= age else newest - age + units))] -= np.uint16(1)
        cells[at + FILLED] -= np.uint16(1)
    cells[cell] = np.uint16((own & _AGE_BITS) | _STAMPED)
    age = now - own
    cells[natural(ring + (newest - age if newest >= age else newest - age + units))] += np.uint16(1)
    cells[at + FILLED] += np.uint16(1)


@kernel()
def _advance(cells: NDArray[np.uint16], at: Whole, last: Whole, now: Whole, units: Whole) -> None:
    """Let the ring forget what has left the longest window."""
    if now - last >= units:
        cells[at : at + DENSE_WORDS] = np.uint16(0)
        return
    ring = at + CELLS
    for unit in range(last + 1, now + 1):
        cells[at + FILLED] -= cells[ring + unit % units]
        cells[ring + unit % units] = np.uint16(0)
    # Stamps wrap after 2^15 units; expired ones are cleared long before, so that none can look fresh again.
    if (now >> 13) != (last >> 13):
        for cell in range(at, ring):
            if ((now - np.int64(cells[cell])) & _AGE_BITS) >= units:
                cells[cell] = np.uint16(0)


@kernel()
def _take(used: NDArray[np.int64], pool: Whole, free: NDArray[np.int32], spare: Whole) -> Whole:
    if used[spare] > 0:
        used[spare] -= 1
        return np.int64(free[used[spare]])
    used[pool] += 1
    return used[pool] - 1


@kernel()
def _enter_table(state: State, at: Whole) -> None:
    """Move a sketch from its record into a table."""
    words, tables, _cells, free, used = state
    slot = _take(used, TABLES, free[0], FREE_TABLES)
    words[at + TIER], words[at + SLOT] = np.uint32(1), np.uint32(slot)
    table = slot * TABLE_WORDS
    tables[table : table + TABLE_WORDS] = np.uint32(0)
    for entry in range(INLINE):
        tables[table + entry] = words[at + HASHES + entry]
        tables[table + SLOTS + entry] = words[at + STAMPS + entry]


@kernel()
def _enter_cells(state: State, at: Whole, when: tuple[Whole, Whole], units: Whole) -> None:
    """Move a sketch from its table, full of live values, into dense cells."""
    words, tables, cells, free, used = state
    table = np.int64(words[at + SLOT]) * TABLE_WORDS
    free[0, used[FREE_TABLES]] = np.int32(words[at + SLOT])
    used[FREE_TABLES] += 1
    slot = _take(used, DENSE, free[1], FREE_DENSE)
    words[at + TIER], words[at + SLOT] = np.uint32(2), np.uint32(slot)
    dense = slot * DENSE_WORDS
    cells[dense : dense + DENSE_WORDS] = np.uint16(0)
    for entry in range(table, table + SLOTS):
        _stamp(cells, dense, tables[entry], np.int64(tables[entry + SLOTS]) - 1, when, units)


@kernel(inline=True)
def add_distinct(
    state: State,
    at: Whole,
    value: np.uint32,
    units_of_time: tuple[Whole, Whole, Whole, Whole],
    units: Whole,
) -> None:
    """Note a value in the sketch that begins at word `at` of the records.

    `units_of_time` is (own, last, now, newest): the unit of the click, of the entity's newest click before it, of the
    newer of both, and the place of that one in the ring.
    """
    words, tables, cells, _free, _used = state
    own, last, now, newest = units_of_time
    if words[at + TIER] == 2 and now != last:
        _advance(cells, np.int64(words[at + SLOT]) * DENSE_WORDS, last, now, units)
    if value == 0 or now - own >= units:
        return
    oldest = _oldest(now, units)
    if words[at + TIER] == 0:
        if _put(words, at + HASHES, INLINE, value, own, oldest):
            return
        _enter_table(state, at)
    if words[at + TIER] == 1:
        if _put(tables, np.int64(words[at + SLOT]) * TABLE_WORDS, SLOTS, value, own, oldest):
            return
        _enter_cells(state, at, (now, newest), units)
    _stamp(cells, np.int64(words[at + SLOT]) * DENSE_WORDS, value, own, (now, newest), units)


@kernel(inline=True)
def count_distinct(state: State, at: Whole, now: Whole, newest: Whole, window: Whole, units: Whole) -> float:
    """Return how many distinct values the sketch holds whose last sight is within `window` units before `now`.

    `newest` is the place of the unit `now` in the ring.
    """
    words, tables, cells, _free, _used = state
    if words[at + TIER] == 0:
        return _count(words, at + STAMPS, INLINE, _oldest(now, window))
    if words[at + TIER] == 1:
        return _count(tables, np.int64(words[at + SLOT]) * TABLE_WORDS + SLOTS, SLOTS, _oldest(now, window))
    dense = np.int64(words[at + SLOT]) * DENSE_WORDS
    if window == units:
        return float(ESTIMATES[cells[dense + FILLED]])
    # The window's units end at `now` and may wrap round the ring's end.
    ring = dense + CELLS
    first = newest - window + 1
    filled = np.int64(0)
    for unit in range(natural(ring + max(first, 0)), ring + newest + 1):
        filled += np.int64(cells[unit])
    for unit in range(natural(ring + units + first), ring + units if first < 0 else 0):
        filled += np.int64(cells[unit])
    return float(ESTIMATES[filled])


@kernel()
def keep_floors(
    words: NDArray[np.uint32],
    at: Whole,
    tables: NDArray[np.uint32],
    table: Whole,
    layout: NDArray[np.int64],
    now: Whole,
) -> None:
    """Note what a table counted when cells took its place: until the unit ends, no count falls below that.

    Cells share values, so that they may count fewer. The floors stand where the record kept its first values: the unit,
    and a count for each window of `layout`, a sketch's part of the layout from its number of windows on.
    """
    words[at + HASHES] = np.uint32(now)
    for window in range(min(layout[0], _FLOORS)):
        oldest = _oldest(now, layout[1 + 2 * window])
        words[at + HASHES + 1 + window] = np.uint32(_count(tables, table * TABLE_WORDS + SLOTS, SLOTS, oldest))


@kernel(inline=True)
def floor_distinct(words: NDArray[np.uint32], at: Whole, now: Whole, window: Whole) -> float:
    """Return what the count of a sketch's window of this number must not fall below."""
    if words[at + TIER] == 2 and words[at + HASHES] == np.uint32(now) and window < _FLOORS:
        return float(words[at + HASHES + 1 + window])
    return 0.0


@kernel()
def free_distinct(words: NDArray[np.uint32], at: Whole, free: NDArray[np.int32], used: NDArray[np.int64]) -> None:
    """Give the sketch's slot back to its pool."""
    if words[at + TIER] == 1:
        free[0, used[FREE_TABLES]] = np.int32(words[at + SLOT])
        used[FREE_TABLES] += 1
    elif words[at + TIER] == 2:
        free[1, used[FREE_DENSE]] = np.int32(words[at + SLOT])
        used[FREE_DENSE] += 1
