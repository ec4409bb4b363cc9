from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.evaluation.results import Interval
from slidr.report.numerals import MISSING, bounds, count, fpr_digits, moment, percent, threshold_text


@pytest.mark.parametrize("share", [None, math.nan, math.inf])
def test_what_is_not_a_number_is_a_dash(share: float | None) -> None:
    """A share that could not be measured is a dash, never a zero."""
    assert percent(share) == MISSING


@given(st.floats(1e-7, 0.999))
def test_a_budget_never_reads_as_zero(budget: float) -> None:
    """An FPR is written with enough decimals that its budget does not vanish."""
    assert float(percent(budget, fpr_digits(budget)).removesuffix(" %")) > 0


def test_bounds_need_both_ends() -> None:
    """An interval that could not be measured is a dash."""
    assert bounds(Interval(None, None, None), 2) == MISSING


@pytest.mark.parametrize(
    ("threshold", "text"),
    [(-1.0, "marks all"), (0.0, "0.00000"), (0.999999, "> 0.99999"), (1.0, "marks none"), (math.inf, "marks none")],
)
def test_a_threshold_outside_the_scores_says_what_it_does(threshold: float, text: str) -> None:
    """A threshold that marks all clicks or none says so."""
    assert threshold_text(threshold) == text


def test_counts_are_grouped_and_agree_with_their_noun() -> None:
    """Counts have thousands separators and a noun in the right number."""
    assert [count(0, "click"), count(1, "click"), count(12_345, "click")] == ["0 clicks", "1 click", "12,345 clicks"]


def test_a_moment_is_shown_on_the_zone_s_clock() -> None:
    """The same instant reads differently in two zones, summer time included."""
    july = 1_783_000_800_000_000
    assert moment(july, "UTC") == "Thu 2026-07-02 14:00"
    assert moment(july, "Europe/Berlin") == "Thu 2026-07-02 16:00"
