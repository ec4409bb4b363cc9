"""Page: an evaluation as one HTML file that needs nothing else, neither scripts nor an address.

The templates lie in `template` beside this module. All strings are escaped by them; only the plots, whose strings
`slidr.report.drawing` escapes, go in as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slidr.evaluation.change import Change
from slidr.evaluation.results import Evaluation, Finding, Interval, SliceResult
from slidr.report import plots, tables
from slidr.report.checks import checks, lack, promise, told_change
from slidr.report.environment import environment, unbroken
from slidr.report.guards import finding_rows
from slidr.report.heat import heat_map
from slidr.report.learning import learning_curve
from slidr.report.numerals import MISSING, bounds, count, fpr_digits, percent, threshold_text
from slidr.report.summary import gaps
from slidr.report.verdict import verdict
from slidr.slices import ROOT


def render(evaluation: Evaluation) -> str:
    """Return the report as one self-contained HTML document; the same evaluation gives the same text.

    What is missing (an FPR without purchases, curves, families, hours) is a dash and a sentence that says why.
    """
    return (
        environment()
        .get_template("page.html")
        .render(
            evaluation=evaluation,
            verdict=verdict(evaluation),
            checks=checks(evaluation),
            budget=unbroken(percent(evaluation.budget, fpr_digits(evaluation.budget))),
            gaps=gaps(evaluation),
            tiles=_tiles(evaluation),
            networks=tables.network_rows(evaluation),
            totals=tables.total_rows(evaluation),
            slices=tables.slice_rows(evaluation),
            unlisted=max(len(evaluation.slices) - tables.LISTED, 0),
            slice_gaps=any(result.fpr.value is None or result.coverage.value is None for result in evaluation.slices),
            spans=tables.span_rows(evaluation),
            findings=finding_rows(evaluation.guardrails),
            **_truth(evaluation),
            **_trust(evaluation),
            **_drawn(evaluation),
        )
    )


def render_findings(title: str, findings: Sequence[Finding]) -> str:
    """Return what guardrails found of a day on which nothing was learnt, as one self-contained HTML document."""
    return environment().get_template("refused.html").render(title=title, findings=finding_rows(findings))


def _tiles(evaluation: Evaluation) -> list[dict[str, str]]:
    if not evaluation.networks:
        return []
    result, digits = evaluation.networks[0], fpr_digits(evaluation.budget)
    return [
        {
            "name": "marked as robotic (IVR)",
            "value": percent(result.ivr.value),
            "beside": _beside(result.ivr, f"of {count(evaluation.totals.reached, 'click')} that reached the network"),
        },
        {
            "name": "buyers marked by mistake (FPR)",
            "value": percent(result.fpr.value, digits),
            "beside": _beside_fpr(result.fpr, evaluation.budget),
        },
        {
            "name": "busy sessions marked (coverage)",
            "value": percent(result.coverage.value),
            "beside": _beside(result.coverage, "of their clicks")
            if result.coverage.value is not None
            else "no session was busy",
        },
        *_certified(evaluation),
    ]


def _certified(evaluation: Evaluation) -> list[dict[str, str]]:
    assurance = evaluation.assurance
    if assurance is None:
        return []
    held = f"{count(assurance.purchasers, 'purchaser')} on the calibration part"
    return [
        {
            "name": "promise for other days",
            "value": "certified" if assurance.certificate else "none",
            "beside": held if assurance.certificate else f"{held}; {count(assurance.needed)} needed",
        }
    ]


def _beside(interval: Interval, text: str) -> str:
    return text if interval.low is None else f"{text}; 95 % interval {bounds(interval, 1)}"


def _beside_fpr(interval: Interval, budget: float) -> str:
    digits = fpr_digits(budget)
    if interval.value is None:
        return "no click led to a purchase"
    return f"95 % interval {bounds(interval, digits)}; budget {percent(budget, digits)}"


def _truth(evaluation: Evaluation) -> dict[str, Any]:
    """Return the rows that need the truth, none where it is not known."""
    digits = fpr_digits(evaluation.budget)
    # One threshold on its score compares networks in truth, so each stands there once.
    once = {result.network: result.caught_at_budget for result in evaluation.networks if result.caught_at_budget}
    known = any(result.caught for result in evaluation.networks)
    return {
        "truth": tables.truth_rows([result.caught for result in evaluation.networks], digits) if known else [],
        "equal": tables.truth_rows(list(once.values()), digits) if once else [],
        "compared": list(once),
        "missed": tables.missed_rows(evaluation),
    }


def _trust(evaluation: Evaluation) -> dict[str, Any]:
    """Return what lets a reader trust or doubt the numbers."""
    digits, change, assurance = fpr_digits(evaluation.budget), evaluation.change, evaluation.assurance
    return {
        "change_told": told_change(change.slices[0], digits) if isinstance(change, Change) else change,
        "changes": tables.change_rows(change, digits) if isinstance(change, Change) else [],
        "champion": change.champion if isinstance(change, Change) else "",
        "promise": promise(assurance.certificate) if assurance and assurance.certificate else "",
        "lack": lack(assurance, evaluation.budget) if assurance and not assurance.certificate else "",
        "days": tables.day_rows(evaluation.health) if evaluation.health else [],
        "proxy": _proxy(evaluation),
    }


def _proxy(evaluation: Evaluation) -> list[dict[str, str]]:
    """Return the two rates of the proxy check, and the true one where it is known."""
    found, digits = evaluation.proxy, fpr_digits(evaluation.budget)
    if found is None:
        return []
    caught = evaluation.networks[0].caught if evaluation.networks else None
    rates = [("of purchasing clicks (the proxy)", found.proxy), ("weighed up to all unmarked clicks", found.reweighted)]
    if caught and caught.true_fpr is not None:
        rates.append(("of people's clicks (the truth)", caught.true_fpr))
    longest = max(share for _, share in rates) or 1.0
    return [
        {"name": name, "share": percent(share, digits), "width": f"{100 * share / longest:.1f}"}
        for name, share in rates
    ]


def _drawn(evaluation: Evaluation) -> dict[str, Any]:
    """Return the plots, each None or empty where there is nothing to draw."""
    density = evaluation.health.density if evaluation.health else ()
    curves, hours = evaluation.curves, any(share is not None for day in density for share in day)
    return {
        "near": plots.near_budget(evaluation) if curves else None,
        "full": plots.full_range(evaluation) if curves else None,
        "outside": _outside(evaluation),
        "panels": _panels(evaluation),
        "week": heat_map(density) if hours else None,
        "upright": heat_map(density, upright=True) if hours else None,
        "learnt": [
            {"name": one.network, "svg": learning_curve(number, one)}
            for number, one in enumerate(evaluation.learning)
            if one.curve.seen
        ],
        "unlearnt": [one.network for one in evaluation.learning if not one.curve.seen],
        "constant": list(dict.fromkeys(name for one in evaluation.learning for name in one.constant)),
    }


def _outside(evaluation: Evaluation) -> str:
    """Name the thresholds' points that the plot near the budget cannot hold."""
    right, digits = plots.near_right(evaluation), fpr_digits(evaluation.budget)
    return "; ".join(
        f"{result.network} ({result.calibration}) at an FPR of {percent(result.fpr.value, digits)}"
        for result in evaluation.networks
        if result.fpr.value is not None and result.fpr.value > right
    )


def _panels(evaluation: Evaluation) -> list[dict[str, str]]:
    """Return a drawing of each slice's curve."""
    results = {result.slice: result for result in evaluation.slices}
    shown = [curve for curve in evaluation.slice_curves if curve.name != ROOT and curve.name in results]
    if not shown:
        return []
    corner = plots.panel_corner(evaluation.budget, shown)
    first = evaluation.networks[0].network if evaluation.networks else ""
    whole = next((curve for curve in evaluation.curves if curve.name == first), None)
    return [
        {
            "name": curve.name,
            "said": _said(results[curve.name], evaluation.budget),
            "svg": plots.slice_panel(number, curve, whole, evaluation.budget, corner),
        }
        for number, curve in enumerate(shown)
    ]


def _said(result: SliceResult, budget: float) -> str:
    fpr = percent(result.fpr.value, fpr_digits(budget)) if result.fpr.value is not None else MISSING
    text = f"threshold {threshold_text(result.threshold)} ({result.source.value}):"
    text += f" IVR {percent(result.ivr.value)}, FPR {fpr}"
    return f"{text} of {count(result.purchases, 'purchasing click')}"
