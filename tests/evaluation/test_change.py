from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import CalibrationError
from slidr.evaluation.change import compare

PATHS = ["device=app", "device=mobile"]
Row = tuple[bool, bool, bool, int]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 1)), min_size=1))
def test_slices_add_up_to_all_clicks(rows: list[Row]) -> None:
    """Clicks, purchases and flipped decisions of the slices are those of all clicks, and IVR moves by the flips."""
    before, marked, purchased, slices = (np.array(column) for column in zip(*rows, strict=True))
    every, *apart = compare("champion", before, marked, purchased, slices.astype(np.int32), PATHS).slices
    assert every.clicks == sum(one.clicks for one in apart) == len(rows)
    assert every.purchases == sum(one.purchases for one in apart)
    assert every.flipped == pytest.approx(float((before != marked).mean()))
    assert every.ivr - every.ivr_before == pytest.approx(every.newly_marked - every.newly_valid)


def test_a_slice_without_purchases_has_no_false_positive_rate() -> None:
    """What cannot be measured is None, before and after."""
    nothing = np.zeros(1, np.bool_)
    found = compare("champion", nothing, nothing, nothing, np.zeros(1, np.int32), ["all"])
    assert len(found.slices) == 1
    assert (found.slices[0].fpr_before, found.slices[0].fpr) == (None, None)


def test_nothing_cannot_be_compared() -> None:
    """Without clicks there is no rate."""
    nothing = np.zeros(0, np.bool_)
    with pytest.raises(CalibrationError, match="no"):
        compare("champion", nothing, nothing, nothing, np.zeros(0, np.int32), PATHS)
