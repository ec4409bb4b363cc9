"""The fold: one kernel, `state, row = fold(state, click)`, for every entity kind and every path.

For each click, in the order given, the entity's record is found, moved to the click's time, joined by the click, and
read into the row; the row includes the click itself. `now` is the later of the click's time and the latest time folded
for that entity, so nothing outside the entity decides what a row says, and a log folded one entity kind at a time
gives the same rows as one folded click by click.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import LN2, Whole, decay, hour_on_circle, weekday_on_circle
from slidr.features.distinct import (
    LATE,
    SLOT,
    TIER,
    State,
    add_distinct,
    count_distinct,
    floor_distinct,
    free_distinct,
    keep_floors,
    short_key,
)
from slidr.features.kernel import kernel
from slidr.features.layout import (
    BODY,
    BURSTS,
    DOUBTFUL,
    GAPS,
    HALF_LIVES,
    HEADER,
    HOPS,
    HORIZON,
    RING_WORDS,
    SKETCH_WORDS,
    SKETCHES,
    STRIDE,
    WINDOWS,
    sketches_at,
)
from slidr.features.prefetch import natural, turn_ring

_SECONDS = 1e6
_LN2_HOURS = LN2 * 3.6e9
_GAP_MEMORY = 16
"""The running mean of the gaps weighs the newest at least one in this many."""
Views: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]
# For each place of a ring's present hop, how many hops ago each of the ring's hops began; two lanes stay empty.
_AGES = np.pad((np.arange(HOPS)[:, None] - np.arange(HOPS)) % HOPS, ((0, 0), (0, 2))).astype(np.float64).ravel()
# What a click adds to a ring: one in the hop of its place, nothing anywhere where it is too late.
_ONES = (np.eye(HOPS + 1, 8, dtype=np.uint32) * (np.arange(HOPS + 1) < HOPS)[:, None]).astype(np.uint32).ravel()
_STATE_EVICTED = 2  # the value of Soundness.STATE_EVICTED, which stands a module higher


@kernel(inline=True)
def _windows(
    words: NDArray[np.uint32],
    ring: Whole,
    times: tuple[float, float, float],
    layout: NDArray[np.int64],
    row: NDArray[np.float32],
) -> Whole:
    """Count the click in every window's ring and read the totals; returns how many windows were too late for it."""
    own_time, last, now = times
    late = 0
    at: Whole = BODY
    for _ in range(layout[WINDOWS]):
        # Rounded division by doubles has the exact floor for times below 2^52, the year 2112.
        hop = float(layout[at])
        current = int(now / hop)
        place: Whole = np.int64(np.uint64(current) % np.uint64(HOPS))
        own: Whole = place
        if own_time != now:
            behind = current - int(own_time / hop)
            own = HOPS if behind >= HOPS else place - behind if place >= behind else place - behind + HOPS
            late += own == HOPS
        since = float(current) * hop - last
        total = turn_ring(words, natural(ring + 1), _AGES, 8 * place, hop, since, _ONES, 8 * own)
        words[ring] = total
        if layout[at + 1] >= 0:
            row[natural(layout[at + 1])] = np.float32(total)
        ring = natural(ring + RING_WORDS)
        at = natural(at + 2)
    return late


@kernel(inline=True)
def _velocities(
    floats: NDArray[np.float32],
    place: Whole,
    times: tuple[float, float, float],
    layout: NDArray[np.int64],
    row: NDArray[np.float32],
) -> None:
    own_time, last, now = times
    at = BODY + 2 * layout[WINDOWS]
    for _ in range(layout[HALF_LIVES]):
        half_life = float(layout[at])
        held = float(floats[place]) * decay(now - last, half_life)
        held += decay(now - own_time, half_life) if own_time != now else 1.0
        floats[place] = np.float32(held)
        if layout[at + 1] >= 0:
            row[layout[at + 1]] = np.float32(float(floats[place]) * _LN2_HOURS / half_life)
        place += 1
        at += 2


@kernel(inline=True)
def _gap(
    state: tuple[NDArray[np.uint32], NDArray[np.float32]],
    place: Whole,
    times: tuple[float, float, float, bool],
    layout: NDArray[np.int64],
    row: NDArray[np.float32],
) -> None:
    """Note the gap since the newest click. A first click reads as one after the horizon, a late one as gap 0."""
    words, floats = state
    own_time, last, now, new = times
    horizon = float(layout[HORIZON]) / _SECONDS
    gap = horizon if new else (now - last) / _SECONDS
    if not new and own_time == now:
        seen: Whole = min(np.int64(words[place]) + 1, _GAP_MEMORY)
        weight = 1.0 / seen
        mean, variance = float(floats[place + 1]), float(floats[place + 2])
        off = gap - mean
        words[place] = np.uint32(seen)
        floats[place + 1] = np.float32(mean + weight * off)
        floats[place + 2] = np.float32((1.0 - weight) * (variance + weight * off * off))
    mean, variation = horizon, 1.0
    if words[place] > 0:
        mean = float(floats[place + 1])
    if words[place] > 1:
        variation = np.sqrt(float(floats[place + 2])) / mean if mean > 0.0 else 0.0
    at = BODY + 2 * layout[WINDOWS] + 2 * layout[HALF_LIVES]
    if layout[at] >= 0:
        row[layout[at]] = np.float32(gap)
    if layout[at + 1] >= 0:
        row[layout[at + 1]] = np.float32(mean)
    if layout[at + 2] >= 0:
        row[layout[at + 2]] = np.float32(variation)


@kernel(inline=True)
def _sketches(
    state: State,
    base: Whole,
    times: tuple[float, float, float],
    layout: NDArray[np.int64],
    keys: NDArray[np.uint64],
    rows: NDArray[np.float32],
    click: Whole,
) -> None:
    own_time, last, now = times
    words = state[0]
    place = natural(base + sketches_at(layout))
    row = rows[click]
    at = BODY + 2 * layout[WINDOWS] + 2 * layout[HALF_LIVES] + 3 * layout[GAPS]
    for _ in range(layout[SKETCHES]):
        unit, units = float(layout[at + 1]), layout[at + 2]
        current = int(now / unit)
        own = current if own_time == now else int(own_time / unit)
        newest = np.int64(np.uint64(current) % np.uint64(units))
        value = short_key(keys[layout[at], click])
        tier, slot = words[place + TIER], np.int64(words[place + SLOT])
        add_distinct(state, place, value, (own, int(last / unit), current, newest), units)
        if tier == 1 and words[place + TIER] == 2:
            keep_floors(words, place, state[1], slot, layout[at + 3 :], current)
        windows = layout[at + 3]
        for number in range(windows):
            window = at + 4 + 2 * number
            count = count_distinct(state, place, current, newest, layout[window], units)
            row[layout[window + 1]] = np.float32(max(count, floor_distinct(words, place, current, number)))
        at += 4 + 2 * windows
        place += SKETCH_WORDS


@kernel(inline=True)
def _bursts(words: NDArray[np.uint32], base: Whole, layout: NDArray[np.int64], row: NDArray[np.float32]) -> None:
    """Write the ratios of two windows' rates."""
    at = len(layout) - 3 * layout[BURSTS]
    for _ in range(layout[BURSTS]):
        short, long = layout[at], layout[at + 1]
        few = float(words[base + HEADER + RING_WORDS * short])
        many = float(words[base + HEADER + RING_WORDS * long])
        longer = float(layout[BODY + 2 * long]) / float(layout[BODY + 2 * short])
        row[layout[at + 2]] = np.float32(few * longer / many if many > 0.0 else 0.0)
        at += 3


@kernel()
def null_row(layout: NDArray[np.int64], row: NDArray[np.float32]) -> None:
    """Write the row's part for a click that has no such entity: no clicks, and a gap as of a first click."""
    at = BODY
    for _ in range(layout[WINDOWS] + layout[HALF_LIVES]):
        if layout[at + 1] >= 0:
            row[layout[at + 1]] = np.float32(0.0)
        at += 2
    if layout[GAPS]:
        for statistic in range(3):
            if layout[at + statistic] >= 0:
                row[layout[at + statistic]] = np.float32(1.0 if statistic == 2 else layout[HORIZON] / _SECONDS)
        at += 3
    for _ in range(layout[SKETCHES]):
        windows = layout[at + 3]
        for window in range(at + 4, at + 4 + 2 * windows, 2):
            row[layout[window + 1]] = np.float32(0.0)
        at += 4 + 2 * windows
    for _ in range(layout[BURSTS]):
        row[layout[at + 2]] = np.float32(0.0)
        at += 3


@kernel()
def _renew(
    words: NDArray[np.uint32], base: Whole, layout: NDArray[np.int64], free: NDArray[np.int32], used: NDArray[np.int64]
) -> None:
    """Empty a record: its entity was idle for longer than the horizon and reads as new."""
    place = base + sketches_at(layout)
    for _ in range(layout[SKETCHES]):
        free_distinct(words, place, free, used)
        place += SKETCH_WORDS
    words[base : base + layout[STRIDE]] = np.uint32(0)


@kernel(inline=True)
def join_click(
    state: State,
    views: Views,
    layout: NDArray[np.int64],
    batch: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]],
    base: Whole,
    click: Whole,
) -> None:
    """Fold one click into the record that begins at word `base`, and write its row."""
    words, _tables, _cells, free, used = state
    floats, longs = views
    times, keys, rows, soundness = batch
    row = rows[click]
    own_time, last = times[click], longs[base // 2]
    if last != 0 and own_time - last > layout[HORIZON]:
        _renew(words, base, layout, free, used)
        last = np.int64(0)
    now = max(own_time, last)
    new = last == 0
    if words[base + DOUBTFUL] != 0 and own_time < np.int64(words[base + DOUBTFUL]) * 1_000_000:
        soundness[click] = np.uint8(_STATE_EVICTED)
    # A new record has nothing to forget, as if its newest click were this one.
    moments = (float(own_time), float(now if new else last), float(now))
    place = base + HEADER
    if _windows(words, place, moments, layout, row) > 0:
        used[LATE] += 1
    place += RING_WORDS * layout[WINDOWS]
    _velocities(floats, place, moments, layout, row)
    place += layout[HALF_LIVES]
    if layout[GAPS]:
        _gap((words, floats), place, (*moments, new), layout, row)
    if layout[SKETCHES]:
        _sketches(state, base, moments, layout, keys, rows, click)
    if layout[BURSTS]:
        _bursts(words, base, layout, row)
    longs[base // 2] = now


@kernel(nogil=True)
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
