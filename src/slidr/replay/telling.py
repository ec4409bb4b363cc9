"""Telling: corrections are posted in batches to who has to know of them, each batch until it was taken.

What was told is kept in the lake, so that a replay that is run again tells the rest alone. A batch may still come
twice, where its sender was killed before it could note that it was taken: it then has the same identifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from slidr.clock import DAY, midnight
from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.posting import Receiver
from slidr.replay.adjustments import corrected_pairs
from slidr.replay.corrections import credit
from slidr.replay.plan import Plan
from slidr.tables import ADJUSTMENTS, DECISIONS

_EVENT = "decisions.superseded"
_SAID = (
    "click_id", "decision_id", "supersedes", "time", "decided_at", "verdict", "reasons", "lists", "slice", "bundle",
    "enforced", "campaign", "advertiser", "cost", "currency",
)  # fmt: skip


class Told(NamedTuple):
    """What a receiver was told.

    Attributes:
        batches: that it took, in this run.
        decisions: in them.
        before: batches that it had taken before.
    """

    batches: int
    decisions: int
    before: int


def tell(lake: Lake, plan: Plan, receiver: Receiver, size: int) -> Told:
    """Post the corrections of a replay that were not told yet, `size` of them at once.

    Raises:
        ReplayError: the receiver did not take a batch; it is the next one to be told.
        TableError: the lake cannot be read or written.
    """
    application = f"told {plan.cause}"
    before = lake.transaction(ADJUSTMENTS, application) or 0
    batches = decisions = 0
    for number, batch in enumerate(_batches(lake, plan, size), 1):
        if number <= before:
            continue
        identifier = f"{plan.id}-{number}"
        message = {
            "type": _EVENT,
            "timestamp": plan.at,
            "data": {"replay": plan.id, "bundle": plan.bundle, "batch": number, "decisions": batch},
        }
        fault = receiver.post(identifier, msgspec.json.encode(message))
        if fault:
            raise ReplayError(
                f"replay {plan.id} is in the lake, and its receiver (replay.webhook) did not take batch {number}:"
                f" {fault}; run the same command again once it does, which tells from there on"
            )
        lake.append(ADJUSTMENTS, arrow_schema(ADJUSTMENTS).empty_table(), (application, number), after=number - 1)
        batches, decisions = batches + 1, decisions + len(batch)
    return Told(batches, decisions, before)


def _batches(lake: Lake, plan: Plan, size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield what is told of corrections, by day and decision_id: in the same batches however the lake's files lie."""
    rest: list[dict[str, Any]] = []
    for day in lake.days(DECISIONS):
        start, end = max(midnight(day), plan.start), min(midnight(day) + DAY, plan.end)
        if start < end:
            rest += _of_day(lake, plan, day)
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest


def _of_day(lake: Lake, plan: Plan, day: date) -> list[dict[str, Any]]:
    parts = [
        after.select(_SAID)
        .append_column("verdict_before", before["verdict"])
        .append_column("credit", pa.array(credit(before["verdict"], after["verdict"], before["enforced"])))
        for before, after in corrected_pairs(lake, plan.cause, midnight(day), midnight(day) + DAY)
    ]
    if not parts:
        return []
    table = pa.concat_tables(parts).sort_by("decision_id")
    table = table.set_column(
        table.column_names.index("credit"), "credit", pc.multiply(table["credit"], table["cost"].fill_null(0))
    )
    for name in ("time", "decided_at"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.int64()))
    return [dict(row) for row in table.to_pylist()]
