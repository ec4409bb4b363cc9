"""A block's state: the hard cap, clocks that jump, crowds behind one entity."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slidr.clock import DAY, HOUR, MINUTE, SECOND
from slidr.features.block import BlockState
from slidr.features.catalogue import Clicks, Distinct, Gap, Velocity, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import LATE, LIVE
from slidr.features.layout import HORIZON, compile_catalogue

LAYOUT = compile_catalogue(
    check_catalogue((Clicks("user", "1h"), Clicks("user", "24h"), Velocity("user", "1h"), Gap("user"),
                     Distinct("session", "user", "1h"), Distinct("session", "user", "24h")))
)  # fmt: skip
BLOCK = LAYOUT.blocks[0]
ROW_OF_USER = LAYOUT.keys.index(("user",))
HORIZON_OF_USER = int(BLOCK.layout[HORIZON])
START = 1_700_000_000_000_000
YEAR = 365 * DAY


def clicks_of(users: NDArray[np.int64], times: NDArray[np.int64]) -> ClickBatch:
    """Return clicks of these users, each in a session of its own."""
    keys = np.zeros((len(LAYOUT.keys), len(users)), np.uint64)
    # Spread, as hashes are.
    keys[ROW_OF_USER] = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys[LAYOUT.keys.index(("session",))] = np.random.default_rng(1).integers(1, 2**64 - 1, len(users), dtype=np.uint64)
    return ClickBatch(keys[ROW_OF_USER], times.astype(np.int64), np.zeros(len(users), np.int8), keys)


def folded(state: BlockState, clicks: ClickBatch) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Fold clicks and return rows and soundness."""
    rows = np.zeros((len(clicks), len(LAYOUT.names)), np.float32)
    soundness = np.zeros(len(clicks), np.uint8)
    state.fold(clicks, rows, soundness)
    return rows, soundness


histories = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 600, 7200, 50_000])), min_size=1, max_size=150
)


@settings(deadline=None, max_examples=150)
@given(histories, st.integers(1, 8))
def test_the_cap_flags_what_it_forgot(history: list[tuple[int, int]], most: int) -> None:
    """Rows that are not flagged equal those of a state without a cap; nothing of use is lost unflagged."""
    users = np.array([user for user, _ in history])
    times = START + np.cumsum([step for _, step in history]) * SECOND
    clicks = clicks_of(users, times)
    expected, _ = folded(BlockState(BLOCK, 64), clicks)
    capped = BlockState(BLOCK, 64, most)
    rows, soundness = folded(capped, clicks)
    for place in range(len(users)):
        if not soundness[place]:
            np.testing.assert_array_equal(rows[place], expected[place])
    assert capped.used[LIVE] <= most
    assert capped.evicted >= len(set(users[soundness > 0].tolist()))


@settings(deadline=None, max_examples=50)
@given(histories, st.integers(1, 8), st.lists(st.integers(1, 150), max_size=10))
def test_the_cap_does_not_see_batches(history: list[tuple[int, int]], most: int, cuts: list[int]) -> None:
    """What is evicted, and so every row and flag, is the same in batches of any size."""
    clicks = clicks_of(np.array([user for user, _ in history]), START + np.cumsum([s for _, s in history]) * SECOND)
    rows, soundness = folded(BlockState(BLOCK, 4, most), clicks)
    state = BlockState(BLOCK, 4, most)
    places = [0, *sorted({cut for cut in cuts if cut < len(clicks)}), len(clicks)]
    parts = [folded(state, clicks.take(slice(a, b))) for a, b in pairwise(places)]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), rows)
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), soundness)


def test_the_oldest_are_evicted() -> None:
    """At the cap an eighth goes, those whose newest click is oldest; their return is flagged once, new keys never."""
    state = BlockState(BLOCK, 16, 800)
    folded(state, clicks_of(np.arange(1, 801), START + np.arange(800) * SECOND))
    folded(state, clicks_of(np.array([1]), np.array([START + 900 * SECOND])))
    _, soundness = folded(state, clicks_of(np.array([5000]), np.array([START + 901 * SECOND])))
    assert (state.evicted, int(state.used[LIVE]), soundness.tolist()) == (100, 701, [0])
    _, soundness = folded(state, clicks_of(np.arange(1, 101), np.full(100, START + 902 * SECOND)))
    assert soundness.tolist() == [0] + [2] * 99
    _, soundness = folded(state, clicks_of(np.arange(1, 101), np.full(100, START + 903 * SECOND)))
    assert soundness.tolist() == [0] + [2] * 99


def test_new_keys_are_rarely_taken_for_evicted_ones() -> None:
    """Of 200,000 new keys behind a small cap, fewer than 1 in 1,000 is flagged."""
    state = BlockState(BLOCK, 1024, 20_000)
    _, soundness = folded(state, clicks_of(np.arange(1, 200_001), START + np.arange(200_000) * 1000))
    assert np.count_nonzero(soundness) < 200
    assert state.evicted >= 180_000


def test_a_restored_state_evicts_as_the_one_that_went_on() -> None:
    """Cap, marks and room survive a snapshot."""
    users = np.random.default_rng(3).integers(1, 3000, 20_000)
    clicks = clicks_of(users, START + np.arange(20_000) * 20 * SECOND)
    state, restored = BlockState(BLOCK, 16, 1000), BlockState(BLOCK, 16, 1000)
    folded(state, clicks.take(slice(0, 10_000)))
    restored.restore({name: array.copy() for name, array in state.arrays().items()})
    rest = clicks.take(slice(10_000, 20_000))
    for found, expected in zip(folded(restored, rest), folded(state, rest), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert restored.evicted == state.evicted


def test_one_click_a_year_ahead_evicts_nothing() -> None:
    """A few clicks of a clock that jumped do not make all other entities look idle."""
    state, undisturbed = BlockState(BLOCK, 1024), BlockState(BLOCK, 1 << 15)
    users = np.append(np.arange(1, 1001), np.arange(2000, 22_000))
    times = START + np.arange(21_000) * 1000
    ahead = np.array([9_000_000])
    folded(state, clicks_of(ahead, np.array([START + YEAR])))
    clicks = clicks_of(users, times)
    folded(state, clicks)
    folded(undisturbed, clicks)
    assert state.used[LIVE] == 21_001
    again = clicks_of(users, times + MINUTE)
    np.testing.assert_array_equal(folded(state, again)[0], folded(undisturbed, again)[0])


@pytest.mark.parametrize("back", [SECOND, HOUR, YEAR])
def test_time_running_backwards(back: int) -> None:
    """A clock set back leaves old entities at their now, counts new ones by their own time, and loses none."""
    state = BlockState(BLOCK, 1024)
    users = np.arange(1, 3001)
    folded(state, clicks_of(users, START + np.arange(3000) * 1000))
    rows, soundness = folded(state, clicks_of(np.append(users, users + 10_000), np.full(6000, START - back)))
    assert not soundness.any()
    assert state.used[LIVE] == 6000
    day = LAYOUT.names.index("clicks_user_24h")
    late = back > DAY
    np.testing.assert_array_equal(rows[:3000, day], 1 if late else 2)
    np.testing.assert_array_equal(rows[3000:, day], 1)
    assert (state.used[LATE] >= 3000) == (back >= HOUR)


def test_half_of_all_clicks_from_one_entity() -> None:
    """Counts beyond 16 bits in one hop are exact, beside entities that come and go."""
    users = np.where(np.arange(400_000) % 2 == 0, 1, 2 + np.arange(400_000) % 5000)
    times = START // DAY * DAY + HOUR // 2 + np.arange(400_000) * 100
    rows, _ = folded(BlockState(BLOCK, 1024), clicks_of(users, times))
    np.testing.assert_array_equal(rows[::2, 0], np.arange(1, 200_001))
    np.testing.assert_array_equal(rows[::2, 1], np.arange(1, 200_001))


def test_a_million_sessions_behind_one_entity() -> None:
    """One entity takes bounded memory however many values it has, and its count stays within its range."""
    state = BlockState(BLOCK, 1024)
    clicks = clicks_of(np.ones(1_000_000, np.int64), np.full(1_000_000, START))
    rows, _ = folded(state, clicks)
    assert state.bytes < 16_384
    count = rows[:, LAYOUT.names.index("distinct_session_user_24h")]
    assert count[999] == pytest.approx(1000, rel=0.05)
    assert np.isfinite(count).all()
    assert count[-1] > 10_000
    assert rows[-1, 0] == 1_000_000


@settings(deadline=None, max_examples=50)
@given(histories)
def test_room_made_ahead_changes_no_row(history: list[tuple[int, int]]) -> None:
    """Rows are the same bits whether room was made and touched before it was needed or not."""
    users = np.array([user for user, _ in history])
    clicks = clicks_of(users, START + np.cumsum([step for _, step in history]) * SECOND)
    plain, ahead = BlockState(BLOCK, 4), BlockState(BLOCK, 4)
    for start in range(0, len(clicks), 7):
        part = clicks.take(slice(start, start + 7))
        ahead.grow_ahead()
        assert not any(ahead.touch_ahead())
        np.testing.assert_array_equal(folded(plain, part)[0], folded(ahead, part)[0])
