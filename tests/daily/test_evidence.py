"""Evidence of a run: labels, proxy, champion, promise and learning."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.learned import Learned, copy_of

from slidr.calibration.certificate import Certificate
from slidr.daily.card import model_card
from slidr.daily.evidence import assurance, change_from_champion, label_health, learning, proxy_check
from slidr.daily.parts import Part, read_part, sample_of
from slidr.daily.plan import Run
from slidr.daily.stages import read_networks
from slidr.evaluation.change import Change
from slidr.evaluation.judging import Judged
from slidr.evaluation.results import Assurance
from slidr.model.scorer import Scorer
from slidr.registry import Registry


@pytest.fixture
def part(learned: Learned) -> Part:
    """The judging part."""
    return read_part(learned.run, learned.run.split.judge)


@pytest.fixture
def judged(learned: Learned, part: Part) -> Judged:
    """The judging part as evaluation takes it, scored by the network that decides."""
    run = learned.run
    scores = Scorer(read_networks(run)["three_layer"]).score(part.rows)
    sample = sample_of(run, part, scores)
    clicker = np.arange(len(scores))
    return Judged(
        {"three_layer": scores}, sample.purchased, part.purchaser, clicker, sample.busy, sample.slices, sample.paths
    )


def test_labels_of_the_training_part_are_looked_at(learned: Learned, part: Part, judged: Judged) -> None:
    """Counts are those of the training part, both rules stand there, and people's share lies between 0 and 1."""
    health = label_health(learned.run, part, judged.scores["three_layer"])
    assert health.clicks == learned.evaluation.train.clicks
    assert len(health.density) == 7
    assert {pair.first for pair in health.overlap} | {pair.second for pair in health.overlap} <= {"purchase", "rfm"}
    assert health.human_share is not None
    assert 0 < health.human_share.of_clicks <= 1
    assert health.human_share.purchases == part.purchased.sum()


def test_without_purchases_nothing_is_estimated(learned: Learned, part: Part, judged: Judged) -> None:
    """A judging part without purchases has no proxy to check and no people to count."""
    none = np.zeros(len(part.purchased), np.bool_)
    unsold = dataclasses.replace(judged, purchased=none)
    assert proxy_check(learned.run, part, unsold, none) is None
    bare = dataclasses.replace(part, purchased=none)
    assert label_health(learned.run, bare, judged.scores["three_layer"]).human_share is None


def test_the_proxy_needs_its_features(learned: Learned, part: Part, judged: Judged) -> None:
    """With the default catalogue the proxy is checked; without a day's counts it cannot be."""
    marked = judged.scores["three_layer"] > 0.5
    found = proxy_check(learned.run, part, judged, marked)
    assert found is not None
    assert found.purchases == part.purchased.sum()
    windows = msgspec.structs.replace(learned.settings.features, windows=("1h",))
    short = dataclasses.replace(learned.run, settings=msgspec.structs.replace(learned.settings, features=windows))
    assert proxy_check(short, part, judged, marked) is None


def test_the_same_run_changes_nothing_against_its_own_champion(learned: Learned, part: Part, judged: Judged) -> None:
    """The champion's own marks differ from themselves nowhere; other marks differ where they do."""
    whole = change_from_champion(learned.run, part, judged, np.ones(len(part.purchased), np.bool_))
    assert isinstance(whole, Change)
    assert whole.champion == learned.bundle.id
    assert whole.slices[0].ivr == 1.0
    assert whole.slices[0].ivr_before == pytest.approx(learned.evaluation.networks[0].ivr.value)
    assert whole.slices[0].newly_valid == 0.0


def test_why_nothing_is_compared_is_said(learned: Learned, part: Part, judged: Judged, tmp_path: Path) -> None:
    """No champion, one of other slices, and one that cannot be read each have their sentence."""
    assert "no champion yet" in str(learned.evaluation.change)
    marked = np.zeros(len(part.purchased), np.bool_)

    def said(run: Run) -> str:
        found = change_from_champion(run, part, judged, marked)
        assert isinstance(found, str)
        return found

    columns = msgspec.structs.replace(learned.settings.slices, columns=("device",))
    other = msgspec.structs.replace(learned.settings, slices=columns)
    assert "decides by other slices" in said(dataclasses.replace(learned.run, settings=other))
    broken = copy_of(learned, tmp_path / "broken")
    (Path(broken.settings.storage.bundles) / learned.bundle.id / "network.onnx").write_bytes(b"")
    assert said(broken).startswith("The champion cannot be read")
    assert Registry(broken.settings.storage.registry).champion() is not None


def test_a_run_without_a_certificate_says_what_one_needs(learned: Learned) -> None:
    """The method, the purchasers there are and those that a certificate needs are told."""
    found = assurance(learned.run, read_part(learned.run, learned.run.split.calibrate))
    assert found.method == learned.settings.calibration.method
    assert found.certificate is None
    assert found.needed == 59
    assert 0 < found.purchasers <= learned.evaluation.calibrate.purchases


def test_a_level_without_a_bottom_is_read(learned: Learned, tmp_path: Path) -> None:
    """A certificate whose level is minus infinity, which JSON lacks, is the same after it was written."""
    run = copy_of(learned, tmp_path)
    certificate = Certificate(0.05, 0.05, 100, 1, 1, -math.inf)
    written = msgspec.json.encode({"method": "knee", "certificate": certificate})
    (Path(run.settings.storage.networks) / "calibration.json").write_bytes(written)
    assert assurance(run, read_part(run, run.split.calibrate)).certificate == certificate


def test_what_was_written_of_the_training_is_read(learned: Learned) -> None:
    """Each trained network has its curve, and one that was never trained none."""
    found = learning(learned.run, ["three_layer", "velocity", "none"])
    assert [one.network for one in found] == ["three_layer", "velocity"]
    assert found[0].curve.seen
    assert not found[1].curve.seen


def test_the_card_names_what_the_model_is_made_of(learned: Learned) -> None:
    """Network, labels, budget, seed and versions are facts of the card; every feature is listed."""
    promised = Assurance("knee", None, 598, 1, 0.05)
    card = model_card(learned.run, b"x" * 2000, promised)
    facts = dict(card.facts)
    assert facts["network"] == f"three_layer (16): {len(card.features)} features in, 2 kB"
    assert facts["false-positive budget"] == "5 % of purchasing clicks"
    assert facts["thresholds"] == "knee, by device x logged_in"
    assert facts["certificate"] == "uncertified"
    assert "numpy" in facts["versions"]
    assert card.features == tuple(feature.name for feature in learned.run.catalogue)
    plain = msgspec.structs.replace(learned.settings.slices, columns=())
    run = dataclasses.replace(learned.run, settings=msgspec.structs.replace(learned.settings, slices=plain))
    assert dict(model_card(run, b"", promised).facts)["thresholds"] == "knee, one for all clicks"
