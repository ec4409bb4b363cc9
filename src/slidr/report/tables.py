"""Tables: the report's rows, every cell as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from slidr.evaluation.change import Change
from slidr.evaluation.results import Caught, Evaluation, Interval, NetworkResult, SliceResult, Span
from slidr.labels.diagnostics import LabelHealth
from slidr.report.numerals import bounds, count, fpr_digits, moment, percent, threshold_text
from slidr.slices import ROOT

Row = dict[str, Any]

LISTED = 500
"""Most slices in the table, all traffic counted as one."""
CHANGED = 12
"""Most slices whose change is told, those with the most flipped clicks first; the rest adds to all traffic."""

_PARTS = (
    ("train", "the network learnt from it"),
    ("calibrate", "thresholds were set on it"),
    ("judge", "everything above was measured on it"),
)


def measured(interval: Interval, digits: int = 1) -> dict[str, str]:
    """Return a share and its interval, as written; no interval where there is none."""
    return {
        "value": percent(interval.value, digits),
        "bounds": "" if interval.low is None else bounds(interval, digits),
    }


def network_rows(evaluation: Evaluation) -> list[Row]:
    """Return a row a network and calibration."""
    return [
        {
            "network": result.network,
            "calibration": result.calibration,
            **_shares(result, evaluation.budget),
            "at_budget": percent(result.ivr_at_budget),
        }
        for result in evaluation.networks
    ]


def slice_rows(evaluation: Evaluation) -> list[Row]:
    """Return a row for each of the largest slices, all traffic first; recall and true FPR where the truth is known."""
    digits = fpr_digits(evaluation.budget)
    kept = {result.slice for result in sorted(evaluation.slices, key=lambda result: -result.clicks)[:LISTED]}
    return [
        {
            "slice": result.slice,
            "whole": result.slice == ROOT,
            "clicks": count(result.clicks),
            "purchases": count(result.purchases),
            "threshold": _threshold(result, alone=len(evaluation.slices) == 1),
            "source": result.source.value,
            **_shares(result, evaluation.budget),
            "recall": percent(result.recall),
            "true_fpr": percent(result.true_fpr, digits),
        }
        for result in evaluation.slices
        if result.slice in kept
    ]


def _shares(result: NetworkResult | SliceResult, budget: float) -> Row:
    return {
        "ivr": measured(result.ivr),
        "fpr": measured(result.fpr, fpr_digits(budget)),
        "coverage": measured(result.coverage),
    }


def _threshold(result: SliceResult, *, alone: bool) -> str:
    """Write a slice's threshold; that of all traffic applies only where no slice has another."""
    text = threshold_text(result.threshold)
    return text if alone or result.slice != ROOT else f"({text})"


def total_rows(evaluation: Evaluation) -> list[Row]:
    """Return a row each for what list rules, missing identifiers and the network decided, and one for all clicks."""
    totals, digits = evaluation.totals, fpr_digits(evaluation.budget)
    nothing = Interval(None, None, None)
    first = evaluation.networks[0] if evaluation.networks else None
    rows: list[tuple[str, int, int, float | None, Interval]] = [
        ("list rules: invalid", totals.listed, totals.listed_purchases, *_certain(1.0, totals.listed_purchases)),
        (
            "nobody: no user, session or ip",
            totals.unmeasurable,
            totals.unmeasurable_purchases,
            *_certain(0.0, totals.unmeasurable_purchases),
        ),
        (
            "the network",
            totals.reached,
            totals.reached_purchases,
            first.ivr.value if first else None,
            first.fpr if first else nothing,
        ),
        ("all clicks", totals.clicks, totals.purchases, totals.ivr, totals.fpr),
    ]
    return [
        {
            "name": name,
            "clicks": count(clicks),
            "purchases": count(purchases),
            "ivr": percent(share if clicks else None),
            "fpr": measured(found, digits),
        }
        for name, clicks, purchases, share, found in rows
    ]


def _certain(share: float, purchases: int) -> tuple[float, Interval]:
    """Return a share that holds by rule and needs no interval."""
    return share, Interval(share if purchases else None, None, None)


def truth_rows(caught: Sequence[Caught | None], digits: int) -> list[Row]:
    """Return a row a robot family, one for all robots, and people last; a cell for each of some marks.

    Args:
        caught: what each of the marks is worth; None where that is not known.
        digits: decimals of people's share.
    """
    known = [one for one in caught if one is not None]
    families = dict.fromkeys(family.family for one in known for family in one.families)
    clicks = {family.family: family.clicks for one in known for family in one.families}
    rows = [
        {
            "family": name,
            "kind": "family",
            "clicks": count(clicks[name]),
            "marked": [_recall(one, name) for one in caught],
        }
        for name in families
    ]
    whole = [percent(one.recall if one else None) for one in caught]
    people = [percent(one.true_fpr if one else None, digits) for one in caught]
    precise = [percent(one.precision if one else None) for one in caught]
    return [
        *rows,
        {"family": "all robots (recall)", "kind": "whole", "clicks": count(sum(clicks.values())), "marked": whole},
        {"family": "people (true false-positive rate)", "kind": "whole", "clicks": "", "marked": people},
        {"family": "robots among the marked (precision)", "kind": "whole", "clicks": "", "marked": precise},
    ]


def _recall(caught: Caught | None, family: str) -> str:
    found = caught.families if caught else ()
    return percent(next((one.recall for one in found if one.family == family), None))


def missed_rows(evaluation: Evaluation) -> list[Row]:
    """Return a row a missed family, with the signal that would be needed."""
    return [
        {
            "family": one.family,
            "clicks": count(one.clicks),
            "recall": percent(one.recall),
            "width": f"{100 * one.recall:.1f}",
            "signal": one.signal or "not told: the simulator does not have this family",
        }
        for one in evaluation.missed
    ]


def change_rows(change: Change, digits: int) -> list[Row]:
    """Return a row for all clicks and one for each of the slices that change most; none where nothing changes."""
    whole, *slices = change.slices
    flipped = [one for one in slices if one.flipped]
    most = sorted(flipped, key=lambda one: -one.flipped * one.clicks)[:CHANGED]
    return [
        {
            "slice": one.slice,
            "whole": one.slice == ROOT,
            "clicks": count(one.clicks),
            "ivr": f"{percent(one.ivr_before)} → {percent(one.ivr)}",
            "fpr": f"{percent(one.fpr_before, digits)} → {percent(one.fpr, digits)}",
            "newly_marked": percent(one.newly_marked, 2),
            "newly_valid": percent(one.newly_valid, 2),
        }
        for one in (whole, *most)
        if flipped
    ]


def day_rows(health: LabelHealth) -> list[Row]:
    """Return a row a day of the training part: its clicks and how many of them are labelled human."""
    return [
        {
            "day": day.day,
            "clicks": count(day.clicks),
            "human": percent(day.human / day.clicks if day.clicks else None, 2),
            "purchases": count(day.purchases),
            "warn": any(lack.day == day.day for lack in health.missing),
        }
        for day in health.days
    ]


def span_rows(evaluation: Evaluation) -> list[Row]:
    """Return a row a part of the log: what it was for, when, and what it holds."""
    spans: Iterable[Span] = (evaluation.train, evaluation.calibrate, evaluation.judge)
    return [
        {
            "name": name,
            "role": role,
            "start": moment(span.start, evaluation.timezone),
            "end": moment(span.end, evaluation.timezone),
            "clicks": count(span.clicks),
            "purchases": count(span.purchases),
        }
        for (name, role), span in zip(_PARTS, spans, strict=True)
    ]
