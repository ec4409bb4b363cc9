"""Plots: IVR over FPR, of networks and of slices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from slidr.evaluation.results import DrawnCurve, Evaluation, NetworkResult
from slidr.report.drawing import COLOURS, DASHES, GRID, INK, SOFT, percent_tick, styled, svg
from slidr.report.numerals import fpr_digits, percent

_FEW_POINTS = 60
"""Fewest points of a curve that is drawn without steps; a step shows that nothing lies between two purchases."""
_BUDGETS_SHOWN, _MOST_BUDGETS_SHOWN = 4, 12
_LONGEST_LABEL = 16


def window(budget: float, points: Sequence[tuple[float, float]], curves: Sequence[DrawnCurve]) -> float:
    """Return the largest FPR of a plot near the budget: some budgets, the chosen points, and a few purchases' steps."""
    steps = [min(positive) for curve in curves if (positive := [fpr for fpr in curve.fpr if fpr > 0])]
    wished = max([_BUDGETS_SHOWN * budget, *(1.3 * fpr for fpr, _ in points), *(3 * step for step in steps)])
    return min(1.0, wished, max(_MOST_BUDGETS_SHOWN * budget, *(3 * step for step in steps), 0.0))


def near_right(evaluation: Evaluation) -> float:
    """Return the largest FPR of the plot near the budget."""
    chosen = [
        (result.fpr.value, result.ivr.value or 0.0) for result in evaluation.networks if result.fpr.value is not None
    ]
    return window(evaluation.budget, chosen, evaluation.curves)


def near_budget(evaluation: Evaluation) -> str:
    """Draw the networks' curves where decisions are made, with the points that the thresholds gave and their intervals.

    A point stands off its curve where slices have thresholds of their own. A filled point is the deciding network's
    calibration; hollow ones are one threshold for all.
    """
    right = near_right(evaluation)
    chosen = [result.ivr.value or 0.0 for result in evaluation.networks if result.fpr.value is not None]
    with styled():
        figure = Figure(figsize=(4.8, 3.5))
        axes = figure.add_axes((0.15, 0.14, 0.63, 0.77))
        heights = []
        for place, curve in enumerate(evaluation.curves):
            _line(axes, curve, place)
            heights.append(_ivr_at(curve, right))
        _points(axes, evaluation)
        _axes(axes, right, min(1.0, 1.12 * max([*heights, *chosen, 0.05])))
        _budget(axes, evaluation.budget)
        _labels(axes, [curve.name for curve in evaluation.curves], heights)
        return svg(figure, "near", f"IVR-FPR curves up to an FPR of {percent(right)}. {_told(evaluation)}")


def panel_corner(budget: float, curves: Sequence[DrawnCurve]) -> tuple[float, float]:
    """Return the largest FPR and IVR of slice panels that hold the points of these curves."""
    right = window(budget, [curve.point for curve in curves if curve.point is not None], ())
    heights = [_ivr_at(curve, right) for curve in curves]
    heights += [curve.point[1] for curve in curves if curve.point is not None]
    return right, min(1.0, 1.12 * max([*heights, 0.05]))


def full_range(evaluation: Evaluation) -> str:
    """Draw the networks' curves from marking the least to marking everything."""
    with styled():
        figure = Figure(figsize=(4.8, 3.5))
        axes = figure.add_axes((0.15, 0.14, 0.79, 0.77))
        axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.2, zorder=1)
        axes.text(0.42, 0.40, "marking at random", color=SOFT, fontsize=8, rotation=38, ha="left", va="top")
        for place, curve in enumerate(evaluation.curves):
            _line(axes, curve, place)
        _points(axes, evaluation)
        _axes(axes, 1.0, 1.0)
        axes.axvline(evaluation.budget, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        if evaluation.curves:
            axes.legend(loc="lower right", handlelength=2.6, fontsize=9)
        return svg(figure, "full", f"IVR-FPR curves over the full range. {_told(evaluation)}")


def slice_panel(
    number: int, curve: DrawnCurve, whole: DrawnCurve | None, budget: float, corner: tuple[float, float]
) -> str:
    """Draw one slice's curve over that of all traffic, with the point that the slice's threshold gave.

    Args:
        number: tells the panels of a page apart.
        curve: the slice's.
        whole: the same network's on all traffic.
        budget: the overall FPR budget.
        corner: largest FPR and IVR drawn, the same in all panels so that they can be compared.
    """
    right, top = corner
    with styled({"font.size": 8}):
        figure = Figure(figsize=(3.2, 2.1))
        axes = figure.add_axes((0.19, 0.19, 0.75, 0.76))
        if whole is not None:
            axes.plot(whole.fpr, whole.ivr, color="#b4bdc6", linewidth=1.6, drawstyle=_drawstyle(whole))
        axes.plot(curve.fpr, curve.ivr, color=COLOURS[0], linewidth=1.9, drawstyle=_drawstyle(curve))
        if curve.point is not None:
            axes.plot(
                [min(curve.point[0], right)],
                [curve.point[1]],
                marker="o" if curve.point[0] <= right else ">",
                markersize=6.5,
                color=COLOURS[0],
                markeredgecolor="white",
                clip_on=False,
                zorder=5,
            )
        _axes(axes, right, top)
        axes.set_xlabel("FPR", labelpad=1)
        axes.set_ylabel("IVR", labelpad=1)
        axes.axvline(budget, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        said = "no threshold was judged on it"
        if curve.point is not None:
            said = (
                f"its threshold gave IVR {percent(curve.point[1])} at FPR {percent(curve.point[0], fpr_digits(budget))}"
            )
        return svg(figure, f"slice{number}", f"IVR-FPR curve of the slice {curve.name}: {said}.")


def _line(axes: Axes, curve: DrawnCurve, place: int) -> None:
    axes.plot(
        curve.fpr,
        curve.ivr,
        color=COLOURS[place % len(COLOURS)],
        linestyle=DASHES[place % len(DASHES)],
        linewidth=2.4 if place == 0 else 1.7,
        drawstyle=_drawstyle(curve),
        label=_short(curve.name),
        zorder=4 if place == 0 else 3,
    )


def _points(axes: Axes, evaluation: Evaluation) -> None:
    """Mark what each network's thresholds gave, with the interval of its FPR."""
    places = {curve.name: place for place, curve in enumerate(evaluation.curves)}
    drawn: list[tuple[int, NetworkResult]] = list(enumerate(evaluation.networks))
    for number, result in reversed(drawn):
        if result.fpr.value is None or result.fpr.low is None or result.fpr.high is None:
            continue
        colour = COLOURS[places.get(result.network, number) % len(COLOURS)]
        height = result.ivr.value or 0.0
        axes.plot([result.fpr.low, result.fpr.high], [height] * 2, color=colour, linewidth=1, alpha=0.6, zorder=4)
        axes.plot(
            [result.fpr.value],
            [height],
            "o",
            markersize=8 if number == 0 else 5.5,
            color=colour if number == 0 else "white",
            markeredgecolor="white" if number == 0 else colour,
            markeredgewidth=1.3,
            zorder=6 if number == 0 else 5,
        )


def _axes(axes: Axes, right: float, top: float) -> None:
    axes.set_xlim(0, right)
    axes.set_ylim(0, top)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(percent_tick))
    axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
    axes.tick_params(length=0)
    axes.set_xlabel("FPR: purchasing clicks marked")
    axes.set_ylabel("IVR: clicks marked")


def _budget(axes: Axes, budget: float) -> None:
    axes.axvline(budget, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"budget {percent_tick(budget)}",
        (budget, 1),
        (0, 4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
    )


def _labels(axes: Axes, names: Sequence[str], heights: Sequence[float]) -> None:
    """Write each curve's name where it leaves the plot on the right."""
    bottom, top = axes.get_ylim()
    places = spread(heights, gap=0.065 * (top - bottom), top=top)
    for number, (name, height, place) in enumerate(zip(names, heights, places, strict=True)):
        axes.annotate(
            _short(name),
            (1, height),
            (1.03, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=COLOURS[number % len(COLOURS)],
            fontweight="bold" if number == 0 else "normal",
            va="center",
            annotation_clip=False,
        )


def spread(heights: Sequence[float], *, gap: float, top: float) -> list[float]:
    """Move labels apart until each is a gap from the next, none above the top, in the order that they had.

    >>> spread([0.5, 0.5], gap=0.25, top=1.0), spread([1.0, 0.9], gap=0.25, top=1.0)
    ([0.5, 0.75], [1.0, 0.75])
    """
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    placed = list(heights)
    for below, above in itertools.pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    limit = top
    for number in reversed(order):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - gap
    return placed


def _ivr_at(curve: DrawnCurve, fpr: float) -> float:
    if len(curve.fpr) <= _FEW_POINTS:
        return curve.ivr[max(int(np.searchsorted(curve.fpr, fpr, side="right")) - 1, 0)]
    return float(np.interp(fpr, curve.fpr, curve.ivr))


def _drawstyle(curve: DrawnCurve) -> str:
    return "steps-post" if len(curve.fpr) <= _FEW_POINTS else "default"


def _short(name: str) -> str:
    """Return a name that fits beside a plot; matplotlib would leave a label that starts with _ out of the legend."""
    short = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
    return f"\u200b{short}" if short.startswith("_") else short


def _told(evaluation: Evaluation) -> str:
    digits = fpr_digits(evaluation.budget)
    points = [
        f"{result.network} ({result.calibration}): IVR {percent(result.ivr.value)}"
        f" at FPR {percent(result.fpr.value, digits)}"
        for result in evaluation.networks
    ]
    return f"The budget is {percent(evaluation.budget, digits)}. {'; '.join(points)}."
