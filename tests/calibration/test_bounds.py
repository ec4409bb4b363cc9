from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.calibration.bounds import Bounded, Champion, _flipping, bounded
from slidr.calibration.calibrate import calibrate
from slidr.calibration.methods.neyman_pearson import fit
from slidr.calibration.ranking import thresholds
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CalibrationError
from slidr.metrics import Bools
from slidr.settings import CalibrationSettings
from slidr.slices import ROOT
from slidr.tables import Threshold, ThresholdSource

OFF = CalibrationSettings(certificate="off", fpr_budget=0.05)


def champion(sample: CalibrationSample, seed: int, threshold: float = 0.85) -> Champion:
    """Return a champion whose scores are those of the sample with some noise."""
    noise = np.random.default_rng(seed).normal(0, 0.05, len(sample.scores))
    scores = np.clip(sample.scores + noise, 0, 1).astype(np.float32)
    return Champion(scores, (Threshold(ROOT, threshold, None, None, None, 1, 1, ThresholdSource.GLOBAL),))


def marked_by(sample: CalibrationSample, asked: CalibrationSettings, before: Champion | None) -> Bools:
    """Return which clicks the calibrated thresholds mark."""
    rows = calibrate(sample, asked, generator=np.random.default_rng(1), champion=before).thresholds
    limits = {row.slice: np.float32(row.threshold) for row in rows}
    return sample.scores > np.array([limits[path] for path in sample.paths])[sample.slices]


@pytest.mark.parametrize(("key", "most"), [("most_ivr_change", 0.06), ("most_fpr_change", 0.06), ("most_flips", 0.12)])
def test_each_slice_stays_near_the_champion(sample: CalibrationSample, key: str, most: float) -> None:
    """IVR, FPR or the share of flipped decisions of no slice differs by more than the bound."""
    before = champion(sample, 3)
    was = before.marked(sample)
    asked = msgspec.structs.replace(OFF, **{key: most})
    now = marked_by(sample, asked, before)
    free = marked_by(sample, OFF, before)
    changes = []
    for marked in (now, free):
        for code in range(len(sample.paths)):
            mine = sample.slices == code
            if key == "most_fpr_change":
                mine &= sample.purchased
            flips = key == "most_flips"
            differ = (marked != was)[mine].mean() if flips else abs(marked[mine].mean() - was[mine].mean())
            changes.append(differ)
    slices = len(sample.paths)
    assert max(changes[:slices]) <= most + 1e-9
    assert max(changes[slices:]) > most


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_interval_of_flips_is_the_widest(clicks: list[tuple[int, bool]], most: float) -> None:
    """The thresholds within it flip no more than is allowed; the next beyond either end flip more, or none does not."""
    scores = np.array([score / 10 for score, _ in clicks], np.float32)
    was = np.array([marked for _, marked in clicks])
    low, high = _flipping(scores, was, most)

    def flipped(threshold: float) -> float:
        return float(((scores > np.float32(threshold)) != was).mean())

    ends = [-1.0, *np.unique(scores).tolist()]
    within = [end for end in ends if low <= end <= high]
    assert all(flipped(end) <= most + 1e-9 for end in within)
    if not within:
        assert min(flipped(end) for end in ends) > most
        return
    first, last = ends.index(within[0]), ends.index(within[-1])
    assert first == 0 or flipped(ends[first - 1]) > most
    assert last == len(ends) - 1 or flipped(ends[last + 1]) > most
    assert min(flipped(end) for end in within) == min(flipped(end) for end in ends)


def test_bounds_enter_u(sample: CalibrationSample) -> None:
    """What must be marked is above every level, what must not below, and thresholds obey."""
    asked = msgspec.structs.replace(OFF, minimum_coverage=0.5, most_ivr_change=0.1)
    ranking = bounded(fit(sample, OFF), sample, asked, champion(sample, 3))
    assert isinstance(ranking, Bounded)
    for level in (-50.0, 0.0, 5.0, 50.0):
        limits = thresholds(ranking, level)
        assert (limits <= ranking.always).all()
        assert (limits >= np.maximum(ranking.never, -1)).all()


def test_without_bounds_the_ranking_is_as_it_was(sample: CalibrationSample) -> None:
    """A champion without bounds changes nothing."""
    ranking = fit(sample, OFF)
    assert bounded(ranking, sample, OFF, champion(sample, 3)) is ranking


def test_bounds_that_contradict_each_other_name_their_slices(sample: CalibrationSample) -> None:
    """A coverage far beyond what the champion marks cannot be reached in small steps."""
    asked = msgspec.structs.replace(OFF, minimum_coverage=0.9, most_ivr_change=0.01)
    with pytest.raises(CalibrationError, match=r"no threshold of device=app/logged_in=true, .* at once; loosen one"):
        calibrate(sample, asked, generator=np.random.default_rng(1), champion=champion(sample, 3, threshold=0.99))


def test_a_champion_of_other_clicks_is_refused(sample: CalibrationSample) -> None:
    """The champion's scores must be those of the sample."""
    before = champion(sample, 3)
    asked = msgspec.structs.replace(OFF, most_flips=0.1)
    with pytest.raises(CalibrationError, match="scored 39999 clicks, and 40000 are calibrated on"):
        calibrate(
            sample,
            asked,
            generator=np.random.default_rng(1),
            champion=Champion(before.scores[1:], before.thresholds),
        )
