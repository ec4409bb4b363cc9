from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from slidr import extensions
from slidr.calibration.bounds import Champion
from slidr.calibration.calibrate import METHODS, calibrate
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError, CertificateError, InfeasibleBudgetError
from slidr.settings import CalibrationSettings
from slidr.slices import ROOT
from slidr.tables import Threshold, ThresholdSource

Draw = Callable[[int, int], CalibrationSample]
REQUIRED = CalibrationSettings()
OFF = CalibrationSettings(certificate="off")


def generator() -> np.random.Generator:
    """Return a generator of one seed."""
    return np.random.default_rng(11)


@pytest.mark.parametrize("method", extensions.names(METHODS))
def test_every_method_can_be_certified(draw_sample: Draw, method: str) -> None:
    """With the day before to rank on, every purchaser of the day counts, and no more are marked than are allowed."""
    asked = msgspec.structs.replace(REQUIRED, method=method)
    sample = draw_sample(40_000, 2)
    found = calibrate(sample, asked, generator=generator(), earlier=draw_sample(40_000, 1))
    assert found.certificate is not None
    assert found.certificate.purchasers == len(np.unique(sample.purchaser[sample.purchased]))
    assert found.certificate.marked <= found.certificate.allowed
    assert found.method == method
    assert (
        msgspec.json.decode(msgspec.json.encode(found.certificate), type=type(found.certificate)) == found.certificate
    )


def test_without_a_day_before_the_purchasers_are_halved(sample: CalibrationSample) -> None:
    """One half of the purchasers ranks, and the certificate rests on the other."""
    found = calibrate(sample, REQUIRED, generator=generator()).certificate
    purchasers = len(np.unique(sample.purchaser[sample.purchased]))
    assert found is not None
    assert found.purchasers == purchasers - purchasers // 2


def test_too_few_purchasers_are_refused(draw_sample: Draw) -> None:
    """The error tells how many are needed, how many there are, and which setting publishes without."""
    with pytest.raises(CertificateError, match="'optional' to publish uncertified") as refused:
        calibrate(draw_sample(5_000, 4), REQUIRED, generator=generator())
    assert refused.value.needed == 598
    assert refused.value.purchasers < 598


def test_an_optional_certificate_is_left_out(draw_sample: Draw) -> None:
    """With too few purchasers the thresholds are those that the whole sample gives without a certificate."""
    optional = msgspec.structs.replace(REQUIRED, certificate="optional")
    sample = draw_sample(5_000, 4)
    found = calibrate(sample, optional, generator=generator())
    assert found.certificate is None
    assert found == calibrate(sample, OFF, generator=generator())
    assert calibrate(draw_sample(60_000, 4), optional, generator=generator()).certificate is not None


def test_one_purchaser_cannot_be_halved(sample: CalibrationSample) -> None:
    """Where one buyer made every purchase there is nothing to rank on, and the error says so."""
    lone = replace(sample, purchaser=np.where(sample.purchased, 0, -1))
    with pytest.raises(CalibrationError, match="one purchaser made all"):
        calibrate(lone, REQUIRED, generator=generator())


def test_one_buyer_with_half_of_all_purchases_counts_once(sample: CalibrationSample) -> None:
    """A certificate counts purchasers, not clicks."""
    bought = np.flatnonzero(sample.purchased)
    purchaser = np.full(len(sample.scores), -1)
    purchaser[bought] = np.arange(len(bought))
    purchaser[bought[: len(bought) // 2]] = 10**9
    many = replace(sample, purchaser=purchaser)
    found = calibrate(many, REQUIRED, generator=generator(), earlier=sample).certificate
    assert found is not None
    assert found.purchasers == len(bought) - len(bought) // 2 + 1


def test_a_coverage_that_cannot_be_certified_is_refused(draw_sample: Draw) -> None:
    """What must be marked counts against what can be certified."""
    asked = msgspec.structs.replace(REQUIRED, minimum_coverage=0.9)
    with pytest.raises(InfeasibleBudgetError, match=r"of \d+ purchasers") as refused:
        calibrate(draw_sample(40_000, 2), asked, generator=generator(), earlier=draw_sample(40_000, 1))
    assert refused.value.slices


def test_slices_of_the_day_before_keep_their_thresholds(draw_sample: Draw) -> None:
    """A slice without clicks today has the row that its ranking gives, without figures."""
    earlier, sample = draw_sample(40_000, 1), draw_sample(40_000, 2)
    sample = sample[sample.slices != 0]
    found = calibrate(sample, REQUIRED, generator=generator(), earlier=earlier)
    (row,) = (row for row in found.thresholds if row.slice == earlier.paths[0])
    assert (row.clicks, row.ivr, row.fpr) == (0, None, None)
    assert row.source is ThresholdSource.OWN


def test_a_slice_that_is_new_today_has_its_parents_threshold(draw_sample: Draw) -> None:
    """What the ranking has never seen is judged by the slice above, and the row says so."""
    earlier, sample = draw_sample(40_000, 1), draw_sample(40_000, 2)
    lone = earlier.paths.index("device=mobile/logged_in=true")
    found = calibrate(sample, REQUIRED, generator=generator(), earlier=earlier[earlier.slices != lone])
    rows = {row.slice: row for row in found.thresholds}
    new, above = rows["device=mobile/logged_in=true"], rows["device=mobile"]
    assert new.threshold == above.threshold
    assert new.source is ThresholdSource.PARENT
    assert new.clicks > 0


@pytest.mark.parametrize("halved", [True, False])
def test_the_champion_is_cut_with_the_sample(sample: CalibrationSample, *, halved: bool) -> None:
    """A champion's scores are those of all clicks, and its bounds hold where the ranking is fitted."""
    champion = Champion(sample.scores, (Threshold(ROOT, 0.9, None, None, None, 1, 1, ThresholdSource.GLOBAL),))
    asked = msgspec.structs.replace(REQUIRED if halved else OFF, most_flips=0.02, fpr_budget=0.02)
    found = calibrate(sample, asked, generator=generator(), champion=champion)
    assert all(abs(row.threshold - 0.9) < 0.2 for row in found.thresholds if row.slice in sample.paths)
