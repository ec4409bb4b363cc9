"""Faults: what goes wrong with logs on their way, as data; the truth stays what it is.

Each fault names a counted day, from 1, and is written `kind:day:...` on the command line. Faults draw from generators
of their own, so that a log with a fault is the log without it but for the fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.clock import HOUR, SECOND
from slidr.errors import SettingsError

if TYPE_CHECKING:
    from slidr.simulate.days import SimulatedDay
    from slidr.simulate.plan import Plan

_HOURS = 24
_UTC = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class MissingPurchases:
    """Purchases of some hours of a day are lost: the first hour, UTC, and how many hours."""

    day: int
    hour: int = 8
    hours: int = 6


@dataclass(frozen=True)
class DuplicatedFeed:
    """A share of a day's clicks and purchases is delivered twice."""

    day: int
    share: float = 0.2


@dataclass(frozen=True)
class LateFeed:
    """A share of a day's clicks is delivered with those of the day after, their times unchanged."""

    day: int
    share: float = 0.1


@dataclass(frozen=True)
class ClockSkew:
    """The clock of one region's servers is off by so many seconds for a day."""

    day: int
    seconds: int = 120
    region: str = "south"


Fault = MissingPurchases | DuplicatedFeed | LateFeed | ClockSkew
KINDS: dict[str, type[Fault]] = {
    "missing_purchases": MissingPurchases,
    "duplicated_feed": DuplicatedFeed,
    "late_feed": LateFeed,
    "clock_skew": ClockSkew,
}
"""Every kind of fault, by its name."""


def parse_fault(text: str) -> Fault:
    """Return the fault that is written `kind:day` and then its numbers.

    >>> parse_fault("missing_purchases:8:10:6")
    MissingPurchases(day=8, hour=10, hours=6)

    Raises:
        SettingsError: an unknown kind, or numbers that are none.
    """
    name, *numbers = text.split(":")
    if name not in KINDS:
        raise SettingsError(f"fault {text!r} is of no kind that is known; write one of {', '.join(KINDS)}, and its day")
    fields = KINDS[name].__dataclass_fields__
    types = {"int": int, "float": float, "str": str}
    try:
        values = [types[str(field.type)](number) for field, number in zip(fields.values(), numbers, strict=False)]
    except ValueError:
        values = []
    if not 1 <= len(numbers) <= len(fields) or not values or values[0] < 1:
        raise SettingsError(f"fault {text!r} is not written {':'.join((name, *fields))}; the day counts from 1")
    return KINDS[name](*values)


def check_faults(plan: Plan, regions: Sequence[str]) -> None:
    """Refuse faults that would hit nothing, for a log that was to be bad must not pass for a good one.

    Raises:
        SettingsError: a day, an hour, a share or a region that the plan's logs do not have.
    """
    for fault in plan.faults:
        last = plan.days - (isinstance(fault, LateFeed) and plan.settle == 0)
        allowed: list[tuple[str, float | str, bool, str]] = [("day", fault.day, 1 <= fault.day <= last, f"1 to {last}")]
        match fault:
            case MissingPurchases():
                left = _HOURS - fault.hour
                allowed += [
                    ("hour", fault.hour, 0 <= fault.hour < _HOURS, f"0 to {_HOURS - 1}"),
                    ("hours", fault.hours, 1 <= fault.hours <= left, f"1 to {left}"),
                ]
            case ClockSkew():
                allowed += [("region", fault.region, fault.region in regions, ", ".join(regions))]
            case DuplicatedFeed() | LateFeed():
                allowed += [("share", fault.share, 0 < fault.share <= 1, "0 to 1, without 0")]
        for key, value, holds, known in allowed:
            if not holds:
                raise SettingsError(f"fault {fault}: {key} = {value!r} hits nothing in this plan; choose of {known}")


def spoil(
    days: Iterator[SimulatedDay], faults: Sequence[Fault], first: int, generator: np.random.Generator
) -> Iterator[SimulatedDay]:
    """Yield days with their faults.

    Args:
        days: every day of a plan, in order.
        faults: what goes wrong.
        first: place of the first counted day.
        generator: decides which rows are hit.
    """
    late: pa.Table | None = None
    for index, day in enumerate(days):
        clicks, purchases = day.clicks, day.purchases
        arriving, late = late, None
        for fault in faults:
            if index != first + fault.day - 1:
                continue
            match fault:
                case MissingPurchases():
                    purchases = _without_hours(purchases, fault)
                case DuplicatedFeed():
                    clicks, purchases = (_twice(table, fault.share, generator) for table in (clicks, purchases))
                case LateFeed():
                    held = generator.random(clicks.num_rows) < fault.share
                    late, clicks = clicks.filter(pa.array(held)), clicks.filter(pa.array(~held))
                case ClockSkew():
                    clicks = _skewed(clicks, fault)
        if arriving is not None:
            clicks = pa.concat_tables([clicks, arriving])
        yield replace(day, clicks=clicks, purchases=purchases)


def _without_hours(purchases: pa.Table, fault: MissingPurchases) -> pa.Table:
    hour = pc.divide(purchases["time"].cast(pa.int64()), HOUR).to_numpy() % _HOURS
    return purchases.filter(pa.array((hour < fault.hour) | (hour >= fault.hour + fault.hours)))


def _twice(table: pa.Table, share: float, generator: np.random.Generator) -> pa.Table:
    again = np.flatnonzero(generator.random(table.num_rows) < share)
    return table.take(pa.array(np.sort(np.concatenate([np.arange(table.num_rows), again]))))


def _skewed(clicks: pa.Table, fault: ClockSkew) -> pa.Table:
    theirs = pc.equal(clicks["region"], fault.region).to_numpy()
    times = clicks["time"].cast(pa.int64()).to_numpy() + theirs * (fault.seconds * SECOND)
    return clicks.set_column(clicks.column_names.index("time"), "time", pa.array(times).cast(_UTC))
