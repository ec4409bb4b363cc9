from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError


def test_no_clicks_are_refused() -> None:
    """An empty day is refused."""
    nothing = np.zeros(0, dtype=np.bool_)
    with pytest.raises(CalibrationError, match="needs clicks"):
        CalibrationSample(
            nothing.astype(np.float32), nothing.astype(np.int64), nothing, nothing.astype(np.int32), ("all",)
        )


@pytest.mark.parametrize("score", [np.nan, -0.1, 1.1, np.inf])
def test_scores_out_of_range_are_refused(sample: CalibrationSample, score: float) -> None:
    """A score that is NaN or outside [0, 1] is named with its place."""
    scores = sample.scores.copy()
    scores[11] = score
    with pytest.raises(CalibrationError, match="score of click 11"):
        replace(sample, scores=scores)


def test_unequal_lengths_are_refused(sample: CalibrationSample) -> None:
    """Arrays that were not joined are refused by name."""
    with pytest.raises(CalibrationError, match="busy has 39999 entries for 40000 scores"):
        replace(sample, busy=sample.busy[1:])


@pytest.mark.parametrize("code", [-1, 5])
def test_codes_without_a_path_are_refused(sample: CalibrationSample, code: int) -> None:
    """A code that is no place in the paths is refused with the range that was found."""
    codes = sample.slices.copy()
    codes[0] = code
    with pytest.raises(CalibrationError, match="there are 5 paths"):
        replace(sample, slices=codes)


def test_a_sample_without_purchases_is_refused(sample: CalibrationSample) -> None:
    """Without a purchase there is no false-positive rate to keep."""
    with pytest.raises(CalibrationError, match="none of 40000 clicks led to a purchase"):
        replace(sample, purchaser=np.full(40_000, -1))


def test_a_part_keeps_the_paths(sample: CalibrationSample) -> None:
    """Some of the clicks are a sample in the same slices, whose tree holds those with clicks alone."""
    part = sample[sample.slices == 0]
    assert part.paths == sample.paths
    assert part.tree == ("all", "device=app", "device=app/logged_in=true")
