from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.learned import Learned, copy_of

from slidr.bundle import MANIFEST
from slidr.daily.calibration import calibrate_thresholds, comparable_champion, read_calibration, read_thresholds
from slidr.daily.parts import read_part, sample_of
from slidr.daily.plan import Run
from slidr.daily.stages import read_networks
from slidr.errors import CalibrationError, CertificateError
from slidr.evaluation.judging import thresholds_of
from slidr.model.scorer import Scorer


def changed(run: Run, section: str, **values: Any) -> Run:
    """Return the run with other settings in a section."""
    settings = msgspec.structs.replace(
        run.settings, **{section: msgspec.structs.replace(getattr(run.settings, section), **values)}
    )
    return replace(run, settings=settings)


def test_a_certificate_rests_on_purchases_of_the_calibration_part(learned: Learned, tmp_path: Path) -> None:
    """With enough purchasers the thresholds are certified, and the run can say so later."""
    run = changed(copy_of(learned, tmp_path), "calibration", certificate="required", risk=0.2)
    certified = calibrate_thresholds(run)
    found = certified.certificate
    assert found is not None
    part = read_part(run, run.split.calibrate)
    assert found.purchasers == len(np.unique(part.purchaser[part.purchased]))
    assert found.marked <= found.allowed < found.budget * found.purchasers
    assert read_calibration(run)["certificate"]["purchasers"] == found.purchasers
    assert read_thresholds(run) == certified.thresholds


def test_too_few_purchasers_are_refused_with_the_number_needed(learned: Learned, tmp_path: Path) -> None:
    """A required certificate that cannot be given leaves no thresholds; an optional one leaves uncertified ones."""
    run = copy_of(learned, tmp_path)
    with pytest.raises(CertificateError, match="needs 598 purchasers"):
        calibrate_thresholds(changed(run, "calibration", certificate="required", fpr_budget=0.005))
    assert (
        calibrate_thresholds(changed(run, "calibration", certificate="optional", fpr_budget=0.005)).certificate is None
    )


def test_the_champion_bounds_how_many_decisions_flip(learned: Learned, tmp_path: Path) -> None:
    """With a bound on flips, no slice of the calibration part decides more clicks otherwise than the champion."""
    run = changed(copy_of(learned, tmp_path), "calibration", most_flips=0.002, fpr_budget=0.2)
    champion = comparable_champion(run)
    assert champion is not None
    calibrate_thresholds(run)
    part = read_part(run, run.split.calibrate)
    scores = Scorer(read_networks(run)[run.settings.model.network]).score(part.rows)
    sample = sample_of(run, part, scores)
    before, after = (
        scores > thresholds_of(sample.slices, sample.paths, rows)
        for rows in (champion.thresholds, read_thresholds(run))
    )
    for code in np.unique(sample.slices):
        mine = sample.slices == code
        assert (before != after)[mine].mean() <= 0.002 + 1 / mine.sum()


def test_a_champion_of_other_slices_cannot_bound(learned: Learned, tmp_path: Path) -> None:
    """A run that changes the slices is told to lift the bounds once."""
    run = changed(changed(copy_of(learned, tmp_path), "slices", columns=("device",)), "calibration", most_flips=0.5)
    with pytest.raises(CalibrationError, match="most_flips to 1"):
        comparable_champion(run)


def test_a_champion_of_an_earlier_format_cannot_bound(learned: Learned, tmp_path: Path) -> None:
    """A run with a bound against a champion that this version cannot read is told to lift the bound once."""
    run = changed(copy_of(learned, tmp_path), "calibration", most_flips=0.5)
    (Path(run.settings.storage.bundles) / learned.bundle.id / MANIFEST).write_text('{"format": 1}')
    with pytest.raises(CalibrationError, match=r"has format 1; .* most_flips to 1"):
        calibrate_thresholds(run)
