from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Any

import pytest

from slidr.clock import DAY
from slidr.errors import SettingsError
from slidr.simulate.plan import THIN, Phase, Plan


def test_schedule_is_burn_in_then_counted_then_settle() -> None:
    """The days follow each other without a gap, and the first counted day is the plan's start."""
    schedule = Plan(clicks=90_000).schedule
    assert [day.index for day in schedule] == list(range(40))
    assert [day.phase for day in schedule] == [Phase.BURN_IN] * 30 + [Phase.COUNTED] * 9 + [Phase.SETTLE]
    assert schedule[30].date == date(2026, 3, 2)
    assert all(before.end == after.start for before, after in pairwise(schedule))


def test_burn_in_is_thin_and_settle_is_empty() -> None:
    """Expected clicks are a few percent on burn-in days, full on counted days and none on settle days."""
    schedule = Plan(clicks=90_000).schedule
    assert schedule[0].clicks == pytest.approx(10_000 * THIN)
    assert schedule[30].clicks == 10_000
    assert schedule[-1].clicks == 0


def test_a_day_knows_its_times() -> None:
    """A day starts and ends at midnight UTC, in microseconds."""
    day = Plan(clicks=5_000, days=1, burn_in=0, start=date(1970, 1, 2)).schedule[0]
    assert (day.start, day.end, day.weekday) == (DAY, 2 * DAY, 4)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"clicks": 0}, "clicks = 0 is below its limit of 4500"),
        ({"clicks": 9_000, "days": 0}, "days = 0 is below its limit of 1"),
        ({"clicks": 9_000, "burn_in": -1}, "burn_in = -1"),
        ({"clicks": 9_000, "settle": -1}, "settle = -1"),
    ],
)
def test_a_number_below_its_limit_is_refused(values: dict[str, Any], named: str) -> None:
    """A plan that cannot be simulated names the key, the value and the limit."""
    with pytest.raises(SettingsError, match=named):
        Plan(**values)
