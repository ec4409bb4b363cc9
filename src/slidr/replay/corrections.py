"""Corrections: rows of DECISIONS that supersede those that hold, committed one after another, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.errors import BusyError
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.replay.held import CORRECTIONS, Held, places_of, read_held, rows_at
from slidr.replay.plan import Plan
from slidr.slices import ROOT
from slidr.tables import DECISIONS, INVALID, NO_CURRENCY

_INVALID = pa.array(INVALID)
_ATTEMPTS = 50  # to commit before other corrections, each of which is in where this one is not
_REVIEW = "review:"
_NEW = ("verdict", "reasons", "score", "threshold", "slice", "bundle", "lists", "sequence")
_KEPT = ("click_id", "time", "journal", "context", "enforced", "campaign", "advertiser", "cost", "currency")


class Cell(NamedTuple):
    """Clicks that are counted together: slice, verdict before and after, and the currency of their cost."""

    slice: str
    before: str
    after: str
    currency: str


class Tally:
    """What corrections change, counted.

    Attributes:
        clicks: by cell, changed or not.
        cost: of these clicks, in micros.
        credit: of these clicks, cost to credit (positive) or to charge (negative), in micros.
        corrected: decisions that are superseded.
        reviewed: clicks that a person has reviewed, which stay as they are.
        left: clicks that could not be decided.
    """

    def __init__(self) -> None:
        self.clicks: Counter[Cell] = Counter()
        self.cost: Counter[Cell] = Counter()
        self.credit: Counter[Cell] = Counter()
        self.corrected = self.reviewed = self.left = 0

    def add(self, found: Found) -> None:
        """Count what was found of a stretch of time."""
        self.corrected += found.rows.num_rows
        self.reviewed += found.reviewed
        if not found.rows.num_rows and not found.compared.num_rows:
            return
        names = list(Cell._fields)
        grouped = found.compared.group_by(names).aggregate([("cost", "sum"), ("credit", "sum"), ([], "count_all")])
        for row in grouped.to_pylist():
            cell = Cell(*(row[name] for name in names))
            self.clicks[cell] += row["count_all"]
            self.cost[cell] += row["cost_sum"]
            self.credit[cell] += row["credit_sum"]


class Found(NamedTuple):
    """What corrections a stretch of time needs.

    Attributes:
        rows: of DECISIONS.
        compared: a row for each click of the plan: cell, cost and credit.
        reviewed: clicks that a person has reviewed.
    """

    rows: pa.Table
    compared: pa.Table
    reviewed: int


def corrected(lake: Lake, plan: Plan, held: Held, decided: pa.Table) -> Found:
    """Commit the corrections of a stretch of time, in one commit, and return them.

    What others correct meanwhile is seen first: of two replays over the same clicks the second one supersedes what the
    first one decided.

    Raises:
        BusyError: others correct all the time.
        TableError: the lake cannot be read or written.
    """
    for _ in range(_ATTEMPTS):
        found = corrections(plan, held, decided)
        if not found.rows.num_rows or commit(lake, held, found.rows):
            return found
        held = read_held(lake, held.part)
    raise BusyError("other replays or reviews correct decisions all the time; run this again when they have ended")


def commit(lake: Lake, held: Held, rows: pa.Table) -> bool:
    """Add corrections to the lake; returns False where others were committed since what they rest on was read.

    Raises:
        TableError: the lake cannot be written.
    """
    return lake.append(DECISIONS, rows, (CORRECTIONS, held.corrected + 1), after=held.corrected)


def corrections(plan: Plan, held: Held, decided: pa.Table) -> Found:
    """Return what is to supersede the decisions that hold, where a click is decided otherwise now.

    Left alone are clicks that this replay has corrected already, those that a person has reviewed, and those of
    other slices and campaigns.

    Args:
        plan: the replay.
        held: what the lake holds.
        decided: what is decided again, see `judging.judge`.
    """
    places = places_of(decided["click_id"], held.standing["click_id"])
    standing = rows_at(held.standing, places)
    wanted = _chosen(plan, standing, decided)
    mine = held.decisions.filter(pc.equal(held.decisions["cause"], plan.cause))["click_id"]
    wanted &= ~_is_in(standing["click_id"], mine)
    reviewed = wanted & np.asarray(pc.starts_with(standing["cause"], _REVIEW).to_numpy())
    wanted &= ~reviewed
    change = wanted & _differs(standing, decided)
    place = np.flatnonzero(change)
    origin = held.first["decision_id"].take(pa.array(places[change]))
    rows = superseding(rows_at(standing, place), origin, rows_at(decided, place), cause=plan.cause, at=plan.at)
    part = np.flatnonzero(wanted)
    return Found(rows, compared(rows_at(standing, part), rows_at(decided, part)), int(np.count_nonzero(reviewed)))


def superseding(standing: pa.Table, origin: pa.ChunkedArray, decided: pa.Table, *, cause: str, at: int) -> pa.Table:
    """Return rows of DECISIONS that supersede others.

    Args:
        standing: the decisions that hold.
        origin: decision_id of each click's first decision; a cause corrects a click once, so that both make an id.
        decided: what is decided instead, a row for each.
        cause: of the correction.
        at: when it was decided, microseconds UTC.
    """
    count = standing.num_rows
    columns: dict[str, Any] = {name: standing[name] for name in _KEPT} | {name: decided[name] for name in _NEW}
    columns |= {
        "decision_id": pc.binary_join_element_wise(cause, origin, "/"),
        "decided_at": pa.array(np.full(count, at)).cast(pa.timestamp("us", "UTC")),
        "supersedes": standing["decision_id"],
        "cause": pa.repeat(cause, count),
    }
    return conform(DECISIONS, pa.table(columns))


def compared(standing: pa.Table, decided: pa.Table) -> pa.Table:
    """Return the cells of clicks, with their cost and what is to be credited of it, in micros."""
    cost = standing["cost"].fill_null(0)
    return pa.table({
        "slice": decided["slice"],
        "before": standing["verdict"],
        "after": decided["verdict"],
        "currency": standing["currency"].fill_null(NO_CURRENCY),
        "cost": cost,
        "credit": pc.multiply(cost, pa.array(credit(standing["verdict"], decided["verdict"], standing["enforced"]))),
    })  # fmt: skip


def credit(before: pa.ChunkedArray, after: pa.ChunkedArray, enforced: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return 1 for a click that was billed and should not have been, -1 the other way round, else 0: int64[n].

    A click is billed unless it is invalid; one whose answer did not say what was decided is billed either way.
    """
    counts = enforced.fill_null(True).to_numpy()
    was, now = (_is_in(verdicts, _INVALID) for verdicts in (before, after))
    return np.where(counts, now.astype(np.int64) - was.astype(np.int64), 0)


def _chosen(plan: Plan, standing: pa.Table, decided: pa.Table) -> NDArray[np.bool_]:
    chosen = np.ones(standing.num_rows, np.bool_)
    if plan.slice != ROOT:
        chosen &= _below(plan.slice, (standing["slice"], decided["slice"]))
    if plan.campaign is not None:
        chosen &= pc.equal(standing["campaign"], plan.campaign).fill_null(False).to_numpy()
    return chosen


def _below(path: str, slices: Iterable[pa.ChunkedArray]) -> NDArray[np.bool_]:
    """Return which clicks are of a slice, by any of what tells theirs."""
    found = [pc.or_(pc.equal(one, path), pc.starts_with(one, f"{path}/")).to_numpy() for one in slices]
    return np.asarray(np.logical_or.reduce(found))


def _differs(standing: pa.Table, decided: pa.Table) -> NDArray[np.bool_]:
    """Return which decisions say anything else than those that hold; places in the fold are no matter."""
    differs = np.zeros(standing.num_rows, np.bool_)
    for name in ("verdict", "slice", "bundle"):
        differs |= pc.not_equal(standing[name], decided[name]).to_numpy()
    for name in ("reasons", "lists"):
        differs |= pc.not_equal(*(pc.binary_join(one[name], "\n") for one in (standing, decided))).to_numpy()
    for name in ("score", "threshold"):
        was, now = (one[name].fill_null(np.nan).to_numpy() for one in (standing, decided))
        differs |= (was != now) & ~(np.isnan(was) & np.isnan(now))
    return differs


def _is_in(values: pa.ChunkedArray, among: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    known = among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among
    return np.asarray(pc.is_in(values, value_set=known).to_numpy())
