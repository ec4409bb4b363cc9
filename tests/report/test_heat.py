from __future__ import annotations

import math

import pytest
from tests.report import samples

from slidr.report.heat import heat_map


@pytest.mark.parametrize("missing", [math.nan, None])
def test_a_week_without_clicks_is_drawn(missing: float | None) -> None:
    """A heat map of nothing is a hatched one, and says so."""
    assert "no hour holds clicks" in heat_map([[missing] * 24] * 7)


def test_a_week_without_humans_is_drawn() -> None:
    """A heat map of zeros is all crosses."""
    assert "168 hours with clicks but none labelled human" in heat_map([[0.0] * 24] * 7)


def test_a_gap_is_told_apart_from_an_empty_hour() -> None:
    """Hours with clicks and no human label are counted apart from hours without clicks."""
    drawing = heat_map(samples.density())
    assert "3 hours with clicks but none labelled human, 1 hour without clicks" in drawing
