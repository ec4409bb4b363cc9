from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slidr.monitor.statistics import Steps, baseline, excursion, limit, spread, stability_limit

RATE, MINUTES = 40, 20_000


def steps(generator: np.random.Generator, share: float, minutes: int) -> Steps:
    """Return minutes of independent clicks, of which a share counts; up to 20 % are usual, 30 % are sharp."""
    clicks = generator.poisson(RATE, minutes).astype(np.float64)
    hits = generator.binomial(clicks.astype(np.int64), share).astype(np.float64)
    ones = np.ones(minutes)
    return Steps(np.arange(minutes, dtype=np.float64), clicks, hits, 0.2 * ones, 0.3 * ones)


def test_the_limit_keeps_the_rate_of_false_alarms() -> None:
    """At the largest usual share, a limit for one alarm in 2,000 minutes is exceeded no more often than that."""
    generator = np.random.default_rng(4)
    most = limit(2000 / 1440, 1)
    alarms = 0
    for _ in range(MINUTES // 200):
        found = steps(generator, 0.2, 200)
        ends = (Steps(*(column[:end] for column in found)) for end in range(1, 201))
        alarms += any(excursion(part, 1.0, most).sum > most for part in ends)
    assert alarms <= MINUTES / 2000


def test_a_sharp_share_is_found_within_minutes() -> None:
    """At 40 clicks a minute a share that went from 20 to 40 % exceeds the limit of a year within ten minutes."""
    most = limit(365, 50)
    found = excursion(steps(np.random.default_rng(1), 0.4, 10), 1.0, most)
    assert found.sum > most
    assert found.held > 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_sum_stays_between_zero_and_twice_its_limit(drawn: list[tuple[int, float]]) -> None:
    """Whatever was counted; and what it rests on is not more than what there is."""
    clicks = np.array([float(clicks) for clicks, _ in drawn])
    hits = np.floor(clicks * [share for _, share in drawn])
    ones = np.ones(len(drawn))
    found = excursion(Steps(np.arange(len(drawn), dtype=np.float64), clicks, hits, 0.1 * ones, 0.2 * ones), 2.0, 5.0)
    assert 0 <= found.sum <= 10
    assert 0 <= found.hits <= found.clicks <= clicks.sum()


def test_the_spread_of_independent_clicks_is_one_and_that_of_bursts_is_not() -> None:
    """Clicks that come by tens, all alike, vary ten times as much; a disturbed hour changes little."""
    generator = np.random.default_rng(2)
    starts, clicks = np.arange(3000.0), np.full(3000, 100.0)
    alone, bursts = generator.binomial(100, 0.2, 3000), 10 * generator.binomial(10, 0.2, 3000)
    assert 1 <= spread(starts, clicks, alone.astype(float), 4.0) < 1.5
    assert 7 < spread(starts, clicks, bursts.astype(float), 4.0) < 16
    alone[600:660] = 100
    assert spread(starts, clicks, alone.astype(float), 4.0) < 1.5
    assert spread(starts[:600], clicks[:600], alone[:600].astype(float), 4.0) == 4.0


def test_one_week_tells_nothing_and_a_disturbed_one_little() -> None:
    """The median of several weeks stands though one of them was wrong."""
    assert baseline([0.2]) is None
    found = baseline([0.2, 0.21, 0.19, 1.0])
    assert found is not None
    assert 0.19 < found.centre < 0.22


def test_few_clicks_move_the_stability_index_by_chance() -> None:
    """The index that chance exceeds falls with the clicks."""
    assert stability_limit(100, 20, 1e5) > 0.4
    assert stability_limit(10_000, 20, 1e5) < 0.01
