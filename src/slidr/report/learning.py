"""Learning curves: how the loss of each network fell while it learnt."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from slidr.evaluation.results import Learning
from slidr.report.drawing import COLOURS, DASHES, styled, svg
from slidr.report.numerals import count

_UNITS = ((1_000_000, "M"), (1_000, "k"))


def learning_curve(number: int, learning: Learning) -> str:
    """Draw the loss of a network on what it learnt from, and on rows held out where there are any.

    Args:
        number: tells the curves of a page apart.
        learning: how the network learnt; its curve has a point at least.
    """
    curve = learning.curve
    lines: list[tuple[str, Sequence[float]]] = [("learnt", curve.training[: _steady(curve.seen)])]
    if curve.held_out:
        lines.append(("held out", curve.held_out))
    with styled({"font.size": 8}):
        figure = Figure(figsize=(4.2, 2.5))
        axes = figure.add_axes((0.14, 0.18, 0.82, 0.77))
        for place, (name, losses) in enumerate(lines):
            axes.plot(
                curve.seen[: len(losses)],
                losses,
                color=COLOURS[place],
                linestyle=DASHES[place],
                linewidth=1.8,
                marker="o" if len(losses) == 1 else None,
                label=name,
            )
        axes.set_xlim(0, max(curve.seen))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.tick_params(length=0)
        axes.set_xlabel(f"{curve.unit} seen", labelpad=2)
        axes.set_ylabel("loss per click")
        axes.legend(loc="upper right", handlelength=2.6)
        ends = "; ".join(f"{name} from {losses[0]:.3g} to {losses[-1]:.3g}" for name, losses in lines)
        said = f"Learning curve of {learning.network} over {count(curve.seen[-1])} {curve.unit}: {ends}."
        return svg(figure, f"learning{number}", said)


def _steady(seen: Sequence[int]) -> int:
    """Return how many points have a mean worth drawing: the last may be of the few clicks that were left over."""
    leftover = len(seen) > 2 and seen[-1] - seen[-2] < (seen[1] - seen[0]) / 2  # noqa: PLR2004  two points make a step
    return len(seen) - leftover


def _thousands(value: float, _place: int | None = None) -> str:
    for size, letter in _UNITS:
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
