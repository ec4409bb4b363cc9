from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report import samples

from slidr.evaluation.results import DrawnCurve, Evaluation
from slidr.report import plots
from slidr.report.heat import heat_map
from slidr.report.learning import learning_curve

HOSTILE = "$<b>&\"a'$_^{"


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Return an evaluation to draw."""
    return samples.evaluation(clicks=5000)


def every_plot(evaluation: Evaluation) -> list[str]:
    """Return one plot of each kind."""
    corner = plots.panel_corner(evaluation.budget, evaluation.slice_curves)
    panel = plots.slice_panel(
        1, evaluation.slice_curves[0], evaluation.curves[0], budget=evaluation.budget, corner=corner
    )
    maps = [heat_map(samples.density()), heat_map(samples.density(), upright=True)]
    learnt = [learning_curve(number, one) for number, one in enumerate(evaluation.learning[:2])]
    return [plots.near_budget(evaluation), plots.full_range(evaluation), panel, *maps, *learnt]


def test_plots_are_labelled_and_well_formed(evaluation: Evaluation) -> None:
    """Every plot is well-formed, scales with the page and has a text for those who do not see it."""
    for drawing in every_plot(evaluation):
        element = ET.fromstring(drawing)  # noqa: S314  our own text
        assert element.get("role") == "img"
        assert element.get("aria-label")
        assert element.get("width") is None


def test_plots_name_no_address_and_no_date(evaluation: Evaluation) -> None:
    """Nothing in a plot points elsewhere or tells when it was drawn."""
    for drawing in every_plot(evaluation):
        assert "://" not in drawing
        assert "<metadata" not in drawing


def test_plots_are_the_same_every_time(evaluation: Evaluation) -> None:
    """The same evaluation gives the same bytes."""
    assert every_plot(evaluation) == every_plot(evaluation)


def test_ids_are_of_one_plot_and_resolve(evaluation: Evaluation) -> None:
    """No two plots share an id, and every reference meets its id in the same plot."""
    seen: set[str] = set()
    for drawing in every_plot(evaluation):
        ids = set(re.findall(r'\bid="([^"]+)"', drawing))
        assert not ids & seen
        assert set(re.findall(r"url\(#([^)]+)\)", drawing)) <= ids
        seen |= ids


def test_names_are_data_and_never_markup(evaluation: Evaluation) -> None:
    """A name with markup, quotes or mathematics is drawn letter by letter."""
    curves = tuple(msgspec.structs.replace(curve, name=HOSTILE) for curve in evaluation.curves)
    networks = tuple(msgspec.structs.replace(result, network=HOSTILE) for result in evaluation.networks)
    for drawing in every_plot(msgspec.structs.replace(evaluation, curves=curves, networks=networks)):
        assert "<b>" not in drawing
    near = plots.near_budget(msgspec.structs.replace(evaluation, curves=curves, networks=networks))
    element = ET.fromstring(near)  # noqa: S314  our own text
    assert HOSTILE in {text.text for text in element.iter("text")}
    assert HOSTILE in (element.get("aria-label") or "")


def test_long_and_underscored_names_are_drawn(evaluation: Evaluation) -> None:
    """A long name is cut with an ellipsis; one that starts with an underscore stays in the legend."""
    curves = (
        msgspec.structs.replace(evaluation.curves[0], name="x" * 60),
        msgspec.structs.replace(evaluation.curves[1], name="_private"),
    )
    drawing = plots.full_range(msgspec.structs.replace(evaluation, curves=curves))
    assert "x" * 15 + "…" in drawing
    assert "_private" in drawing


def test_the_window_holds_points_and_steps_but_not_everything() -> None:
    """Near the budget means a few budgets, more where points or purchases are coarse, never more than all."""
    fine = DrawnCurve("n", [0.0, 0.001, 1.0], [0.1, 0.2, 1.0], None)
    coarse = DrawnCurve("n", [0.0, 0.02, 1.0], [0.1, 0.2, 1.0], None)
    assert plots.window(0.005, [], [fine]) == pytest.approx(0.02)
    assert plots.window(0.005, [(0.03, 0.5)], [fine]) == pytest.approx(0.039)
    assert plots.window(0.005, [(0.6, 0.5)], [fine]) == pytest.approx(0.06)
    assert plots.window(0.005, [], [coarse]) == pytest.approx(0.06)
    assert plots.window(0.9, [], []) == 1.0


@given(st.lists(st.floats(0, 1), max_size=6), st.floats(0.01, 0.2))
def test_labels_are_spread_in_order(heights: list[float], gap: float) -> None:
    """Labels keep their order, stand a gap apart and under the top."""
    placed = plots.spread(heights, gap=gap, top=1.0)
    order = np.argsort(heights, kind="stable")
    assert all(np.diff(np.array(placed)[order]) >= gap - 1e-9)
    assert all(place <= 1 for place in placed)


def test_a_slice_without_a_point_is_drawn() -> None:
    """A slice's curve can be drawn without a threshold's point and without the whole's curve."""
    curve = DrawnCurve("s", [0.0, 1.0], [0.0, 1.0], None)
    assert "no threshold" in plots.slice_panel(0, curve, None, 0.005, (0.02, 1.0))
