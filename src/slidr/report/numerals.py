"""Numerals: how shares, counts, thresholds and times are written, on the page and in the terminal alike."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from slidr.clock import SECOND
from slidr.evaluation.results import Interval

MISSING = "–"  # noqa: RUF001  the dash that readers know as "no value"
"""Stands where there is nothing to measure; never a zero."""

_MICROS = 1_000_000
_CLOSEST = 0.999995
"""The largest threshold that does not read as 1, which would mark none."""


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as a percentage; what is None or not a number is missing.

    >>> percent(0.2791), percent(0.00479, 2), percent(None) == MISSING
    ('27.9 %', '0.48 %', True)
    """
    return MISSING if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def fpr_digits(budget: float) -> int:
    """Return how many decimals an FPR needs beside a budget: two of the budget's own digits, and never under 2.

    >>> fpr_digits(0.005), fpr_digits(0.00025)
    (2, 3)
    """
    return max(2, 1 + math.ceil(-math.log10(100 * budget)))


def bounds(interval: Interval, digits: int) -> str:
    """Write the ends of an interval as percentages.

    >>> bounds(Interval(0.0048, 0.0039, 0.0058), 2)
    '0.39 to 0.58 %'
    """
    if interval.low is None or interval.high is None:
        return MISSING
    return f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f} %"


def threshold_text(threshold: float) -> str:
    """Write a threshold; scores lie in [0, 1], so one outside marks all clicks or none.

    >>> threshold_text(0.83127), threshold_text(float("inf")), threshold_text(-1.0)
    ('0.83127', 'marks none', 'marks all')
    """
    if threshold < 0:
        return "marks all"
    if threshold >= 1:
        return "marks none"
    return "> 0.99999" if threshold > _CLOSEST else f"{threshold:.5f}"


def count(number: int, noun: str = "") -> str:
    """Write a count, with its noun in the singular or plural where one is given.

    >>> count(1043112), count(1, "purchase"), count(0, "purchase")
    ('1,043,112', '1 purchase', '0 purchases')
    """
    return f"{number:,}" + (f" {noun}{'' if number == 1 else 's'}" if noun else "")


def money(micros: int) -> str:
    """Write micros with two decimals, and with all that they have where that is more: nothing is rounded away.

    >>> money(3_234_567), money(-1_500_000), money(1_000_000_000_000)
    ('3.234567', '-1.50', '1,000,000.00')
    """
    whole, rest = divmod(abs(micros), _MICROS)
    decimals = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole:,}.{decimals}"


def moment(time: int, zone: str) -> str:
    """Write a time, microseconds since the epoch UTC, as the clock of a zone showed it.

    >>> moment(1_772_409_600_000_000, "Europe/Berlin")
    'Mon 2026-03-02 01:00'
    """
    return datetime.fromtimestamp(time // SECOND, ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M")
