from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.monitor.traffic import DAY, HOUR, MINUTE, START, Traffic, append, monitor_of, registry_with, settings_at

from slidr.clock import ManualClock
from slidr.monitor.statistics import excursion, limit
from slidr.monitor.volume import every_minute, volume_spread, volume_steps

_RATE = 40
_EXPECTED = {"expected": {"clicks": [{"centre": float(_RATE), "most": 1.2 * _RATE}] * 24}}


@pytest.mark.parametrize("known", ["bundle", "weeks"])
def test_many_more_clicks_than_usual_are_told(tmp_path: Path, known: str) -> None:
    """Three times the clicks open an alarm within minutes, which rolls nothing back and closes in an hour or two."""
    settings = settings_at(tmp_path, rollback=True)
    registry, (bundle,) = registry_with(tmp_path, [START - 30 * DAY], _EXPECTED if known == "bundle" else None)
    clock, path, traffic = ManualClock(START), Path(settings.storage.journal), Traffic(rate=_RATE)
    for week in (3, 2, 1) if known == "weeks" else ():
        append(path, traffic.minutes(START - week * 7 * DAY, 180, bundle))
    monitor = monitor_of(settings, registry, clock, path)
    told, key = [], f"clicks all {known}"
    for minute in range(170):
        for _ in range(3 if 30 <= minute < 60 else 1):
            append(path, traffic.minutes(START + minute * MINUTE, 1, bundle))
        clock.advance(MINUTE)
        seen = monitor.look()
        assert not seen.rolled_back
        told.append(any(alarm.key == key for alarm in seen.open))
    assert 31 < told.index(True) < 50
    assert all(told[told.index(True) : 60])
    assert not any(told[160:])
    monitor.close()


def test_a_bundle_that_does_not_say_is_held_against_nothing(tmp_path: Path) -> None:
    """Without expectation and earlier weeks any number of clicks is as good as another."""
    settings = settings_at(tmp_path)
    registry, (bundle,) = registry_with(tmp_path, [START - DAY])
    path, traffic = Path(settings.storage.journal), Traffic(rate=10)
    append(path, traffic.minutes(START - HOUR, 30, bundle))
    append(path, Traffic(rate=200, first=1000).minutes(START - HOUR // 2, 30, bundle))
    monitor = monitor_of(settings, registry, ManualClock(START), path)
    assert not [alarm for alarm in monitor.look().open if alarm.metric == "clicks"]
    monitor.close()


@given(st.integers(1, 5000), st.integers(0, 2**32 - 1))
def test_usual_clicks_stay_below_the_limit_and_twice_as_many_exceed_it(rate: int, seed: int) -> None:
    """Three hours of a Poisson process open nothing at the usual rate, and do at twice that where clicks are many."""
    generator = np.random.default_rng(seed)
    starts, most = np.arange(180.0), limit(365, 20)
    for factor, sharp in ((1.0, False), (2.0, True)):
        clicks = generator.poisson(factor * rate, 180).astype(np.float64)
        usual = np.full(180, 1.5 * rate)
        steps = volume_steps(starts, clicks, usual, usual + rate / 2)
        if rate >= 20 or not sharp:
            assert (excursion(steps, 1.0, most).sum > most) is sharp


def test_bursts_count_less() -> None:
    """Where clicks come ten at a time the spread is near ten, and near one where each comes by itself."""
    generator = np.random.default_rng(3)
    starts = np.arange(24 * 60.0)
    alone = generator.poisson(50, len(starts)).astype(np.float64)
    bursts = 10 * generator.poisson(5, len(starts)).astype(np.float64)
    assert 1.0 <= volume_spread(starts, alone) < 1.3
    assert 7 < volume_spread(starts, bursts) < 14
    assert volume_spread(starts[:10], alone[:10]) == 10.0


def test_no_minutes_stay_none() -> None:
    """Without a first minute there is nothing to fill."""
    none = np.zeros(0)
    assert [len(one) for one in every_minute(none, none, 7)] == [0, 0]
