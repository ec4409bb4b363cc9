"""Page: a backtest in words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from slidr.backtest.results import Backtest, Line, Tested
from slidr.evaluation.results import Interval
from slidr.report.document import Document, Grid, Section
from slidr.report.numerals import MISSING, bounds, count, fpr_digits, money, percent

LISTED = 50
"""Most groups in a table; JSON has all of them."""
_HONEST = (
    "Each day is judged by thresholds set on days before it whose labels were mature when it began, by a network that"
    " had seen neither."
)
_COUNTED = (
    "False positives are clicks that led to a purchase and that the model finds invalid, of all such clicks that reach"
    " the model."
)


def told(found: Backtest, most: int = LISTED) -> Document:
    """Return a backtest as a document.

    Args:
        found: what it found.
        most: groups in a table.
    """
    return Document(
        "slidr backtest",
        f"Backtest of {found.period}",
        _lead(found),
        notes=_notes(found),
        sections=(
            Section(
                "What each budget would have refunded",
                (_HONEST,),
                grid=_budgets(found),
                note="Intervals of what is refunded are of days like these: each day counts as one. Refunds are of list"
                " rules and of the model together.",
            ),
            Section(
                "Whom it would have hit",
                (_COUNTED,),
                grid=_hit(found),
                note="Intervals count the clicks of one purchaser together; by cost, each click weighs what it costs.",
            ),
            *(_groups(found, one, most) for one in found.tested if one.groups),
            _days(found),
        ),
    )


def _lead(found: Backtest) -> str:
    said = []
    for one in found.tested:
        if one.whole is None:
            said.append(f"With a budget of {_budget(one)} no day could be judged.")
            continue
        refunds = " and ".join(f"{money(line.refund)} {line.currency}" for line in one.currencies)
        said.append(
            f"With a budget of {_budget(one)} you would have refunded {count(one.whole.refunded_clicks, 'click')} of"
            f" {count(one.whole.clicks)} and {refunds}."
        )
    days = count(len(found.days), "day")
    return f"{' '.join(said)} {days} of {found.period} ({found.timezone}) can be judged."


def _notes(found: Backtest) -> tuple[str, ...]:
    notes = [
        f"A budget of {_budget(one)} judges {one.days} of {len(found.days)} days; {one.left[0].day}: {one.left[0].why}"
        for one in found.tested
        if one.left
    ]
    if found.left:
        notes.append(
            f"{count(len(found.left), 'day')} cannot be judged by any budget; {found.left[0].day}: {found.left[0].why}"
        )
    if len({one.days for one in found.tested}) > 1:
        notes.append("Budgets that judge different days cannot be compared by their sums; compare their shares.")
    if found.certificate == "off":
        notes.append("Thresholds are uncertified, as calibration.certificate = 'off' says: half of them overshoot.")
    return tuple(notes)


def _budgets(found: Backtest) -> Grid:
    rows: list[tuple[str, ...]] = []
    for one in found.tested:
        for line in (one.whole, *one.currencies) if one.whole else ():
            shares = line.refund_share if line.currency else line.refunded_share
            amounts = (
                (money(line.cost), money(line.general_cost), money(line.sophisticated_cost), money(line.refund))
                if line.currency
                else tuple(map(count, (line.clicks, line.general, line.sophisticated, line.refunded_clicks)))
            )
            rows.append((_budget(one), line.currency or "clicks", *amounts, *_interval(shares, 1)))
    for currency, actual in found.decided.items():
        cost, refund = actual.cost, actual.refund
        rows.append(
            ("as decided", currency, money(cost), MISSING, MISSING, money(refund), percent(_of(refund, cost)), "")
        )
    headers = ("budget", "of", "gross", "by lists", "by the model", "refunded", "share", "95 % interval")
    return Grid(headers, tuple(rows), texts=2)


def _of(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _hit(found: Backtest) -> Grid:
    rows: list[tuple[str, ...]] = []
    warned = []
    for one in found.tested:
        digits = fpr_digits(one.budget)
        for line in (one.whole, *one.currencies) if one.whole else ():
            rate = line.fpr_by_cost if line.currency else line.fpr
            amounts = (
                (money(line.purchasing_cost), money(line.false_positive_cost))
                if line.currency
                else (count(line.purchasing), count(line.false_positives))
            )
            if rate.low is not None and rate.low > one.budget:
                warned.append(len(rows))
            rows.append((_budget(one), line.currency or "clicks", *amounts, *_interval(rate, digits)))
    headers = ("budget", "of", "purchasing", "false positives", "FPR", "95 % interval")
    return Grid(headers, tuple(rows), texts=2, warned=tuple(warned))


def _groups(found: Backtest, one: Tested, most: int) -> Section:
    digits = fpr_digits(one.budget)
    rows = tuple(_row(found.by, line, digits) for line in one.groups[:most])
    headers = (
        *found.by, "currency", "clicks", "refunded", "share", "cost", "refund", "share", "95 % interval", "purchasing",
        "FPR", "95 % interval", "by cost",
    )  # fmt: skip
    left = len(one.groups) - len(rows)
    note = f"{count(left, 'more line')} in the JSON document, with less to refund." if left else ""
    name = f"By {' and '.join(found.by)}, with a budget of {_budget(one)}"
    return Section(name, grid=Grid(headers, rows, texts=len(found.by) + 1), note=note)


def _row(by: Sequence[str], line: Line, digits: int) -> tuple[str, ...]:
    return (
        *(MISSING if line.group[name] is None else str(line.group[name]) for name in by),
        line.currency,
        count(line.clicks),
        count(line.refunded_clicks),
        percent(line.refunded_share.value),
        money(line.cost),
        money(line.refund),
        *_interval(line.refund_share, 1),
        count(line.purchasing),
        *_interval(line.fpr, digits),
        percent(line.fpr_by_cost.value, digits),
    )


def _days(found: Backtest) -> Section:
    """Tell what became of the days; those in a row of which the same is told share a line."""
    told_of = [(day.name, f"judged by the network of bundle {day.bundle}") for day in found.days]
    told_of += [(one.day, one.why) for one in found.left]
    told_of += [(left.day, f"not with {_budget(one)}: {left.why}") for one in found.tested for left in one.left]
    rows: list[tuple[str, str]] = []
    for said, days in groupby(sorted(told_of), key=lambda one: one[1]):
        names = [day for day, _ in days]
        rows.append((names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", said))
    return Section(
        "Days",
        facts=(
            ("rows of", "backfill" if found.source == "lake" else "journals"),
            ("thresholds", f"{found.method}, certificate {found.certificate}"),
        ),
        grid=Grid(("days", "what became of them"), tuple(rows), texts=2),
    )


def _budget(one: Tested) -> str:
    return percent(one.budget, fpr_digits(one.budget))


def _interval(share: Interval, digits: int) -> tuple[str, str]:
    return percent(share.value, digits), bounds(share, digits) if share.low is not None else MISSING
