"""Page: an evaluation as one HTML file that needs nothing else, neither scripts nor an address.

The template is `page.html` beside this module. All strings are escaped by it; only the plots, whose strings
`slidr.report.plots` escapes, go in as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from slidr.evaluation.results import Evaluation, Interval, SliceResult, Span
from slidr.report import plots
from slidr.report.numerals import MISSING, bounds, count, fpr_digits, moment, percent, threshold_text
from slidr.report.summary import families, gaps, marked
from slidr.report.verdict import verdict
from slidr.slices import ROOT

PANELS = 12
"""Most slices that are drawn, the largest first; the table holds all."""

_PARTS = (
    ("train", "the network learnt from it"),
    ("calibrate", "thresholds were set on it"),
    ("judge", "everything above was measured on it"),
)


def render(evaluation: Evaluation) -> str:
    """Return the report as one self-contained HTML document; the same evaluation gives the same text.

    What is missing (an FPR without purchases, curves, families, hours) is a dash and a sentence that says why.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(resources.files("slidr.report").joinpath("page.html").read_text("utf-8"))
    return template.render(
        title=evaluation.title,
        verdict=_unbroken(verdict(evaluation)),
        notes=[_unbroken(note) for note in evaluation.notes],
        budget=_unbroken(percent(evaluation.budget, fpr_digits(evaluation.budget))),
        timezone=evaluation.timezone,
        gaps=gaps(evaluation),
        tiles=_tiles(evaluation),
        networks=_networks(evaluation),
        totals=_totals(evaluation),
        truth=_truth(evaluation),
        slices=_slices(evaluation),
        slice_gaps=any(result.fpr.value is None or result.coverage.value is None for result in evaluation.slices),
        spans=_spans(evaluation),
        **_drawn(evaluation),
    )


def _unbroken(text: str) -> str:
    """Keep each number and its percent sign on one line."""
    return text.replace(" %", "\u00a0%")


def _tiles(evaluation: Evaluation) -> list[dict[str, str]]:
    if not evaluation.networks:
        return []
    result, digits = evaluation.networks[0], fpr_digits(evaluation.budget)
    return [
        {
            "name": "marked as robotic (IVR)",
            "value": _unbroken(percent(result.ivr.value)),
            "beside": f"of {count(evaluation.totals.reached, 'click')} that reached the network",
        },
        {
            "name": "buyers marked by mistake (FPR)",
            "value": _unbroken(percent(result.fpr.value, digits)),
            "beside": _unbroken(_beside_fpr(result.fpr, evaluation.budget)),
        },
        {
            "name": "busy sessions marked (coverage)",
            "value": _unbroken(percent(result.coverage.value)),
            "beside": "no session was busy" if result.coverage.value is None else "of their clicks",
        },
    ]


def _beside_fpr(interval: Interval, budget: float) -> str:
    digits = fpr_digits(budget)
    if interval.value is None:
        return "no click led to a purchase"
    return f"95 % interval {bounds(interval, digits)}; budget {percent(budget, digits)}"


def _networks(evaluation: Evaluation) -> list[dict[str, str]]:
    digits = fpr_digits(evaluation.budget)
    return [
        {
            "network": result.network,
            "calibration": result.calibration,
            "ivr": percent(result.ivr.value),
            "fpr": percent(result.fpr.value, digits),
            "bounds": bounds(result.fpr, digits),
            "coverage": percent(result.coverage.value),
            "at_budget": percent(result.ivr_at_budget),
        }
        for result in evaluation.networks
    ]


def _totals(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row each for what list rules, missing identifiers and the network decided, and one for all clicks."""
    totals, digits = evaluation.totals, fpr_digits(evaluation.budget)
    fpr = evaluation.networks[0].fpr if evaluation.networks else Interval(None, None, None)
    ivr = evaluation.networks[0].ivr.value if evaluation.networks else None
    rows: list[tuple[str, int, int, float | None, Interval]] = [
        ("list rules: invalid", totals.listed, totals.listed_purchases, *_certain(1.0, totals.listed_purchases)),
        (
            "nobody: no user, session or ip",
            totals.unmeasurable,
            totals.unmeasurable_purchases,
            *_certain(0.0, totals.unmeasurable_purchases),
        ),
        ("the network", totals.reached, totals.reached_purchases, ivr, fpr),
        ("all clicks", totals.clicks, totals.purchases, totals.ivr, totals.fpr),
    ]
    return [
        {
            "name": name,
            "clicks": count(clicks),
            "purchases": count(purchases),
            "ivr": percent(share if clicks else None),
            "fpr": percent(found.value, digits),
            "bounds": bounds(found, digits),
        }
        for name, clicks, purchases, share, found in rows
    ]


def _certain(share: float, purchases: int) -> tuple[float, Interval]:
    """Return a share that holds by rule and needs no interval."""
    return share, Interval(share if purchases else None, None, None)


def _truth(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row a robot family, and people last; none where the truth is not known."""
    judged = [result for result in evaluation.networks if result.caught is not None]
    if not judged:
        return []
    clicks = {family.family: family.clicks for result in judged if result.caught for family in result.caught.families}
    digits = fpr_digits(evaluation.budget)
    rows: list[dict[str, Any]] = [
        {
            "family": name,
            "people": False,
            "clicks": count(clicks[name]),
            "marked": [percent(marked(result, name)) for result in evaluation.networks],
        }
        for name in families(evaluation.networks)
    ]
    people = [result.caught.true_fpr if result.caught else None for result in evaluation.networks]
    return [
        *rows,
        {
            "family": "people (true false-positive rate)",
            "people": True,
            "clicks": MISSING,
            "marked": [percent(share, digits) for share in people],
        },
    ]


def _slices(evaluation: Evaluation) -> list[dict[str, Any]]:
    digits = fpr_digits(evaluation.budget)
    return [
        {
            "slice": result.slice,
            "whole": result.slice == ROOT,
            "clicks": count(result.clicks),
            "purchases": count(result.purchases),
            "threshold": _threshold(result, alone=len(evaluation.slices) == 1),
            "source": result.source.value,
            "ivr": percent(result.ivr.value),
            "fpr": percent(result.fpr.value, digits),
            "bounds": bounds(result.fpr, digits),
            "coverage": percent(result.coverage.value),
        }
        for result in evaluation.slices
    ]


def _threshold(result: SliceResult, *, alone: bool) -> str:
    """Write a slice's threshold; that of all traffic applies only where no slice has another."""
    return (
        threshold_text(result.threshold) if alone or result.slice != ROOT else f"({threshold_text(result.threshold)})"
    )


def _spans(evaluation: Evaluation) -> list[dict[str, str]]:
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


def _drawn(evaluation: Evaluation) -> dict[str, Any]:
    """Return the plots, each None or empty where there is nothing to draw."""
    curves, hours = evaluation.curves, any(share is not None for day in evaluation.density for share in day)
    drawable = [curve for curve in evaluation.slice_curves if curve.name != ROOT]
    return {
        "near": plots.near_budget(evaluation) if curves else None,
        "full": plots.full_range(evaluation) if curves else None,
        "outside": _outside(evaluation),
        "panels": _panels(evaluation),
        "unshown": max(len([result for result in evaluation.slices if result.slice != ROOT]) - PANELS, 0)
        if len(drawable) > PANELS
        else 0,
        "week": plots.heat_map(evaluation.density) if hours else None,
        "upright": plots.heat_map(evaluation.density, upright=True) if hours else None,
    }


def _outside(evaluation: Evaluation) -> str:
    """Name the thresholds' points that the plot near the budget cannot hold."""
    right, digits = plots.near_right(evaluation), fpr_digits(evaluation.budget)
    return "; ".join(
        f"{result.network} ({result.calibration}) at an FPR of {_unbroken(percent(result.fpr.value, digits))}"
        for result in evaluation.networks
        if result.fpr.value is not None and result.fpr.value > right
    )


def _panels(evaluation: Evaluation) -> list[dict[str, str]]:
    """Return a drawing for each of the largest slices."""
    results = {result.slice: result for result in evaluation.slices}
    drawable = [curve for curve in evaluation.slice_curves if curve.name != ROOT and curve.name in results]
    shown = sorted(drawable, key=lambda curve: -results[curve.name].clicks)[:PANELS]
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
    return _unbroken(f"{text} of {count(result.purchases, 'purchasing click')}")
