"""Clocks: time is always passed in, so that a test or a replay decides what time it is."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import Protocol

SECOND = 1_000_000
"""One second in microseconds, the unit of all times in slidr."""
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def midnight(day: date) -> int:
    """Return the instant at which a UTC day begins, in microseconds.

    >>> midnight(date(1970, 1, 2)) == DAY
    True
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


class Clock(Protocol):
    """Tells the time as microseconds since 1970-01-01 UTC."""

    def now(self) -> int:
        """Return the current time in microseconds, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the machine's time in microseconds, UTC."""
        return time.time_ns() // 1000


class ManualClock:
    """A clock that moves only when told to.

    >>> clock = ManualClock(now=5 * SECOND)
    >>> clock.advance(2 * SECOND)
    >>> clock.now()
    7000000
    """

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Return the time it was set to, in microseconds, UTC."""
        return self._now

    def advance(self, by: int) -> None:
        """Move the clock by this many microseconds, backwards when negative."""
        self._now += by
