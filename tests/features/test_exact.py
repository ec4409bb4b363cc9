"""The exact semantics that docs/features.md words: edges of windows, odd times, nulls, repeats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.features.batches import random_batch
from tests.features.reference import Entity
from tests.features.test_fold import HORIZON_OF_USER, LAYOUT, START, folded, make_batch

from slidr.clock import DAY, HOUR, SECOND
from slidr.features.catalogue import AnyFeature, Catalogue, Clicks, Distinct, Gap, Missing, Velocity, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.layout import HOPS, HORIZON, Layout, compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.settings import duration

YEAR = 365 * DAY
MIDNIGHT = START // DAY * DAY


def of_one_user(layout: Layout, times: list[int]) -> ClickBatch:
    """Return clicks of one user at these times."""
    keys = np.zeros((len(layout.keys), len(times)), np.uint64)
    keys[layout.keys.index(("user",))] = 0x9E3779B97F4A7C15
    ids = np.arange(1, len(times) + 1, dtype=np.uint64)
    return ClickBatch(ids, np.array(times, np.int64), np.zeros(len(times), np.int8), keys)


@settings(max_examples=150)
@given(
    st.sampled_from(["1m", "10m", "1h", "6h", "24h", "7s"]),
    st.lists(st.tuples(st.integers(0, 14), st.sampled_from([-1, 0, 1])), min_size=1, max_size=40),
)
def test_windows_at_the_edges_of_hops(window: str, places: list[tuple[int, int]]) -> None:
    """A microsecond before, on and after every edge, in any order, a count is that of six hops, within its bounds."""
    layout = compile_catalogue(check_catalogue((Clicks("user", window),)))
    span, hop = duration(window), duration(window) // HOPS
    first = MIDNIGHT // hop * hop + hop
    times = [first + place * hop + off for place, off in places]
    rows = EmbeddedStore(layout).fold(of_one_user(layout, times)).rows[:, 0]
    user = Entity(span)
    for time, count in zip(times, rows, strict=True):
        user.join(time)
        assert count == user.hops(span)
        assert user.exact(5 * hop) <= count <= user.exact(span)


def test_a_window_is_open_at_its_start() -> None:
    """A click exactly the window ago, on an edge, has left; one a microsecond later may still be counted."""
    layout = compile_catalogue(check_catalogue((Clicks("user", "1h"), Clicks("user", "24h"))))
    for apart, counted in ((HOUR, 1), (HOUR - 1, 2)):
        rows = EmbeddedStore(layout).fold(of_one_user(layout, [MIDNIGHT, MIDNIGHT + apart])).rows
        assert rows[1].tolist() == [counted, 2]


def test_an_entity_is_new_after_its_horizon_and_not_at_it() -> None:
    """Idle for exactly the horizon an entity has its past; a microsecond longer and it has none."""
    for apart, new in ((HORIZON_OF_USER, False), (HORIZON_OF_USER + 1, True)):
        batch = make_batch([(0, 0, 1, 1), (5, 0, 1, 2), (0, 0, 1, 3)])
        batch.times[2] = batch.times[1] + apart
        rows = folded(batch)
        assert (rows["gap_user_mean"][2] == rows["gap_user_mean"][0]) == new
        assert rows["gap_user_last"][2] == HORIZON_OF_USER / SECOND


def in_parts(log: ClickBatch) -> NDArray[np.float32]:
    """Return the rows of a store that makes room many times."""
    store = EmbeddedStore(LAYOUT, 64)
    return np.concatenate([store.fold(log.take(slice(at, at + 50))).rows for at in range(0, len(log), 50)])


@pytest.mark.parametrize("jump", [-SECOND, -HOUR, -DAY, -YEAR, SECOND, HOUR, DAY, YEAR])
def test_odd_times_touch_one_entity_only(jump: int) -> None:
    """Time that runs back, or leaps ahead, for one user leaves every row of all others as it is, eviction included."""
    generator = np.random.default_rng(7)
    steps = [(int(step), 0, int(user), int(user) % 9) for step, user in
             zip(generator.integers(0, 90, 6000), generator.integers(1, 2500, 6000), strict=True)]  # fmt: skip
    straight = make_batch(steps)
    odd = replace(straight, times=straight.times.copy())
    user = straight.keys[LAYOUT.keys.index(("user",))]
    mine = user == user[0]
    mine[::97] = True
    keys = straight.keys.copy()
    keys[LAYOUT.keys.index(("user",)), mine] = user[0]
    odd.times[mine] += jump * (np.arange(mine.sum()) % 2)
    found, expected = in_parts(replace(odd, keys=keys)), in_parts(replace(straight, keys=keys))
    np.testing.assert_array_equal(found[~mine], expected[~mine])
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def empty_value(feature: AnyFeature, layout: Layout) -> float | None:
    """Return what a feature says of a click without its entity; None where that is not told here."""
    block = next((block for block in layout.blocks if block.entity == feature.entity), None)
    horizon = float(block.layout[HORIZON]) / SECOND if block else 0.0
    match feature:
        case Clicks() | Velocity() | Distinct():
            return 0.0
        case Gap(statistic="variation"):
            return 1.0
        case Gap():
            return horizon
        case _:
            return None


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("column", ["user", "session", "ip", "user_agent"])
def test_nulls_of_each_column(catalogue: Catalogue, layout: Layout, column: str, seed: int) -> None:
    """A click without a column has nothing of the entities made of it, and all else as if it were there."""
    given_log = random_batch(layout, 60, seed)
    keys = given_log.keys.copy()
    keys[:, -1] = given_log.keys[:, 0] | np.uint64(1)
    of_column = [row for row, entity in enumerate(layout.keys) if column in entity]
    full = replace(given_log, keys=keys)
    keys = keys.copy()
    keys[of_column, -1] = 0
    rows = EmbeddedStore(layout).fold(replace(full, keys=keys)).rows[-1]
    expected = EmbeddedStore(layout).fold(full).rows[-1]
    for place, feature in enumerate(catalogue):
        if column in feature.entity:
            empty = empty_value(feature, layout)
            assert empty is None or rows[place] == np.float32(empty), feature.name
        elif isinstance(feature, Missing):
            assert rows[place] == (1.0 if feature.column == column else expected[place])
        elif getattr(feature, "column", "") != column:
            assert rows[place] == expected[place], feature.name
        else:
            assert rows[place] <= expected[place], feature.name


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 200),
    again=st.lists(
        st.tuples(st.integers(0, 199), st.integers(1, 60), st.sampled_from([0, 1, HOUR, HOUR + 1, -HOUR, -HOUR - 1])),
        max_size=40,
    ),
)
def test_repeats_are_as_if_they_had_not_come(seed: int, size: int, again: list[tuple[int, int, int]]) -> None:
    """In batches of any size a click_id within an hour of its click changes no row; beyond the hour it is another."""
    generator = np.random.default_rng(seed)
    log = make_batch([(int(step), 0, 1 + int(user), int(user)) for step, user in
                      zip(generator.integers(0, 20, 200), generator.integers(0, 4, 200), strict=True)])  # fmt: skip
    original = dict[int, int]()
    for place, later, apart in again:
        at = place + later
        if at < len(log) and at not in {*original, *original.values()} and place not in original:
            original[at] = place
            log.ids[at], log.times[at] = log.ids[place], log.times[place] + apart
    store = EmbeddedStore(LAYOUT)
    parts = [store.fold(log.take(slice(start, start + size))) for start in range(0, len(log), size)]
    rows, repeats = (np.concatenate([part[field] for part in parts]) for field in (0, 2))
    numbers = np.concatenate([part.sequences for part in parts])
    fresh = EmbeddedStore(LAYOUT).fold(log.take(~repeats))
    np.testing.assert_array_equal(rows[~repeats], fresh.rows)
    np.testing.assert_array_equal(numbers[~repeats], np.arange(len(fresh.rows)))
    assert not rows[repeats].any()
    once = {place for place in original.values() if list(original.values()).count(place) == 1}
    for at, place in original.items():
        if place in once:
            assert repeats[at] == (abs(log.times[at] - log.times[place]) <= HOUR)
            assert (numbers[at] == numbers[place]) == repeats[at]
