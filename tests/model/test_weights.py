from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import DAY, HOUR, SECOND
from slidr.errors import TrainingError
from slidr.model.weights import check_days, sample_weights


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_every_bucket_weighs_the_same_without_a_cap(size: int, seed: int) -> None:
    """Within hour, day, login and label the weights add up to the same sum, and their mean is one."""
    generator = np.random.default_rng(seed)
    times = generator.integers(0, 30, size) * HOUR
    logged_in, human = generator.random(size) < 0.5, generator.random(size) < 0.2
    weights = sample_weights(times, logged_in, human, cap=1e9)
    bucket = (times // HOUR * 2 + logged_in) * 2 + human
    sums = np.bincount(bucket, weights)[np.unique(bucket)]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_the_cap_is_in_medians() -> None:
    """A lone night click among ten thousand weighs a hundred medians and no more."""
    times = np.append(np.zeros(10_000, dtype=np.int64), 3 * HOUR)
    weights = sample_weights(times, np.ones(10_001, dtype=np.bool_), np.zeros(10_001, dtype=np.bool_), cap=100)
    assert weights[-1] / np.median(weights) == pytest.approx(100)


def test_an_unknown_login_is_a_state_of_its_own() -> None:
    """None is neither logged in nor not, so that each of three clicks stands in its own bucket."""
    unknown = np.array([True, False, None], dtype=np.object_)
    weights = sample_weights(np.zeros(3, dtype=np.int64), unknown, np.ones(3, dtype=np.bool_), cap=100)
    assert weights.tolist() == [1, 1, 1]


def test_the_zone_decides_the_hour() -> None:
    """Two clicks within an hour in UTC fall into two hours in Kathmandu, which is 5:45 ahead."""
    times = np.array([0, HOUR // 2, HOUR // 2])
    same = np.zeros(3, dtype=np.bool_)
    assert sample_weights(times, same, same, cap=100).tolist() == [1, 1, 1]
    assert sample_weights(times, same, same, cap=100, zone="Asia/Kathmandu").tolist() == [1.5, 0.75, 0.75]


def test_no_clicks_have_no_weights() -> None:
    """An empty set is refused."""
    nothing = np.zeros(0, dtype=np.bool_)
    with pytest.raises(TrainingError, match="need clicks"):
        sample_weights(np.zeros(0, dtype=np.int64), nothing, nothing, cap=100)


def test_a_day_that_lost_its_purchases_is_refused() -> None:
    """A day without a human click, where 67 were to be expected, is named by its date in the settings' zone."""
    times = np.repeat(np.arange(3) * DAY + 1_772_409_600 * SECOND, 1000)
    human = np.arange(3000) % 10 == 0
    human[1000:2000] = False
    with pytest.raises(TrainingError, match=r"none of 1000 clicks of 2026-03-03 is labelled human, .* 67 should be"):
        check_days(times, human)
    with pytest.raises(TrainingError, match=r"2026-03-02 is labelled human"):
        check_days(times, human, "America/New_York")
    with pytest.raises(TrainingError, match=r"2026-03-03 is labelled not human"):
        check_days(times, ~human)


def test_a_day_that_may_have_sold_nothing_is_no_fault() -> None:
    """Without a human click, days on which few were to be expected pass, and so does a log without any."""
    times = np.repeat(np.arange(3) * DAY, 1000)
    rare = np.arange(3000) < 30
    check_days(times, rare)
    check_days(times, np.zeros(3000, np.bool_))
    check_days(times[:0], rare[:0])
