"""Adjustments: what corrections owe, by billing day, campaign, advertiser and currency.

A correction is weighed against the decision that it supersedes, and against nothing else: so a click that is corrected
again is adjusted by the difference to what was last settled, and over any number of replays the adjustments sum up to
the difference between the first answer and the decision that holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.clock import SECOND
from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.lake.parts import parts_of, read_part
from slidr.lake.schema import arrow_schema
from slidr.metrics import local_times
from slidr.replay.corrections import credit
from slidr.replay.held import places_of
from slidr.tables import ADJUSTMENTS, DECISIONS, NO_CURRENCY, PERIODS

_BY = ("billing_day", "campaign", "advertiser", "currency")


class Owed(NamedTuple):
    """Clicks and cost, in micros, to credit (positive) or to charge (negative)."""

    clicks: int
    cost: int


def adjust(lake: Lake, cause: str, start: int, end: int, zone: str) -> pa.Table:
    """Commit the adjustments of all corrections of one cause, once, and return them.

    Args:
        lake: holds the corrections.
        cause: of the corrections.
        start: first instant of their clicks, microseconds UTC.
        end: instant after the last.
        zone: time zone of the billing day.

    Raises:
        TableError: the lake cannot be read or written.
    """
    if not adjusted(lake, cause):
        found = adjustments(corrected_pairs(lake, cause, start, end), zone)
        lake.append(ADJUSTMENTS, booked(found, cause, closed_periods(lake)), (cause, 1))
    held = lake.read(ADJUSTMENTS)
    return held.filter(pc.equal(held["replay"], cause))


def adjusted(lake: Lake, cause: str) -> bool:
    """Return whether the adjustments of a cause are in the lake, with which it is complete.

    Raises:
        TableError: the lake cannot be read.
    """
    return lake.transaction(ADJUSTMENTS, cause) is not None


def corrected_pairs(lake: Lake, cause: str, start: int, end: int) -> Iterable[tuple[pa.Table, pa.Table]]:
    """Yield the corrections of a cause with the decisions that they supersede, a part of a day at once.

    Raises:
        ReplayError: a decision that was superseded is not there.
        TableError: the lake cannot be read.
    """
    for part in parts_of(lake, DECISIONS, start, end):
        decisions = read_part(lake, DECISIONS, part)
        ours = decisions.filter(pc.equal(decisions["cause"], cause))
        if not ours.num_rows:
            continue
        places = places_of(ours["supersedes"], decisions["decision_id"])
        if (places < 0).any():
            lost = ours["click_id"][int(np.argmax(places < 0))]
            raise ReplayError(f"the decision of click {lost} that {cause} supersedes is not in the lake; restore it")
        yield decisions.take(pa.array(places)), ours


def adjustments(pairs: Iterable[tuple[pa.Table, pa.Table]], zone: str) -> dict[tuple[Any, ...], Owed]:
    """Return what is owed by (billing day, campaign, advertiser, currency); nothing where the sums are nothing.

    Args:
        pairs: decisions that are superseded, and what supersedes them, row by row.
        zone: time zone of the billing day.
    """
    clicks: Counter[tuple[Any, ...]] = Counter()
    cost: Counter[tuple[Any, ...]] = Counter()
    for before, after in pairs:
        signs = credit(before["verdict"], after["verdict"], before["enforced"])
        moved = pa.array(np.flatnonzero(signs))
        part, sign = before.take(moved), pa.array(signs[signs != 0])
        table = pa.table({
            "billing_day": pa.array(billing_days(part["time"].cast(pa.int64()).to_numpy(), zone)),
            "campaign": part["campaign"],
            "advertiser": part["advertiser"],
            "currency": part["currency"].fill_null(NO_CURRENCY),
            "clicks": sign,
            "cost": pc.multiply(part["cost"].fill_null(0), sign),
        })  # fmt: skip
        for row in table.group_by(list(_BY)).aggregate([("clicks", "sum"), ("cost", "sum")]).to_pylist():
            key = tuple(row[name] for name in _BY)
            clicks[key] += row["clicks_sum"]
            cost[key] += row["cost_sum"]
    return {key: Owed(clicks[key], cost[key]) for key in clicks if clicks[key] or cost[key]}


def booked(found: dict[tuple[Any, ...], Owed], cause: str, closed: frozenset[str]) -> pa.Table:
    """Return rows of ADJUSTMENTS; what belongs to a closed period is booked into the next one that is open."""
    rows = [
        {"replay": cause, "period": open_period(key[0], closed), **dict(zip(_BY, key, strict=True)), **owed._asdict()}
        for key, owed in sorted(found.items(), key=lambda item: tuple(map(str, item[0])))
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(ADJUSTMENTS))


def closed_periods(lake: Lake) -> frozenset[str]:
    """Return the accounting periods that are closed.

    Raises:
        TableError: the lake cannot be read.
    """
    if not lake.exists(PERIODS):
        return frozenset()
    return frozenset(lake.read(PERIODS, columns=["period"])["period"].to_pylist())


def open_period(day: date, closed: frozenset[str]) -> str:
    """Return the accounting period of a billing day, or the next one behind it that is open.

    >>> open_period(date(2026, 11, 30), frozenset({"2026-11", "2026-12"}))
    '2027-01'
    """
    month = date(day.year, day.month, 1)
    while (period := f"{month:%Y-%m}") in closed:
        month = (month + timedelta(days=31)).replace(day=1)
    return period


def billing_days(times: NDArray[np.int64], zone: str) -> NDArray[np.datetime64]:
    """Return the billing day of each time, datetime64[D][n]: the date in a time zone, summer time respected.

    >>> billing_days(np.array([1_772_406_000_000_000]), "Europe/Berlin")  # 2026-03-01 23:00 UTC
    array(['2026-03-02'], dtype='datetime64[D]')
    """
    moments, place = local_times(times, zone)
    return np.array([moment.date() for moment in moments], "datetime64[D]")[place]


def refuse_past(start: int, now: int, *, zone: str, days: int) -> None:
    """Refuse to correct clicks that are older than may be adjusted.

    Args:
        start: time of the first click, microseconds UTC.
        now: microseconds UTC.
        zone: time zone of the billing day.
        days: that a billing day may lie back.

    Raises:
        ReplayError: the click's billing day lies further back.
    """
    first, today = billing_days(np.array([start, now]), zone).astype(object)
    oldest = today - timedelta(days=days)
    if first < oldest:
        raise ReplayError(
            f"clicks of {first} are past the cut-off: what is billed for a day may be adjusted for"
            f" replay.cut_off_days = {days} days, which today is from {oldest} on ({zone}); replay from that day on, or"
            " raise the setting if your contracts let you"
        )


def moment(time: int) -> str:
    """Return a time in microseconds as people write it, UTC."""
    return datetime.fromtimestamp(time / SECOND, UTC).isoformat(timespec="seconds")
