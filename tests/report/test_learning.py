from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.report import samples

from slidr.evaluation.results import Learning
from slidr.model.training import Curve
from slidr.report.learning import learning_curve


def told(learning: Learning) -> str:
    """Return the label of a learning curve."""
    return ET.fromstring(learning_curve(0, learning)).get("aria-label") or ""  # noqa: S314  our own text


def test_both_losses_are_drawn_and_told() -> None:
    """The curve says where both losses begin and end, and over how many clicks."""
    label = told(samples.learning()[0])
    assert label.startswith("Learning curve of three_layer over 40,000 clicks: learnt from")
    assert "held out from" in label


def test_trees_are_counted_as_trees() -> None:
    """A network of trees counts trees, and has no line for rows that were not held out."""
    label = told(samples.learning()[1])
    assert "over 3 trees: learnt from 0.7 to 0.5." in label
    assert "held out" not in label


def test_a_mean_of_leftover_clicks_is_left_out() -> None:
    """A last mean over a handful of clicks is noise, and is not drawn."""
    curve = Curve("clicks", (1000, 2000, 3000, 3010), (0.7, 0.6, 0.5, 0.9), (0.7, 0.6, 0.5, 0.5))
    assert "learnt from 0.7 to 0.5; held out from 0.7 to 0.5" in told(Learning("n", curve))


def test_a_single_point_is_drawn() -> None:
    """A training of one step has a curve of one point."""
    assert "over 10 clicks" in told(Learning("n", Curve("clicks", (10,), (0.5,), (0.6,))))
