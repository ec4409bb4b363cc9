"""Running a replay: from what is decided again to corrections, adjustments, and a receiver that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from slidr.lake.delta import Lake
from slidr.replay.adjustments import adjust, adjusted
from slidr.replay.again import Again
from slidr.replay.corrections import Tally, corrected, corrections
from slidr.replay.plan import Plan
from slidr.tables import INVALID, Verdict

Step = Callable[[str], None]
"""Told what comes next, before it is done."""


class Outcome(NamedTuple):
    """What a replay changed, or would change.

    Attributes:
        plan: what it was to do.
        dry: whether nothing was written.
        again: whether it was complete before, so that nothing was done.
        tally: what changed; empty where it was complete before.
        adjustments: rows of ADJUSTMENTS; none where nothing was written.
    """

    plan: Plan
    dry: bool
    again: bool
    tally: Tally
    adjustments: pa.Table | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        tally = self.tally
        return {
            "replay": self.plan.id,
            "cause": self.plan.cause,
            "method": self.plan.method,
            "bundle": self.plan.bundle,
            "dry_run": self.dry,
            "complete_before": self.again,
            "clicks": sum(tally.clicks.values()),
            "corrected": tally.corrected,
            "reviewed": tally.reviewed,
            "left": tally.left,
            "verdicts": {"before": verdicts(tally, "before"), "after": verdicts(tally, "after")},
            "slices": slices(tally),
            "credit": credits_of(tally),
            "adjustments": 0 if self.adjustments is None else self.adjustments.num_rows,
        }


def preview(plan: Plan, again: Iterable[Again]) -> Outcome:
    """Return what a replay would change; nothing is written."""
    tally = Tally()
    for part in again:
        tally.add(corrections(plan, part.held, part.decided))
        tally.left += part.left
    return Outcome(plan, dry=True, again=False, tally=tally, adjustments=None)


def publish(lake: Lake, plan: Plan, again: Iterable[Again], zone: str, step: Step = lambda _name: None) -> Outcome:
    """Correct what is decided otherwise, and commit the adjustments; a replay that is complete is left alone.

    It may be killed at any moment, and run again: what is committed stays and is not committed twice.

    Args:
        lake: what to correct.
        plan: as it was declared.
        again: what is decided again, asked for only where the replay is not complete.
        zone: time zone of the billing day.
        step: told each step before it is taken.

    Raises:
        BusyError: others correct all the time.
        ReplayError: clicks cannot be decided again.
        TableError: the lake cannot be read or written.
    """
    tally = Tally()
    if before := adjusted(lake, plan.cause):
        return Outcome(plan, False, before, tally, adjust(lake, plan.cause, plan.start, plan.end, zone))
    for part in again:
        step("corrections")
        tally.add(corrected(lake, plan, part.held, part.decided))
        tally.left += part.left
    step("adjustments")
    # A replay that was killed has corrected more than this run of it: adjustments are made of what is in the lake.
    return Outcome(plan, False, before, tally, adjust(lake, plan.cause, plan.start, plan.end, zone))


def verdicts(tally: Tally, when: str) -> dict[str, int]:
    """Return the clicks of each verdict, `before` or `after`."""
    counts = dict.fromkeys((verdict.value for verdict in Verdict), 0)
    for cell, clicks in tally.clicks.items():
        counts[getattr(cell, when)] += clicks
    return counts


def slices(tally: Tally) -> dict[str, dict[str, Any]]:
    """Return, for each slice, its clicks, those invalid before and after, those changed, and the credit by currency."""
    found: dict[str, dict[str, Any]] = {}
    for cell, clicks in sorted(tally.clicks.items()):
        entry = found.setdefault(
            cell.slice, {"clicks": 0, "invalid_before": 0, "invalid_after": 0, "changed": 0, "credit": {}}
        )
        entry["clicks"] += clicks
        entry["invalid_before"] += clicks if cell.before in INVALID else 0
        entry["invalid_after"] += clicks if cell.after in INVALID else 0
        entry["changed"] += clicks if cell.before != cell.after else 0
        if moved := tally.credit[cell]:
            entry["credit"][cell.currency] = entry["credit"].get(cell.currency, 0) + moved
    return found


def credits_of(tally: Tally) -> dict[str, int]:
    """Return the cost to credit (positive) or to charge (negative), in micros, by currency."""
    found: dict[str, int] = {}
    for cell, moved in tally.credit.items():
        if moved:
            found[cell.currency] = found.get(cell.currency, 0) + moved
    return dict(sorted(found.items()))
