from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from slidr.simulate.plan import Plan
from slidr.simulate.rhythm import DEVICES, OFFSETS, REGIONS, VOLUME, intensity, local_hours, visit_starts


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weekday", range(7))
def test_intensity_is_a_distribution(device: str, weekday: int) -> None:
    """The hours of every day share out all visits, and none is empty."""
    shares = intensity(device, weekday)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares > 0).all()


def test_volume_has_mean_one() -> None:
    """The weekly rhythm moves clicks between days and adds none."""
    assert VOLUME.mean() == pytest.approx(1.0)


def test_starts_lie_within_the_day_and_keep_local_time() -> None:
    """Visits start within the UTC day, and evening is evening in every region."""
    day = Plan(clicks=9_000).schedule[30]
    generator = np.random.default_rng(3)
    for code in range(len(REGIONS)):
        region = np.full(20_000, code, dtype=np.int8)
        starts = visit_starts(np.ones(20_000, dtype=np.int8), region, day, generator)
        assert starts.min() >= day.start
        assert starts.max() < day.end
        counts = np.bincount(local_hours(starts, region, day).astype(int), minlength=24)
        assert abs(int(counts.argmax()) - 20) <= 1
    assert len(set(OFFSETS.tolist())) > 1


def test_people_have_a_daily_rhythm_and_robots_a_flatter_one(log: pd.DataFrame) -> None:
    """People's busiest hour has many times the clicks of their quietest; the crawlers' has not."""
    hours = log["time"].dt.hour
    people = hours[~log["robot"]].value_counts()
    crawler = hours[log["family"] == "rotating_crawler"].value_counts()
    assert people.max() > 5 * people.min()
    assert crawler.max() < 1.5 * crawler.min()


def test_people_have_a_weekly_rhythm(log: pd.DataFrame) -> None:
    """Desktops have a larger share of office-hour clicks on working days than at the weekend."""
    people = log[~log["robot"] & (log["device"] == "desktop")]
    morning = people["time"].dt.hour.between(8, 10)
    weekend = people["time"].dt.day_of_week >= 5
    assert morning[~weekend].mean() > 1.15 * morning[weekend].mean()
