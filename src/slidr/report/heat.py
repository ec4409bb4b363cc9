"""Heat map: how human each hour of the week looked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from slidr.report.drawing import SOFT, styled, svg
from slidr.report.numerals import count, percent

_DENSITIES = LinearSegmentedColormap.from_list("density", ["#edf3f8", "#a9cbe3", "#4b94c8", "#0b4f8a", "#08284a"])
_ALARM = "#d55e00"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def heat_map(density: Sequence[Sequence[float | None]], *, upright: bool = False) -> str:
    """Draw the share of clicks labelled human by hour of week, 7 x 24: crossed where zero, hatched without clicks.

    Args:
        density: Monday first; NaN or None for an hour without clicks.
        upright: hours downwards and days across, for a phone.
    """
    table = np.array([[math.nan if share is None else share for share in day] for day in density], np.float64)
    top = float(np.nanmax(table)) if np.isfinite(table).any() else 0.0
    shown = table.T if upright else table
    with styled({"axes.grid": False, "axes.spines.left": False}):
        figure = Figure(figsize=(3.4, 6.2) if upright else (8.4, 2.75))
        axes = figure.add_axes((0.14, 0.13, 0.83, 0.83) if upright else (0.055, 0.25, 0.935, 0.73))
        rows, columns = shown.shape
        axes.add_patch(Rectangle((0, 0), columns, rows, facecolor="#f4f4f2", edgecolor="#b4bdc6", hatch="////"))
        axes.pcolormesh(
            np.ma.masked_invalid(shown), cmap=_DENSITIES, vmin=0, vmax=top or 1, edgecolors="white", linewidth=1.2
        )
        down, across = np.nonzero(shown == 0)
        axes.plot(across + 0.5, down + 0.5, "x", color=_ALARM, markersize=7, markeredgewidth=1.8)
        axes.invert_yaxis()
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        hours = [f"{hour}:00" for hour in range(0, 24, 3)] if upright else [str(hour) for hour in range(24)]
        set_days, set_hours = (axes.set_xticks, axes.set_yticks) if upright else (axes.set_yticks, axes.set_xticks)
        set_days(np.arange(7) + 0.5, _DAYS)
        set_hours(np.arange(0, 24, 3 if upright else 1) + 0.5, hours)
        _key(figure, top, upright=upright)
        return svg(figure, "upright" if upright else "week", _told_density(table))


def _key(figure: Figure, top: float, *, upright: bool) -> None:
    """Draw the scale of colours under the heat map."""
    axes = figure.add_axes((0.14, 0.06, 0.36, 0.018) if upright else (0.055, 0.085, 0.22, 0.042))
    axes.pcolormesh(np.linspace(0, 1, 24)[None, :], cmap=_DENSITIES, vmin=0, vmax=1)
    axes.set_xticks([0, 12, 24], [percent(share) for share in (0.0, top / 2, top)])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0, labelsize=8, pad=2)
    notes = (("x  clicks, none human", _ALARM), ("hatched: no clicks", SOFT))
    for number, (note, colour) in enumerate(notes):
        right, up = (1.22, 1.0 - 1.5 * number) if upright else (1.2 + 0.75 * number, 0.5)
        axes.text(right, up, note, transform=axes.transAxes, color=colour, va="center", fontsize=8)


def _told_density(table: NDArray[np.float64]) -> str:
    known = table[np.isfinite(table)]
    if not known.size:
        return "Heat map by hour of week: no hour holds clicks."
    zero, empty = int((known == 0).sum()), int(table.size - known.size)
    return (
        f"Heat map by hour of week of the share of clicks labelled human: {percent(float(known.min()))} to "
        f"{percent(float(known.max()))}; {count(zero, 'hour')} with clicks but none labelled human, "
        f"{count(empty, 'hour')} without clicks."
    )
