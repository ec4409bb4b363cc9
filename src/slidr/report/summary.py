"""Summary: the comparison of networks as text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from slidr.evaluation.results import Evaluation, NetworkResult
from slidr.report.checks import checks
from slidr.report.numerals import bounds, count, fpr_digits, percent

_FAMILIES_ABREAST = 6
_WIDTH = 100


def comparison(evaluation: Evaluation) -> str:
    """Return the networks as a text table, a row each; where the truth is known, the recall by family below it.

    Under the table stand what list rules and the deciding network did together, over all clicks, and the checks. What
    cannot be measured is a dash, and a line says why.
    """
    digits = fpr_digits(evaluation.budget)
    at_budget = f"IVR at FPR\n{percent(evaluation.budget, digits)}"
    headers = (
        "network",
        "calibration",
        "IVR",
        "FPR",
        "95 % interval",
        "coverage",
        at_budget,
    )
    rows = [
        (
            result.network,
            result.calibration,
            percent(result.ivr.value),
            percent(result.fpr.value, digits),
            bounds(result.fpr, digits),
            percent(result.coverage.value),
            percent(result.ivr_at_budget),
        )
        for result in evaluation.networks
    ]
    parts = [
        _table(headers, rows, texts=2),
        _whole(evaluation),
        *_intervals(evaluation),
        *gaps(evaluation),
        "",
        *_checks(evaluation),
        *_truth(evaluation.networks, digits),
    ]
    return "\n".join(parts)


def families(networks: Sequence[NetworkResult]) -> tuple[str, ...]:
    """Return the robot families that any network was judged on, in order of first sight."""
    caught = [result.caught for result in networks if result.caught is not None]
    return tuple(dict.fromkeys(family.family for one in caught for family in one.families))


def marked(result: NetworkResult, family: str) -> float | None:
    """Return the share of a family's clicks that a network marked; None where it was not judged on it."""
    caught = result.caught.families if result.caught is not None else ()
    return next((found.recall for found in caught if found.family == family), None)


def _whole(evaluation: Evaluation) -> str:
    totals, digits = evaluation.totals, fpr_digits(evaluation.budget)
    found = f" ({bounds(totals.fpr, digits)})" if totals.fpr.value is not None else ""
    return (
        f"Above: clicks that reach the model. All {count(totals.clicks, 'click')}: IVR {percent(totals.ivr)},"
        f" FPR {percent(totals.fpr.value, digits)}{found};\n"
        f"list rules {count(totals.listed)} ({count(totals.listed_purchases)} purchasing),"
        f" unmeasurable {count(totals.unmeasurable)} ({count(totals.unmeasurable_purchases)} purchasing)."
    )


def _intervals(evaluation: Evaluation) -> list[str]:
    """Return the intervals of the deciding network's shares that the table has no column for."""
    if not evaluation.networks or evaluation.networks[0].ivr.value is None:
        return []
    first = evaluation.networks[0]
    shares = {"IVR": first.ivr, "coverage": first.coverage}
    known = [f"{name} {bounds(found, 1)}" for name, found in shares.items() if found.value is not None]
    return [_wrapped(f"95 % intervals of {first.network} ({first.calibration}), by who clicked: {', '.join(known)}.")]


def _checks(evaluation: Evaluation) -> list[str]:
    """Return the checks, a paragraph each, warnings marked."""
    return [
        _wrapped(f"{'warning: ' if one.state == 'warn' else ''}{one.name}: {one.said}") for one in checks(evaluation)
    ]


def _wrapped(text: str) -> str:
    """Wrap a paragraph, each number and its percent sign on one line."""
    wide = textwrap.fill(text.replace(" %", "\u00a0%"), _WIDTH, subsequent_indent="  ")
    return wide.replace("\u00a0", " ")


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    """Return a table whose first `texts` columns hold text and whose others hold numerals."""
    align = ["left"] * texts + ["right"] * (len(headers) - texts)
    return tabulate(rows, headers, disable_numparse=True, colalign=align if rows else None, headersalign=align)


def gaps(evaluation: Evaluation) -> list[str]:
    """Return a sentence for each number that could not be measured."""
    lines = []
    if any(result.fpr.value is None for result in evaluation.networks):
        lines.append("No FPR: no click of the judging part led to a purchase.")
    if any(result.coverage.value is None for result in evaluation.networks):
        lines.append("No coverage: no session of the judging part was busy.")
    return lines


def _truth(networks: Sequence[NetworkResult], digits: int) -> list[str]:
    if not any(result.caught for result in networks):
        return []
    names = families(networks)
    lines = ["", "The truth, known in simulation only: share of each robot family's clicks marked (recall),"]
    lines.append("and of people's clicks (true false-positive rate).")
    for start in range(0, max(len(names), 1), _FAMILIES_ABREAST):
        abreast = names[start : start + _FAMILIES_ABREAST]
        headers = ("network", "calibration", *(name.replace("_", "\n") for name in abreast), "people")
        rows = [
            (
                result.network,
                result.calibration,
                *(percent(marked(result, name)) for name in abreast),
                percent(result.caught.true_fpr if result.caught else None, digits),
            )
            for result in networks
        ]
        lines.append(_table(headers, rows, texts=2))
    return lines
