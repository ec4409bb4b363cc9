"""Figures: clicks and their cost, gross, net of general and net of all, by what they are grouped by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from slidr.billing.clicks import UNDECIDED
from slidr.billing.periods import local_days, local_hours
from slidr.tables import Verdict

DIMENSIONS = ("campaign", "advertiser", "slice", "day", "hour")
"""What figures can be grouped by; `day` and `hour` are those of the billing time zone."""
_COUNTED = ("verdict", "unenforced", "priced")


class Amount(msgspec.Struct, frozen=True):
    """Clicks and their cost in micros, of one currency.

    Attributes:
        gross: all clicks.
        general: invalid by a list rule.
        sophisticated: invalid by the model.
        unmeasurable: could not be judged for want of information.
        undecided: in the log, and decided by nobody.
        unenforced: invalid, but answered valid; they count as general or sophisticated too.
    """

    gross: int = 0
    general: int = 0
    sophisticated: int = 0
    unmeasurable: int = 0
    undecided: int = 0
    unenforced: int = 0

    def __add__(self, other: Amount) -> Amount:
        """Add each figure."""
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Amount(*(one + two for one, two in both))

    @property
    def net_of_general(self) -> int:
        """Gross without what list rules found."""
        return self.gross - self.general

    @property
    def net_of_all(self) -> int:
        """Gross without all that is invalid."""
        return self.net_of_general - self.sophisticated

    @property
    def billable(self) -> int:
        """What is charged: the net of all, and what is invalid but was answered valid."""
        return self.net_of_all + self.unenforced


class Figures(msgspec.Struct, frozen=True):
    """Clicks and cost of one group.

    Attributes:
        clicks: how many.
        cost: in micros of one currency.
        unpriced: clicks whose cost is not known; they cost nothing here.
    """

    clicks: Amount = Amount()
    cost: Amount = Amount()
    unpriced: int = 0

    def __add__(self, other: Figures) -> Figures:
        """Add each figure."""
        return Figures(self.clicks + other.clicks, self.cost + other.cost, self.unpriced + other.unpriced)

    @property
    def decision_rate(self) -> float | None:
        """Share of the clicks that were found valid or invalid; None where there are no clicks."""
        amount = self.clicks
        decided = amount.gross - amount.unmeasurable - amount.undecided
        return decided / amount.gross if amount.gross else None


Key = tuple[str | None, ...]
"""Values of what was grouped by, and the currency last: amounts of two currencies are never added."""


def figures(clicks: Iterable[pa.Table], by: tuple[str, ...], zone: str) -> dict[Key, Figures]:
    """Return the figures of clicks by group, in order; what is null comes last.

    Args:
        clicks: as `slidr.billing.clicks.billed_clicks` yields them.
        by: of DIMENSIONS.
        zone: time zone of the billing day.
    """
    found: dict[Key, Figures] = {}
    names = [*by, "currency", *_COUNTED]
    for part in clicks:
        grouped = _dimensioned(part, by, zone).group_by(names).aggregate([("cost", "sum"), ([], "count_all")])
        for row in grouped.to_pylist():
            key = tuple(row[name] for name in (*by, "currency"))
            found[key] = found.get(key, Figures()) + _figures(row)
    return dict(sorted(found.items(), key=lambda item: [_order(*one) for one in zip(names, item[0], strict=False)]))


def totals(found: dict[Key, Figures]) -> dict[str, Figures]:
    """Return the sums by currency."""
    sums: dict[str, Figures] = {}
    for key, one in found.items():
        currency = str(key[-1])
        sums[currency] = sums.get(currency, Figures()) + one
    return dict(sorted(sums.items()))


def of_advertiser(clicks: Iterable[pa.Table], advertiser: str) -> Iterable[pa.Table]:
    """Yield the clicks that an advertiser pays."""
    for part in clicks:
        yield part.filter(pc.equal(part["advertiser"], advertiser))


def _order(name: str, value: str | None) -> tuple[bool, float, str]:
    """Return what sorts a value: nulls last, and hours as they pass, not as clocks show them."""
    passed = datetime.fromisoformat(value).timestamp() if name == "hour" and value is not None else 0.0
    return value is None, passed, value or ""


def _dimensioned(part: pa.Table, by: tuple[str, ...], zone: str) -> pa.Table:
    for name, local in (("day", local_days), ("hour", local_hours)):
        if name in by:
            part = part.append_column(name, local(part["time"].to_numpy(), zone))
    return part


def _figures(row: dict[str, Any]) -> Figures:
    def amount(value: int) -> Amount:
        return Amount(
            gross=value,
            general=value * (row["verdict"] == Verdict.INVALID_GENERAL),
            sophisticated=value * (row["verdict"] == Verdict.INVALID_SOPHISTICATED),
            unmeasurable=value * (row["verdict"] == Verdict.UNMEASURABLE),
            undecided=value * (row["verdict"] == UNDECIDED),
            unenforced=value * row["unenforced"],
        )

    count = row["count_all"]
    return Figures(amount(count), amount(row["cost_sum"]), 0 if row["priced"] else count)
