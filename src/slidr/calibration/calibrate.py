"""Calibrate: the way from scored clicks to thresholds, the same for every method.

rank -> bound -> pick one level, by the budget or with a certificate -> read the thresholds off
"""

from __future__ import annotations

from typing import Protocol, cast

import msgspec
import numpy as np

from slidr import extensions
from slidr.calibration.bounds import Champion, bounded
from slidr.calibration.certificate import Certificate, half_of_purchasers, needed
from slidr.calibration.level import certified_level, level_at_budget
from slidr.calibration.ranking import Ranking
from slidr.calibration.rows import threshold_rows
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError
from slidr.settings import CalibrationSettings
from slidr.tables import Threshold

METHODS = "slidr.calibration.methods"


class Method(Protocol):
    """A module of `slidr.calibration.methods`."""

    def fit(self, sample: CalibrationSample, settings: CalibrationSettings) -> Ranking:
        """Return the order in which clicks are marked."""
        ...


class Calibration(msgspec.Struct, frozen=True):
    """Thresholds, and what is promised of them.

    Attributes:
        method: the method that ranked the clicks.
        thresholds: rows of THRESHOLDS, the root first.
        certificate: None where the budget is kept on the calibration's own clicks alone.
    """

    method: str
    thresholds: tuple[Threshold, ...]
    certificate: Certificate | None


def calibrate(
    sample: CalibrationSample,
    settings: CalibrationSettings,
    *,
    generator: np.random.Generator,
    earlier: CalibrationSample | None = None,
    champion: Champion | None = None,
) -> Calibration:
    """Return thresholds for every slice of a sample and everything above it.

    With a certificate the ranking and its bounds come from `earlier`, and the level from the sample; where there is
    nothing earlier, a random half of the sample's purchasers serves the one and the other half the other. Without a
    certificate all comes from the sample.

    Args:
        sample: scored clicks that the network has not seen.
        settings: method, budget, certificate and bounds.
        generator: draws the click of each purchaser, and the halves.
        earlier: clicks of days before, whose purchases are none of the sample's.
        champion: what decides now, with its scores of `earlier`, or of the sample where that is None.

    Raises:
        CalibrationError: the scores are all equal, or the bounds of a slice contradict each other.
        CertificateError: a certificate is required, and there are too few purchasers.
        InfeasibleBudgetError: what must be marked costs more than the budget.
    """
    _check(sample, settings)
    certified = settings.certificate != "off"
    least = needed(settings.fpr_budget, settings.risk)
    purchasers = _purchasers(sample)
    if certified and settings.certificate == "optional":
        certified = (purchasers if earlier else (purchasers + 1) // 2) >= least
    if not certified:
        ranking = _rank(sample, settings, champion)
        level = level_at_budget(ranking, sample, settings.fpr_budget)
        return Calibration(settings.method, threshold_rows(ranking, level, sample), None)
    if earlier is None:
        earlier, kept, champion = _halves(sample, champion, generator, least)
    else:
        kept = sample
    ranking = _rank(earlier, settings, champion)
    certificate = certified_level(ranking, kept, settings.fpr_budget, settings.risk, generator)
    return Calibration(settings.method, threshold_rows(ranking, certificate.level, sample), certificate)


def _rank(sample: CalibrationSample, settings: CalibrationSettings, champion: Champion | None) -> Ranking:
    method = cast("Method", extensions.load(METHODS, settings.method))
    return bounded(method.fit(sample, settings), sample, settings, champion)


def _purchasers(sample: CalibrationSample) -> int:
    return len(np.unique(sample.purchaser[sample.purchased]))


def _halves(
    sample: CalibrationSample, champion: Champion | None, generator: np.random.Generator, least: int
) -> tuple[CalibrationSample, CalibrationSample, Champion | None]:
    """Return the sample without the purchases of one half of the purchasers, without those of the other, the champion.

    Clicks without a purchase serve both, and the champion is that of the first.
    """
    first = half_of_purchasers(sample, generator)
    if not first.any():
        raise CalibrationError(
            f"one purchaser made all {int(sample.purchased.sum())} purchases, and a certificate needs {least} "
            "that rank nothing; set calibration.certificate = 'optional' to publish uncertified thresholds"
        )
    fitted, kept = ~sample.purchased | first, ~first
    if champion:
        champion = Champion(champion.scores[fitted], champion.thresholds)
    return sample[fitted], sample[kept], champion


def _check(sample: CalibrationSample, settings: CalibrationSettings) -> None:
    for key in ("fpr_budget", "risk"):
        value = getattr(settings, key)
        if not 0 < value < 1:
            raise CalibrationError(f"calibration.{key} = {value} is not between 0 and 1; 0.005 and 0.05 are usual")
    if sample.scores.min() == sample.scores.max():
        raise CalibrationError(
            f"all {len(sample.scores)} scores are {sample.scores[0]}, so no threshold tells clicks apart; check the "
            "network and the features that it is given"
        )
