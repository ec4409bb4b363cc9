"""The fold: one kernel, `state, row = fold(state, click)`, for every entity kind and every path.

For each click, in the order given, the entity's record is found, moved to the click's time, joined by the click, and
read into the row; the row includes the click itself. `now` is the later of the click's time and the latest time folded
for that entity, so nothing outside the entity decides what a row says, and a log folded one entity kind at a time
gives the same rows as one folded click by click.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import LN2, Whole, decay, hour_on_circle, weekday_on_circle
from slidr.features.distinct import (
    DENSE,
    DENSE_WORDS,
    FREE_DENSE,
    FREE_TABLES,
    LATE,
    LIVE,
    TABLE_WORDS,
    TABLES,
    add_distinct,
    count_distinct,
    free_distinct,
)
from slidr.features.layout import (
    BODY,
    GAPS,
    HALF_LIVES,
    HEADER,
    HOPS,
    HORIZON,
    KEY_ROW,
    SKETCH_WORDS,
    SKETCHES,
    STRIDE,
    WINDOWS,
)
from slidr.features.prefetch import prefetch

_SECONDS = 1e6
_HOURS = 3.6e9
_GAP_MEMORY = 16
"""The running mean of the gaps weighs the newest at least one in this many."""
_AHEAD = 8
"""Clicks between asking for a cache line and using it."""


@numba.njit(cache=True, error_model="numpy")
def find(index: NDArray[np.int64], key: np.uint64, used: NDArray[np.int64]) -> Whole:
    """Return the record of a key, which is given the next free one where it has none.

    The index holds pairs (key, record) by linear probing; its length is a power of two, and key 0 marks a free pair.
    """
    wanted = np.int64(key)
    mask = len(index) // 2 - 1
    slot = wanted & mask
    while True:
        held = index[2 * slot]
        if held == wanted:
            return index[2 * slot + 1]
        if held == 0:
            index[2 * slot] = wanted
            index[2 * slot + 1] = used[LIVE]
            used[LIVE] += 1
            return used[LIVE] - 1
        slot = (slot + 1) & mask


@numba.njit(cache=True, error_model="numpy")
def _windows(
    words: NDArray[np.uint32],
    ring: Whole,
    times: tuple[Whole, Whole, Whole],
    layout: NDArray[np.int64],
    rows: NDArray[np.float32],
    click: Whole,
) -> Whole:
    """Count the click in every window's ring and read the counts; returns how many windows were too late for it."""
    own_time, last, now = times
    late = 0
    at = BODY
    for _ in range(layout[WINDOWS]):
        hop = np.uint64(layout[at])
        current = np.int64(np.uint64(now) // hop)
        if last != 0:
            newest = np.int64(np.uint64(last) // hop)
            for gone in range(max(newest + 1, current - HOPS + 1), current + 1):
                words[ring + gone % HOPS] = np.uint32(0)
        own = current if own_time == now else np.int64(np.uint64(own_time) // hop)
        if current - own < HOPS:
            words[ring + own % HOPS] += np.uint32(1)
        else:
            late += 1
        count = np.int64(0)
        for slot in range(HOPS):
            count += np.int64(words[ring + slot])
        if layout[at + 1] >= 0:
            rows[click, layout[at + 1]] = np.float32(count)
        ring += HOPS
        at += 2
    return late


@numba.njit(cache=True, error_model="numpy")
def _velocities(
    floats: NDArray[np.float32],
    place: Whole,
    times: tuple[Whole, Whole, Whole],
    layout: NDArray[np.int64],
    rows: NDArray[np.float32],
    click: Whole,
) -> None:
    own_time, last, now = times
    at = BODY + 2 * layout[WINDOWS]
    for _ in range(layout[HALF_LIVES]):
        half_life = float(layout[at])
        held = float(floats[place])
        if last != 0 and now > last:
            held = held * decay(float(now - last), half_life)
        held += decay(float(now - own_time), half_life) if own_time != now else 1.0
        floats[place] = np.float32(held)
        if layout[at + 1] >= 0:
            rows[click, layout[at + 1]] = np.float32(float(floats[place]) * LN2 / (half_life / _HOURS))
        place += 1
        at += 2


@numba.njit(cache=True, error_model="numpy")
def _gap(
    words: NDArray[np.uint32],
    floats: NDArray[np.float32],
    place: Whole,
    times: tuple[Whole, Whole, Whole],
    layout: NDArray[np.int64],
    rows: NDArray[np.float32],
    click: Whole,
) -> None:
    """Note the gap since the newest click. A first click reads as one after the horizon, a late one as gap 0."""
    own_time, last, now = times
    gap = layout[HORIZON] / _SECONDS if last == 0 else float(now - last) / _SECONDS
    if last != 0 and own_time == now:
        seen: Whole = min(np.int64(words[place]) + 1, _GAP_MEMORY)
        weight = 1.0 / seen
        mean, variance = float(floats[place + 1]), float(floats[place + 2])
        off = gap - mean
        words[place] = np.uint32(seen)
        floats[place + 1] = np.float32(mean + weight * off)
        floats[place + 2] = np.float32((1.0 - weight) * (variance + weight * off * off))
    mean, variation = layout[HORIZON] / _SECONDS, 1.0
    if words[place] > 0:
        mean = float(floats[place + 1])
    if words[place] > 1:
        variation = np.sqrt(float(floats[place + 2])) / mean if mean > 0.0 else 0.0
    at = BODY + 2 * layout[WINDOWS] + 2 * layout[HALF_LIVES]
    if layout[at] >= 0:
        rows[click, layout[at]] = np.float32(gap)
    if layout[at + 1] >= 0:
        rows[click, layout[at + 1]] = np.float32(mean)
    if layout[at + 2] >= 0:
        rows[click, layout[at + 2]] = np.float32(variation)


@numba.njit(cache=True, error_model="numpy")
def _sketches(
    state: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]],
    place: Whole,
    times: tuple[Whole, Whole, Whole],
    layout: NDArray[np.int64],
    keys: NDArray[np.uint64],
    rows: NDArray[np.float32],
    click: Whole,
) -> None:
    own_time, last, now = times
    at = BODY + 2 * layout[WINDOWS] + 2 * layout[HALF_LIVES] + 3 * layout[GAPS]
    for _ in range(layout[SKETCHES]):
        unit, units = layout[at + 1], layout[at + 2]
        key = keys[layout[at], click]
        # The upper half of the key; zero stands for null, so a hash of zero becomes one.
        value = np.uint32(key >> np.uint64(32))
        if value == 0 and key != 0:
            value = np.uint32(1)
        current = now // unit
        add_distinct(state, place, value, (own_time // unit, last // unit, current), units)
        windows = layout[at + 3]
        for window in range(at + 4, at + 4 + 2 * windows, 2):
            rows[click, layout[window + 1]] = np.float32(count_distinct(state, place, current, layout[window], units))
        at += 4 + 2 * windows
        place += SKETCH_WORDS


@numba.njit(cache=True, error_model="numpy")
def _null_row(layout: NDArray[np.int64], rows: NDArray[np.float32], click: Whole) -> None:
    """Write the row's part for a click that has no such entity: no clicks, and a gap as of a first click."""
    at = BODY
    for _ in range(layout[WINDOWS] + layout[HALF_LIVES]):
        if layout[at + 1] >= 0:
            rows[click, layout[at + 1]] = np.float32(0.0)
        at += 2
    if layout[GAPS]:
        for statistic in range(3):
            if layout[at + statistic] >= 0:
                rows[click, layout[at + statistic]] = np.float32(1.0 if statistic == 2 else layout[HORIZON] / _SECONDS)
        at += 3
    for _ in range(layout[SKETCHES]):
        windows = layout[at + 3]
        for window in range(at + 4, at + 4 + 2 * windows, 2):
            rows[click, layout[window + 1]] = np.float32(0.0)
        at += 4 + 2 * windows


@numba.njit(cache=True, error_model="numpy")
def _renew(
    words: NDArray[np.uint32], base: Whole, layout: NDArray[np.int64], free: NDArray[np.int32], used: NDArray[np.int64]
) -> None:
    """Empty a record: its entity was idle for longer than the horizon and reads as new."""
    place = base + HEADER + HOPS * layout[WINDOWS] + layout[HALF_LIVES] + 3 * layout[GAPS]
    for _ in range(layout[SKETCHES]):
        free_distinct(words, place, free, used)
        place += SKETCH_WORDS
    words[base : base + layout[STRIDE]] = np.uint32(0)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def fold_block(
    state: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]],
    views: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]],
    layout: NDArray[np.int64],
    times: NDArray[np.int64],
    keys: NDArray[np.uint64],
    rows: NDArray[np.float32],
    start: Whole,
) -> Whole:
    """Fold the clicks from `start` on into one block and write the block's columns of their rows.

    Returns the first click not folded: less than their number where a pool of distinct counts ran out, and has to be
    grown before the fold goes on from there.

    Args:
        state: (records, tables, dense cells, free lists, used).
        views: (records as float32, records as int64, index of pairs key and record).
        layout: the block's layout array.
        times: microseconds UTC, in the order of the fold.
        keys: the key matrix, (columns, clicks).
        rows: (clicks, features), written in place.
        start: the first click to fold.
    """
    words, tables, cells, free, used = state
    floats, longs, index = views
    stride = layout[STRIDE]
    mine = keys[layout[KEY_ROW]]
    clicks = len(times)
    records = np.empty(clicks, np.int64)
    mask = len(index) // 2 - 1
    most_tables = len(tables) // TABLE_WORDS - layout[SKETCHES]
    most_dense = len(cells) // DENSE_WORDS - layout[SKETCHES]
    for step in range(start, clicks + 2 * _AHEAD):
        if step < clicks:
            prefetch(index, 2 * (np.int64(mine[step]) & mask))
        near = step - _AHEAD
        if start <= near < clicks:
            records[near] = -1
            if mine[near] != 0:
                records[near] = find(index, mine[near], used)
                for line in range(0, stride, 16):
                    prefetch(words, records[near] * stride + line)
        click = step - 2 * _AHEAD
        if click < start:
            continue
        if used[TABLES] - used[FREE_TABLES] > most_tables or used[DENSE] - used[FREE_DENSE] > most_dense:
            return click
        if records[click] < 0:
            _null_row(layout, rows, click)
            continue
        base = records[click] * stride
        own_time, last = times[click], longs[base // 2]
        if last != 0 and own_time - last > layout[HORIZON]:
            _renew(words, base, layout, free, used)
            last = np.int64(0)
        now = max(own_time, last)
        moments = (own_time, last, now)
        place = base + HEADER
        if _windows(words, place, moments, layout, rows, click) > 0:
            words[base + 2] += np.uint32(1)
            used[LATE] += 1
        place += HOPS * layout[WINDOWS]
        _velocities(floats, place, moments, layout, rows, click)
        place += layout[HALF_LIVES]
        if layout[GAPS]:
            _gap(words, floats, place, moments, layout, rows, click)
            place += 3
        if layout[SKETCHES]:
            _sketches(state, place, moments, layout, keys, rows, click)
        longs[base // 2] = now
    return clicks


@numba.njit(cache=True, error_model="numpy", nogil=True)
def fold_click(
    clock: NDArray[np.int64],
    missing: NDArray[np.int64],
    times: NDArray[np.int64],
    logged_in: NDArray[np.int8],
    keys: NDArray[np.uint64],
    rows: NDArray[np.float32],
) -> None:
    """Write the columns that read the click alone: its time, logged in (-1 is null), and what it lacks."""
    for click in range(len(times)):
        cos, sin = hour_on_circle(times[click])
        weekday_cos, weekday_sin = weekday_on_circle(times[click])
        known = 1.0 if logged_in[click] == 1 else 0.0
        values = (cos, sin, weekday_cos, weekday_sin, known)
        for part in range(5):
            if clock[part] >= 0:
                rows[click, clock[part]] = np.float32(values[part])
        for pair in range(len(missing)):
            source, column = missing[pair]
            null = logged_in[click] < 0 if source < 0 else keys[source, click] == 0
            rows[click, column] = np.float32(1.0 if null else 0.0)
