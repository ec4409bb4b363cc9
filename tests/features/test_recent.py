"""Recent clicks: numbers in the order of the fold, repeats within an hour."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import HOUR, MINUTE
from slidr.features.recent import REPEAT_WINDOW, RecentClicks

START = 1_700_000_000_000_000
steps = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 20, 59, 61, -30, -61, 130])), min_size=1, max_size=120
)


def number(recent: RecentClicks, ids: list[int], times: list[int]) -> tuple[list[int], list[bool]]:
    """Return sequences and repeats of clicks."""
    sequences, repeats = recent.number(np.array(ids, np.uint64), np.array(times, np.int64))
    return sequences.tolist(), repeats.tolist()


@given(steps, st.integers(1, 50))
def test_numbers_equal_a_dictionary(clicks: list[tuple[int, int]], size: int) -> None:
    """In batches of any size: a click_id within an hour of its newest original repeats it, others count up."""
    times, now = [], START
    for _, minutes in clicks:
        times.append(now + minutes * MINUTE)
        now = max(now, times[-1])
    recent, held, following = RecentClicks(), dict[int, tuple[int, int]](), 0
    for start in range(0, len(clicks), size):
        ids = [key for key, _ in clicks[start : start + size]]
        found = number(recent, ids, times[start : start + size])
        for key, time, sequence, repeat in zip(ids, times[start : start + size], *found, strict=True):
            known = key in held and abs(time - held[key][0]) <= REPEAT_WINDOW
            if not known:
                held[key] = (time, following)
                following += 1
            assert (repeat, sequence) == (known, held[key][1])


def test_an_hour_is_an_hour() -> None:
    """Exactly an hour later it is a repeat, a microsecond more and it is not."""
    recent = RecentClicks()
    found = number(recent, [1, 1, 1], [START, START + HOUR, START + HOUR + 1])
    assert found == ([0, 0, 1], [False, True, False])


def test_the_last_hour_is_never_forgotten() -> None:
    """While a day of clicks goes through, every click of the last hour is known, and memory stays bounded."""
    recent = RecentClicks()
    generator = np.random.default_rng(3)
    for part in range(96):
        ids = generator.integers(1, 2**63, 1000, dtype=np.uint64)
        times = START + part * 15 * MINUTE + np.arange(1000, dtype=np.int64)
        sequences, repeats = recent.number(ids, times)
        assert not repeats.any()
        again, repeated = recent.number(ids, times + 59 * MINUTE)
        assert repeated.all()
        np.testing.assert_array_equal(again, sequences)
        assert recent.find(int(ids[7].view(np.int64))) == sequences[7]
    assert len(recent.table) <= 3 * 65_536


def test_a_click_not_seen_is_not_found() -> None:
    """A hash that was never numbered has no sequence; a high bit makes no difference."""
    recent = RecentClicks()
    assert recent.find(5) is None
    number(recent, [2**64 - 5], [START])
    assert recent.find(-5) == 0
    assert recent.find(5) is None
