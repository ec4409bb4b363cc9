"""Periods: calendar months and days as a billing time zone has them, summer time respected."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr.clock import SECOND
from slidr.errors import BillingError
from slidr.metrics import local_times

_FORM = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


class Period(NamedTuple):
    """A month or a day in a time zone.

    Attributes:
        name: `YYYY-MM`, or `YYYY-MM-DD`.
        start: first instant, microseconds UTC.
        end: instant after the last.
    """

    name: str
    start: int
    end: int

    @property
    def month(self) -> str:
        """The month itself, or that of the day."""
        return self.name[: len("2026-11")]


def period(text: str, zone: str) -> Period:
    """Return the month or day of a text such as `2026-11` or `2026-11-23`.

    A day in which clocks change has 23 or 25 hours:

    >>> day = period("2026-10-25", "Europe/Berlin")
    >>> (day.end - day.start) // 3_600_000_000
    25

    Raises:
        BillingError: the text is no month and no day.
    """
    found = _FORM.fullmatch(text)
    try:
        year, month, day = (int(part) if part else 0 for part in found.groups()) if found else (0, 0, 0)
        first = date(year, month, day or 1)
        last = first + timedelta(days=1) if day else (first + timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        raise BillingError(
            f"{text!r} is no period; write a month such as 2026-11, or a day such as 2026-11-23"
        ) from None
    return Period(text, _midnight(first, zone), _midnight(last, zone))


def begun(wanted: Period, now: int) -> None:
    """Refuse a period of the future.

    Raises:
        BillingError: no instant of it has passed.
    """
    if now <= wanted.start:
        raise BillingError(f"{wanted.name} has not begun, so there is nothing to report; give a period that has")


def local_days(times: NDArray[np.int64], zone: str) -> pa.Array[Any]:
    """Return the billing day of each time, text[n].

    >>> local_days(np.array([1_772_406_000_000_000]), "Europe/Berlin").to_pylist()  # 2026-03-01 23:00 UTC
    ['2026-03-02']
    """
    return _local(times, zone, lambda moment: str(moment.date()))


def local_hours(times: NDArray[np.int64], zone: str) -> pa.Array[Any]:
    """Return the hour of each time with its offset from UTC, text[n]: an hour that clocks show twice is two.

    >>> times = np.array([1_792_886_400_000_000, 1_792_890_000_000_000])  # 2026-10-25 00:00 and 01:00 UTC
    >>> local_hours(times, "Europe/Berlin").to_pylist()
    ['2026-10-25T02+02:00', '2026-10-25T02+01:00']
    """
    return _local(times, zone, lambda moment: f"{moment:%Y-%m-%dT%H}{moment.isoformat()[-6:]}")


def _midnight(day: date, zone: str) -> int:
    return int(datetime.combine(day, time(), ZoneInfo(zone)).timestamp()) * SECOND


def _local(times: NDArray[np.int64], zone: str, text: Callable[[datetime], str]) -> pa.Array[Any]:
    moments, place = local_times(times, zone)
    return pa.array([text(moment) for moment in moments], pa.string()).take(pa.array(place))
