"""What a backtest is to do: which days are judged, on what their thresholds are set, and which network scores them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from slidr.billing.periods import Period
from slidr.bundle import Bundle, read_bundle
from slidr.clock import DAY, SECOND
from slidr.daily.plan import Logged
from slidr.errors import BillingError
from slidr.registry import Registry

Source = Literal["lake", "journal"]
"""Whose rows are scored: those of backfill, or those that services journalled."""
_DECIDED = ("champion", "stable", "former")


class Asked(NamedTuple):
    """What a backtest is asked.

    Attributes:
        period: its days are judged.
        budgets: shares of purchasing clicks that may be marked.
        by: what figures are grouped by, of `slidr.billing.figures.DIMENSIONS`.
        source: whose rows are scored.
        ranking_days: days before the calibrated one that rank the clicks where a certificate is asked for.
        bundle: whose network scores; None for the newest that had not seen the days.
    """

    period: Period
    budgets: tuple[float, ...]
    by: tuple[str, ...] = ("campaign",)
    source: Source = "lake"
    ranking_days: int = 1
    bundle: str | None = None


class Span(NamedTuple):
    """From the first instant until that after the last, microseconds UTC."""

    start: int
    end: int


class JudgedDay(msgspec.Struct, frozen=True):
    """A day to judge.

    Attributes:
        name: its date in the billing time zone.
        judged: the day.
        level: the day that sets the thresholds: the newest whose labels were mature when the judged one began.
        ranking: the days before it.
        bundle: whose network scores all of them.
    """

    name: str
    judged: Span
    level: Span
    ranking: Span
    bundle: str


class Left(msgspec.Struct, frozen=True):
    """A day that is not judged, and why."""

    day: str
    why: str


def plan_days(
    asked: Asked, log: Logged, registry: Registry, zone: str, now: int
) -> tuple[tuple[JudgedDay, ...], tuple[Left, ...]]:
    """Return the days to judge, and those that cannot be.

    Raises:
        BillingError: a budget is none.
        RegistryError: the registry cannot be read, or has not the bundle.
    """
    for budget in asked.budgets:
        if not 0 < budget < 1:
            raise BillingError(f"a budget of {budget} is no share between 0 and 1; 0.005 allows 0.5 % to be marked")
    trained = _trained(registry, asked.bundle, now)
    days, left = [], []
    for name, judged in _days(asked.period, zone):
        level = Span(judged.start - log.window - DAY, judged.start - log.window)
        ranking = Span(level.start - asked.ranking_days * DAY, level.start)
        why = _unknown(log, judged, level, now)
        bundle = next((one for one, end in trained if end <= level.start), None)
        if why:
            left.append(Left(name, why))
        elif bundle is None:
            left.append(Left(name, _untrained(trained, zone)))
        else:
            days.append(JudgedDay(name, judged, level, ranking, bundle))
    return tuple(days), tuple(left)


def _days(period: Period, zone: str) -> list[tuple[str, Span]]:
    """Return the days of a period by the clock of a zone, each of 23, 24 or 25 hours."""
    local = ZoneInfo(zone)
    first = datetime.fromtimestamp(period.start // SECOND, local).date()
    last = datetime.fromtimestamp(period.end // SECOND - 1, local).date()
    names = [first + timedelta(days=place) for place in range((last - first).days + 1)]
    return [(str(day), Span(_midnight(day, local), _midnight(day + timedelta(days=1), local))) for day in names]


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp()) * SECOND


def _trained(registry: Registry, chosen: str | None, now: int) -> Sequence[tuple[str, int]]:
    """Return the bundles that may score, with where their training ended, the newest training first."""
    if chosen is not None:
        registry.require(chosen)
    known = [chosen] if chosen else [name for name, role in registry.roles(now).items() if role in _DECIDED]
    ends = []
    for identity in known:
        data: dict[str, Any] = msgspec.json.decode(registry.read(identity, "data.json"), type=dict[str, Any])
        if "train" in data:
            ends.append((identity, int(data["train"][1])))
    if not ends:
        raise BillingError(
            f"registry {registry.location} has no champion whose training days are known, so nothing can score; run"
            " `slidr daily` first, or name a bundle"
        )
    return sorted(ends, key=lambda one: (-one[1], one[0]))


def _unknown(log: Logged, judged: Span, level: Span, now: int) -> str:
    """Return what the log lacks to judge a day; nothing where it lacks nothing."""
    if judged.end + log.window > now:
        return "its labels are not mature yet"
    for span, what in ((judged, "of it"), (level, "of the day that would set its thresholds")):
        if not any(_midnight(day, ZoneInfo("UTC")) < span.end and _midnight(day, ZoneInfo("UTC")) + DAY > span.start
                   for day in log.days):  # fmt: skip
            return f"the lake has no clicks {what}"
    return ""


def _untrained(trained: Sequence[tuple[str, int]], zone: str) -> str:
    earliest = datetime.fromtimestamp(trained[-1][1] // SECOND, ZoneInfo(zone))
    return (
        "no network was trained on days before those that would set its thresholds alone: the earliest training ends"
        f" {earliest:%Y-%m-%d %H:%M}"
    )


def read_named(registry: Registry, identity: str, folder: Path) -> Bundle:
    """Return a bundle of the registry, checked to the last byte.

    Raises:
        BundleError: it does not load.
        RegistryError: it cannot be fetched.
    """
    return read_bundle(registry.fetch(identity, folder))
