"""Settling: whether an incident has left a trace, in decisions or in money."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.drills.stage import Stage
from slidr.lake.delta import Lake
from slidr.lake.settled import settled
from slidr.tables import ADJUSTMENTS, DECISIONS, INVALID

_PAYS = ("campaign", "advertiser", "currency")
_SAID = ("verdict", "slice", "bundle", "score", "threshold")


class Trace(NamedTuple):
    """What an incident left.

    Attributes:
        wrong: clicks that were answered another verdict than they would have been.
        differences: clicks whose decision that holds differs from that of a day to which nothing happened.
        adjustment_error: the most by which a payer's adjustments miss what its answers cost more than on the day to
            which nothing happened, in micros.
        adjusted: what was adjusted, in micros: positive to credit.
    """

    wrong: int
    differences: int
    adjustment_error: int
    adjusted: int

    def document(self) -> dict[str, int]:
        """Return it as JSON has it, money in cents."""
        return {
            "clicks_decided_wrongly": self.wrong,
            "settled_differences": self.differences,
            "adjustment_error_cents": -(-self.adjustment_error // 10_000),
            "adjusted_micros": self.adjusted,
        }


def trace_of(stage: Stage, undisturbed: Stage) -> Trace:
    """Compare a day with one to which nothing happened, click by click.

    Raises:
        TableError: a lake cannot be read.
    """
    ours, theirs = stage.lake.read(DECISIONS), undisturbed.lake.read(DECISIONS)
    answers = _by_click(ours.filter(pc.is_null(ours["supersedes"])))
    held, wanted = _by_click(ours), _by_click(theirs)
    lost = abs(held.num_rows - wanted.num_rows)
    if lost:
        return Trace(lost, lost, 0, 0)
    wrong = int(np.count_nonzero(_differs(answers, wanted, ("verdict",))))
    differences = int(np.count_nonzero(_differs(held, wanted, _SAID)))
    adjusted, owed = _adjusted(stage.lake), _billed(answers)
    owed.subtract(_billed(wanted))
    errors = [abs(adjusted[payer] - owed[payer]) for payer in {*adjusted, *owed}]
    return Trace(wrong, differences, max(errors, default=0), adjusted.total())


def _by_click(decisions: pa.Table) -> pa.Table:
    return settled(decisions).sort_by("click_id")


def _differs(one: pa.Table, other: pa.Table, names: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    differs = pc.not_equal(one["click_id"], other["click_id"]).to_numpy()
    for name in names:
        same = pc.or_(
            pc.equal(one[name], other[name]).fill_null(False),
            pc.and_(pc.is_null(one[name]), pc.is_null(other[name])),
        )
        differs = differs | ~same.to_numpy()
    return np.asarray(differs)


def _billed(decisions: pa.Table) -> Counter[tuple[str, ...]]:
    """Return the cost of what is billed by payer."""
    return _sums(decisions.filter(pc.invert(pc.is_in(decisions["verdict"], value_set=pa.array(INVALID)))))


def _adjusted(lake: Lake) -> Counter[tuple[str, ...]]:
    return _sums(lake.read(ADJUSTMENTS)) if lake.exists(ADJUSTMENTS) else Counter()


def _sums(table: pa.Table) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for row in table.select([*_PAYS, "cost"]).to_pylist():
        found[tuple(str(row[name]) for name in _PAYS)] += row["cost"] or 0
    return found
