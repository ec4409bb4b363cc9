"""Clicks with what was decided of them, as billing reads them from a lake: what its tests share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from slidr.clock import SECOND
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema, conform
from slidr.tables import CLICKS, DECISIONS


def at(text: str) -> int:
    """Return a moment such as `2026-03-02T10:00` in microseconds; UTC where it names no offset."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * SECOND


class Decided(NamedTuple):
    """One decision; what most tests do not care for has a value."""

    click_id: str
    time: int
    verdict: str = "valid"
    cost: int | None = 1_000_000
    currency: str | None = "EUR"
    campaign: str | None = "spring"
    advertiser: str | None = "acme"
    slice: str = "all"
    supersedes: str | None = None
    cause: str = "live"
    enforced: bool = True
    decision_id: str = ""
    later: int = 0


def decisions(*rows: Decided) -> pa.Table:
    """Return rows of DECISIONS; an id that is not given is that of the click behind its cause."""
    empty: dict[str, Any] = dict.fromkeys(DECISIONS.names)
    fixed = {"reasons": [], "lists": [], "bundle": "b", "score": 0.5, "threshold": 0.9}
    full = []
    for one in rows:
        row = one._asdict()
        row["decision_id"] = one.decision_id or f"{one.cause}-{one.click_id}"
        row["decided_at"] = one.time + one.later
        del row["later"]
        full.append(empty | fixed | row)
    return conform(DECISIONS, pa.Table.from_pylist(full, schema=arrow_schema(DECISIONS)))


def lake_of(where: object, *rows: Decided, clicks: list[dict[str, Any]] | None = None) -> Lake:
    """Return a lake with these decisions, and clicks of the log where some are given."""
    lake = Lake(str(where))
    if rows:
        lake.append(DECISIONS, decisions(*rows))
    if clicks:
        lake.append(CLICKS, pa.Table.from_pylist(clicks, schema=arrow_schema(CLICKS)))
    return lake
