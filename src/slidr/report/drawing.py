"""Drawing: what all plots share, and how a figure becomes SVG text that stands inside the page.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), told apart by colour-blind readers; line styles
differ too, for print without colour. Text stays text, so that the page's font and a screen reader can take it. The same
evaluation gives the same bytes: ids are salted with the plot's name, and nothing is dated.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib.style
from matplotlib.figure import Figure

INK, SOFT, GRID = "#22303c", "#5b6875", "#dfe4e9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (6, 2)), (0, (2, 1.4)), (0, (6, 2, 1.5, 2)))

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "slidr",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
}


@contextmanager
def styled(options: Mapping[str, object] | None = None) -> Iterator[None]:
    """Let what is drawn inside have the report's style, with some of matplotlib's options set otherwise."""
    with matplotlib.style.context(["default", {**_STYLE, **(options or {})}]):
        yield


def percent_tick(share: float, _place: int | None = None) -> str:
    """Write a share at an axis, as matplotlib's formatters call it."""
    return f"{100 * share:.4g} %"


def svg(figure: Figure, name: str, label: str) -> str:
    """Return a figure as an SVG element: labelled, with ids of its own, and no address, date or fixed size."""
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata={"Creator": None, "Date": None, "Format": None, "Type": None},
    )
    drawing = buffer.getvalue()
    body = drawing[drawing.index("<svg") :]
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", body.replace("xlink:href", "href"))
    width, height = (72 * inches for inches in figure.get_size_inches())
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(label)}">'
    return opening + body.strip()
