"""What to simulate: how many clicks, over which days."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

import msgspec

from slidr.clock import DAY, SECOND
from slidr.errors import SettingsError
from slidr.simulate.faults import Fault

VERSION = 3
"""The simulator's version: another one draws other logs from the same plan and seed."""

NEWCOMER_DAY = 7
"""Counted days that have passed when a newcomer comes, unless a plan says otherwise."""

THIN = 0.03
"""Clicks of a burn-in day, as a share of a counted day's."""


class Phase(StrEnum):
    """What a simulated day is for."""

    BURN_IN = "burn_in"
    COUNTED = "counted"
    SETTLE = "settle"


class Day(msgspec.Struct, frozen=True):
    """One day of a plan.

    Attributes:
        index: zero-based place in the plan, burn-in included.
        date: the date, in UTC.
        phase: what the day is for.
        clicks: expected clicks of people and robots together, before the weekly rhythm.
        thinness: share of a counted day's clicks that the day has; 0 on a settle day.
    """

    index: int
    date: date
    phase: Phase
    clicks: float
    thinness: float

    @property
    def start(self) -> int:
        """The day's first microsecond, UTC."""
        return int(datetime.combine(self.date, time(), UTC).timestamp()) * SECOND

    @property
    def end(self) -> int:
        """The next day's first microsecond, UTC."""
        return self.start + DAY

    @property
    def weekday(self) -> int:
        """The day of the week, Monday 0."""
        return self.date.weekday()


class Plan(msgspec.Struct, frozen=True):
    """What to simulate.

    Burn-in days come first, thin in clicks and full in purchases; then the counted days; then settle days, which have
    purchases and no clicks, so that the last clicks can be attributed.

    Attributes:
        clicks: clicks of all counted days together, about.
        days: counted days.
        burn_in: days before the counted ones.
        start: date of the first counted day; the default is a Monday.
        settle: days after the counted ones.
        newcomer: a robot family that comes late; empty for none.
        newcomer_after: counted days that have passed when it comes; by default the seven that train have never seen it.
        faults: what goes wrong with the logs on their way.

    Raises:
        SettingsError: a number below its limit.

    >>> plan = Plan(clicks=90_000)
    >>> len(plan.schedule), plan.schedule[30].date.isoformat(), plan.schedule[30].clicks
    (40, '2026-03-02', 10000.0)
    """

    clicks: int
    days: int = 9
    burn_in: int = 30
    start: date = date(2026, 3, 2)
    settle: int = 1
    newcomer: str = ""
    newcomer_after: int = NEWCOMER_DAY
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that make no plan."""
        limits = {"days": 1, "burn_in": 0, "settle": 0, "newcomer_after": 0}
        if self.days > 0:
            limits["clicks"] = 500 * self.days
        for key, least in limits.items():
            value = getattr(self, key)
            if value < least:
                raise SettingsError(f"simulation plan: {key} = {value} is below its limit of {least}; raise it")

    @property
    def newcomer_day(self) -> int:
        """Place in the schedule of the day on which the newcomer comes."""
        return self.burn_in + self.newcomer_after

    @property
    def daily_clicks(self) -> float:
        """Expected clicks of a counted day, before the weekly rhythm."""
        return self.clicks / self.days

    @property
    def schedule(self) -> tuple[Day, ...]:
        """Every day of the plan, in order."""
        phases = [Phase.BURN_IN] * self.burn_in + [Phase.COUNTED] * self.days + [Phase.SETTLE] * self.settle
        thinness = {Phase.BURN_IN: THIN, Phase.COUNTED: 1.0, Phase.SETTLE: 0.0}
        first = self.start - timedelta(days=self.burn_in)
        return tuple(
            Day(index, first + timedelta(days=index), phase, self.daily_clicks * thinness[phase], thinness[phase])
            for index, phase in enumerate(phases)
        )
