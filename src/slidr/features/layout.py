"""Layout: a catalogue compiled into blocks of state and the arrays that the one fold kernel reads.

A block holds the state of one entity kind. Its record is a run of 32-bit words:

    0-1   time of the entity's newest click, int64 microseconds (0: new)
    2     second until which its rows are doubtful, since it had been evicted (0: never)
    then  for each window: its total, and a ring of HOPS counts
          a decayed count for each half-life, float32
          gaps seen, mean, variance of the gap (uint32, float32, float32), where a gap is asked for
          for each counted column: tier, slot, INLINE hashes, INLINE stamps

The layout array tells the kernel what stands where, and which column of the row each value goes to; column -1 is
computed but not wanted. Entity and layout, without the columns of the row, name the block: two catalogues that share
a block share its state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.clock import DAY
from slidr.errors import FeatureError
from slidr.features.catalogue import (
    HALF_LIVES_KEPT,
    Burst,
    Catalogue,
    Clicks,
    Distinct,
    Entity,
    Gap,
    Missing,
    PeakDistinct,
    Velocity,
)
from slidr.features.kernel import kernel
from slidr.settings import duration

HOPS = 6
"""Hops in the ring of a window: a count lags by at most a sixth of its window."""
INLINE = 8
"""Distinct values that a record holds itself, exactly."""
MOST_UNITS = 256
"""Longest ring of a distinct count: its longest window over a sixth of its shortest."""
HEADER = 3
DOUBTFUL = 2
"""Word of a record: until which second its rows are doubtful, since the entity had been evicted; 0 for never."""
RING_WORDS = 1 + HOPS
# Places in the layout array; the variable part follows at BODY.
STRIDE, HORIZON, KEY_ROW, WINDOWS, HALF_LIVES, GAPS, SKETCHES, BURSTS, BODY = range(9)
SKETCH_WORDS = 2 + 2 * INLINE


class Block(NamedTuple):
    """The state of one entity kind: its entity, its layout for one catalogue, and the hash that names it."""

    entity: Entity
    layout: NDArray[np.int64]
    key: str


class SlowColumn(NamedTuple):
    """A slow feature: looked up in a table of the day before, not folded.

    Attributes:
        feature_name: the feature.
        entity: the columns that name its entity.
        column_of_row: the column of the row that it fills.
        key_row: the row of the key matrix that holds the entity's key.
        counted: the column whose distinct values are counted.
        counted_row: the row of the key matrix that holds that column's keys.
        days: days that it looks back.
    """

    feature_name: str
    entity: Entity
    column_of_row: int
    key_row: int
    counted: str
    counted_row: int
    days: int


class Layout(NamedTuple):
    """A compiled catalogue.

    Attributes:
        names: the row's columns.
        keys: the rows of the key matrix: user, session, ip, other columns, then the joined keys of compound entities.
        blocks: the blocks of state.
        clock: columns of hour_cos, hour_sin, weekday_cos, weekday_sin and logged_in, -1 where not wanted.
        missing: pairs (row of the key matrix, or -1 for logged_in; column).
        slow: the slow features.
        catalogue: what was compiled.
    """

    names: tuple[str, ...]
    keys: tuple[Entity, ...]
    blocks: tuple[Block, ...]
    clock: NDArray[np.int64]
    missing: NDArray[np.int64]
    slow: tuple[SlowColumn, ...] = ()
    catalogue: Catalogue = ()

    @property
    def horizon(self) -> int:
        """The longest time, in microseconds, after which an idle entity reads as new."""
        return max((int(block.layout[HORIZON]) for block in self.blocks), default=DAY)


@kernel()
def sketches_at(layout: NDArray[np.int64]) -> int:
    """Return the word of a record at which its first distinct count begins."""
    return int(HEADER + RING_WORDS * layout[WINDOWS] + layout[HALF_LIVES] + 3 * layout[GAPS])


def counted_rows(layout: NDArray[np.int64]) -> list[int]:
    """Return the rows of the key matrix whose values a block counts, one for each distinct count of its records."""
    rows, at = [], BODY + 2 * int(layout[WINDOWS]) + 2 * int(layout[HALF_LIVES]) + 3 * int(layout[GAPS])
    for _ in range(int(layout[SKETCHES])):
        rows.append(int(layout[at]))
        at += 4 + 2 * int(layout[at + 3])
    return rows


def compile_catalogue(catalogue: Catalogue, groups: Sequence[Catalogue] | None = None) -> Layout:
    """Compile a catalogue.

    Args:
        catalogue: the features.
        groups: the features of each block; where None, all features of an entity share one.

    Raises:
        FeatureError: the windows of one distinct count lie too far apart for one ring.
    """
    columns = {feature.name: column for column, feature in enumerate(catalogue)}
    entities = list(dict.fromkeys(feature.entity for feature in catalogue if feature.entity))
    keys = _key_rows(catalogue, entities)
    if groups is None:
        groups = [tuple(feature for feature in catalogue if feature.entity == entity) for entity in entities]
    blocks = tuple(
        _block(group, group[0].entity, keys, columns)
        for group in groups
        if any(not isinstance(feature, PeakDistinct) for feature in group)
    )
    clock = [columns.get(name, -1) for name in ("hour_cos", "hour_sin", "weekday_cos", "weekday_sin", "logged_in")]
    missing = [
        (keys.index((feature.column,)) if feature.column != "logged_in" else -1, columns[feature.name])
        for feature in catalogue
        if isinstance(feature, Missing)
    ]
    clock_columns, missing_pairs = np.array(clock, np.int64), np.array(missing, np.int64).reshape(-1, 2)
    slow = _slow_columns(catalogue, keys, columns)
    return Layout(tuple(columns), keys, blocks, clock_columns, missing_pairs, slow, catalogue)


def _slow_columns(catalogue: Catalogue, keys: tuple[Entity, ...], columns: dict[str, int]) -> tuple[SlowColumn, ...]:
    return tuple(
        SlowColumn(
            feature_name=feature.name,
            entity=feature.entity,
            column_of_row=columns[feature.name],
            key_row=keys.index(feature.entity),
            counted=feature.column,
            counted_row=keys.index((feature.column,)),
            days=duration(feature.over) // DAY,
        )
        for feature in catalogue
        if isinstance(feature, PeakDistinct)
    )


def _key_rows(catalogue: Catalogue, entities: list[Entity]) -> tuple[Entity, ...]:
    """Order the rows of the key matrix: single columns first, since compound keys are joined from them.

    User, session and ip always lead: a click without any of them cannot be measured.
    """
    single = [("user",), ("session",), ("ip",)]
    single += [(column,) for entity in entities for column in entity]
    single += [(feature.column,) for feature in catalogue if isinstance(feature, Distinct | PeakDistinct)]
    single += [
        (feature.column,) for feature in catalogue if isinstance(feature, Missing) and feature.column != "logged_in"
    ]
    compound = [entity for entity in entities if len(entity) > 1]
    return tuple(dict.fromkeys([*single, *compound]))


def _block(catalogue: Catalogue, entity: Entity, keys: tuple[Entity, ...], columns: dict[str, int]) -> Block:
    mine = [feature for feature in catalogue if feature.entity == entity]
    counts = [(duration(feature.window), feature.name) for feature in mine if isinstance(feature, Clicks)]
    bursts = [feature for feature in mine if isinstance(feature, Burst)]
    # A window that only a burst asks for is counted too, for no column of its own.
    wanted = dict.fromkeys(duration(window) for burst in bursts for window in (burst.short, burst.long))
    counts += [(span, "") for span in wanted if span not in dict(counts)]
    ring_of = {span: ring for ring, (span, _) in enumerate(counts)}
    rates = [(duration(feature.half_life), feature.name) for feature in mine if isinstance(feature, Velocity)]
    gaps = {feature.statistic: feature.name for feature in mine if isinstance(feature, Gap)}
    sketches: dict[str, list[tuple[int, str]]] = {}
    for feature in mine:
        if isinstance(feature, Distinct):
            sketches.setdefault(feature.column, []).append((duration(feature.window), feature.name))
    words = HEADER + RING_WORDS * len(counts) + len(rates) + 3 * bool(gaps) + SKETCH_WORDS * len(sketches)
    spans = [span for span, _ in counts] + [HALF_LIVES_KEPT * span for span, _ in rates]
    spans += [span for windows in sketches.values() for span, _ in windows]
    body: list[int] = []
    for span, name in counts:
        body += [span // HOPS, columns.get(name, -1)]
    for span, name in rates:
        body += [span, columns[name]]
    if gaps:
        body += [columns.get(gaps.get(statistic, ""), -1) for statistic in ("last", "mean", "variation")]
    for column, windows in sketches.items():
        body += _sketch(column, windows, keys, columns)
    for burst in bursts:
        body += [ring_of[duration(burst.short)], ring_of[duration(burst.long)], columns[burst.name]]
    head = [0] * BODY
    # Whole cache lines, so that a record never shares one with its neighbour.
    head[STRIDE] = -(-words // 16) * 16
    head[HORIZON] = max(spans, default=DAY)
    head[KEY_ROW] = keys.index(entity)
    head[WINDOWS], head[HALF_LIVES] = len(counts), len(rates)
    head[GAPS], head[SKETCHES], head[BURSTS] = int(bool(gaps)), len(sketches), len(bursts)
    shape = (entity, head[HORIZON], [s for s, _ in counts], [s for s, _ in rates], bool(gaps))
    counted = [(column, [span for span, _ in windows]) for column, windows in sketches.items()]
    key = hashlib.sha256(repr((3, shape, counted)).encode()).hexdigest()[:16]
    return Block(entity, np.array(head + body, np.int64), key)


def _sketch(
    column: str, windows: list[tuple[int, str]], keys: tuple[Entity, ...], columns: dict[str, int]
) -> list[int]:
    shortest, longest = min(windows)[0], max(windows)[0]
    unit = shortest // HOPS
    units = HOPS * longest // shortest
    # A sixth is rounded down to the microsecond, so what divides is asked of the windows themselves.
    if units > MOST_UNITS or any(HOPS * span % shortest for span, _ in windows):
        raise FeatureError(
            f"{min(windows)[1]} and {max(windows)[1]}: the windows of one distinct count must be multiples of a sixth"
            f" of the shortest and at most {MOST_UNITS} of them long; they need {longest / unit:.1f}"
        )
    places = [place for span, name in windows for place in (HOPS * span // shortest, columns[name])]
    return [keys.index((column,)), unit, units, len(windows), *places]
