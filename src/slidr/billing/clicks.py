"""Clicks as billing sees them: each once, with the decision that holds, what it costs and who pays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.billing.periods import Period
from slidr.clock import DAY, HOUR, midnight
from slidr.errors import BillingError
from slidr.lake.delta import Lake
from slidr.lake.settled import settled
from slidr.lake.spans import overlaps
from slidr.slices import ROOT
from slidr.tables import CLICKS, DECISIONS, INVALID, NO_CURRENCY

UNDECIDED = "undecided"
"""Stands for the verdict of a click that nobody decided."""
_INVALID = pa.array(INVALID)
_PAID = ("campaign", "advertiser", "cost", "currency")
_READ = ("decision_id", "click_id", "time", "decided_at", "verdict", "slice", "supersedes", "cause", "enforced", *_PAID)
_REPEATS = 2 * HOUR  # A click is known as a repeat for an hour, so that one after midnight may be of the day before.


def billed_clicks(lake: Lake, wanted: Period) -> Iterator[pa.Table]:
    """Yield the clicks of a period, a UTC day at once, each once.

    Columns: click_id, time (int64, microseconds UTC), verdict, slice, campaign, advertiser, cost, currency, priced
    (whether its cost is known) and unenforced (whether it is invalid and was answered valid all the same). What a
    decision does not say of cost and payer is taken from CLICKS, and clicks there without a decision are undecided.

    Raises:
        BillingError: the period has no decisions.
        TableError: the lake cannot be read.
    """
    if not lake.exists(DECISIONS):
        raise BillingError(f"the lake has no decisions ({lake.address(DECISIONS)}); run `slidr ship` first")
    logged = lake.exists(CLICKS)
    days = {*lake.days(DECISIONS), *(lake.days(CLICKS) if logged else ())}
    before = pa.array([], pa.string())
    decided, last = 0, None
    for day in sorted(day for day in days if overlaps(day, (wanted.start, wanted.end))):
        start, end = max(midnight(day), wanted.start), min(midnight(day) + DAY, wanted.end)
        if last != day - timedelta(days=1):
            before = _of_before(lake, start)
        found = _decided(lake, start, end)
        decided += found.num_rows
        if logged:
            found = _joined(found, lake.read(CLICKS, start=start, end=end, columns=["click_id", "time", *_PAID]))
        found = found.filter(pc.invert(pc.is_in(found["click_id"], value_set=before)))
        before, last = _recent(found, end), day
        yield _finished(found)
    if not decided:
        known = lake.days(DECISIONS)
        held = f"they run from {known[0]} to {known[-1]} (UTC)" if known else "there are none at all"
        raise BillingError(f"there are no decisions of {wanted.name}: {held}; run `slidr ship`, or give another period")


def _decided(lake: Lake, start: int, end: int) -> pa.Table:
    found = settled(lake.read(DECISIONS, start=start, end=end, columns=_READ))
    found = found.select(["click_id", "time", "verdict", "slice", "enforced", *_PAID])
    return found.set_column(1, "time", found["time"].cast(pa.int64()))


def _of_before(lake: Lake, start: int) -> pa.Array[Any]:
    """Return the clicks that were decided shortly before a moment."""
    return _decided(lake, start - _REPEATS, start)["click_id"].combine_chunks()


def _recent(found: pa.Table, end: int) -> pa.Array[Any]:
    return found.filter(pc.greater_equal(found["time"], end - _REPEATS))["click_id"].combine_chunks()


def _joined(found: pa.Table, clicks: pa.Table) -> pa.Table:
    """Return the decisions with what the log says where they do not, and the clicks of which there is none."""
    if not clicks.num_rows:
        return found
    places = pc.index_in(found["click_id"], value_set=clicks["click_id"].combine_chunks())
    for name in _PAID:
        told = clicks[name].combine_chunks().take(places.combine_chunks())
        found = found.set_column(found.column_names.index(name), name, pc.coalesce(found[name], told))
    seen = np.zeros(clicks.num_rows, np.bool_)
    seen[places.drop_null().to_numpy()] = True
    missed = clicks.filter(pa.array(~seen))
    rest = pa.table({
        "click_id": missed["click_id"],
        "time": missed["time"].cast(pa.int64()),
        "verdict": pa.repeat(UNDECIDED, missed.num_rows),
        "slice": pa.repeat(ROOT, missed.num_rows),
        "enforced": pa.nulls(missed.num_rows, pa.bool_()),
        **{name: missed[name] for name in _PAID},
    })  # fmt: skip
    return pa.concat_tables([found, rest.cast(found.schema)])


def _finished(found: pa.Table) -> pa.Table:
    invalid = pc.is_in(found["verdict"], value_set=_INVALID)
    unenforced = pc.and_(invalid, pc.invert(found["enforced"].fill_null(True)))
    priced = pc.is_valid(found["cost"])
    found = found.set_column(found.column_names.index("cost"), "cost", found["cost"].fill_null(0))
    found = found.set_column(found.column_names.index("currency"), "currency", found["currency"].fill_null(NO_CURRENCY))
    return found.drop_columns(["enforced"]).append_column("priced", priced).append_column("unenforced", unenforced)
