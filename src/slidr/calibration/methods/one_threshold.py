"""One threshold for all slices, at the budget: u is the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slidr.calibration.ranking import LOWEST, Codes
from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Float32s, Float64s
from slidr.settings import CalibrationSettings
from slidr.slices import ROOT


@dataclass(frozen=True, eq=False)
class ByScore:
    """The ranking by the score alone.

    Attributes:
        paths: the slices and all above them.
        least: the least level.
    """

    paths: tuple[str, ...]
    least: float = LOWEST

    @property
    def homes(self) -> tuple[str, ...]:
        """The root, for every path."""
        return (ROOT,) * len(self.paths)

    def u(self, scores: Float32s, codes: Codes) -> Float64s:
        """Return the scores."""
        del codes
        return scores.astype(np.float64)


def fit(sample: CalibrationSample, settings: CalibrationSettings) -> ByScore:
    """Return the ranking by the score."""
    del settings  # nothing is fitted
    return ByScore(sample.tree)
