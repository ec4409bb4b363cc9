"""Recent clicks: numbers in the order of the fold, repeats within an hour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import HOUR, MINUTE
from slidr.features import recent as module
from slidr.features.recent import MEMORY, REPEAT_WINDOW, RecentClicks

START = 1_700_000_000_000_000
steps = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 20, 59, 61, -30, -61, 130, -150, -170])),
    min_size=1,
    max_size=120,
)


def number(recent: RecentClicks, ids: list[int], times: list[int]) -> tuple[list[int], list[bool]]:
    """Return sequences and repeats of clicks."""
    sequences, repeats = recent.number(np.array(ids, np.uint64), np.array(times, np.int64))
    return sequences.tolist(), repeats.tolist()


@given(steps, st.integers(1, 50))
def test_numbers_equal_a_dictionary(clicks: list[tuple[int, int]], size: int) -> None:
    """In batches of any size: a click_id within an hour of its newest original repeats it while that is remembered."""
    times, now = [], START
    for _, minutes in clicks:
        times.append(now + minutes * MINUTE)
        now = max(now, times[-1])
    recent, held, following, newest = RecentClicks(), dict[int, tuple[int, int]](), 0, 0
    for start in range(0, len(clicks), size):
        ids = [key for key, _ in clicks[start : start + size]]
        found = number(recent, ids, times[start : start + size])
        for key, time, sequence, repeat in zip(ids, times[start : start + size], *found, strict=True):
            known = key in held and abs(time - held[key][0]) <= REPEAT_WINDOW and held[key][0] >= newest - MEMORY
            if not known:
                newest = max(newest, time)
                held[key] = (time, following)
                following += 1
            assert (repeat, sequence) == (known, held[key][1])


@pytest.mark.parametrize("size", [1, 7, 500])
def test_growing_by_and_by_forgets_nothing(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """While entries move to a larger table, a few with every batch, each is known, and found where it was."""
    monkeypatch.setattr(module, "_SAMPLE", 16)
    monkeypatch.setattr(module, "_MOVED", 2)
    generator = np.random.default_rng(8)
    ids = generator.integers(1, 2**63, 20_000, dtype=np.uint64)
    again = np.flatnonzero(generator.random(len(ids)) < 0.3)[1:]
    ids[again] = ids[generator.integers(0, again)]
    recent, known, following, moving = RecentClicks(), dict[int, int](), 0, 0
    for start in range(0, len(ids), size):
        part = ids[start : start + size].tolist()
        sequences, repeats = number(recent, part, [START + start] * len(part))
        moving += len(recent._old) > 0
        for key, sequence, repeat in zip(part, sequences, repeats, strict=True):
            assert repeat == (key in known)
            following += not repeat
            assert sequence == known.setdefault(key, following - 1)
        key, sequence = next(iter(known.items()))
        assert recent.find(int(np.uint64(key).view(np.int64))) == sequence
    assert moving > 1
    assert sorted(sequence for _, _, sequence in recent.entries()) == list(range(following))


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


def test_what_is_forgotten_does_not_depend_on_the_batches() -> None:
    """A click two hours behind the newest is not known again, whether or not room was made since."""
    generator = np.random.default_rng(5)
    ids = generator.integers(1, 2**63, 4000, dtype=np.uint64)
    times = START + np.arange(4000) * 5 * MINUTE // 60
    late = np.arange(1000, 3900, 7)
    times[late] -= generator.integers(0, 4, len(late)) * HOUR
    ids[late + 90] = ids[late]
    times[late + 90] = times[late]
    whole = RecentClicks().number(ids, times)
    recent = RecentClicks()
    single = [recent.number(ids[at : at + 1], times[at : at + 1]) for at in range(4000)]
    np.testing.assert_array_equal(np.concatenate([repeats for _, repeats in single]), whole[1])
    np.testing.assert_array_equal(np.concatenate([sequences for sequences, _ in single]), whole[0])
    assert 0 < whole[1][late + 90].sum() < len(late)


def test_a_table_made_ahead_changes_no_number() -> None:
    """Numbers and repeats are the same whether the next table was made before it was needed, or had more room."""
    plain, ahead, roomy = RecentClicks(), RecentClicks(), RecentClicks(10_000)
    generator = np.random.default_rng(4)
    for start in range(0, 20_000, 500):
        ids = generator.integers(1, 15_000, 500, dtype=np.uint64)
        times = START + np.arange(start, start + 500) * MINUTE // 100
        assert not any(ahead.touch_ahead())
        assert not any(ahead.touch_ahead())
        expected = plain.number(ids, times)
        for other in (ahead, roomy):
            for found, wanted in zip(other.number(ids, times), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)
