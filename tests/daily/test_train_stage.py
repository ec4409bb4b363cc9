"""The training stage: which networks it fits, what it keeps of them, and how it goes on after a stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from tests.learned import Learned, copy_of

from slidr.daily.parts import read_part
from slidr.daily.plan import Run
from slidr.daily.stages import read_networks, train_networks
from slidr.errors import SettingsError
from slidr.model.scorer import Scorer
from slidr.model.training import Curve
from slidr.tables import SCORES


@pytest.fixture
def run(learned: Learned, tmp_path: Path) -> Run:
    """The learned run in a copy of its folder."""
    return copy_of(learned, tmp_path / "copy")


def changed(run: Run, **model: Any) -> Run:
    """Return the run with other settings of the model."""
    settings = run.settings
    return dataclasses.replace(run, settings=replace(settings, model=replace(settings.model, **model)))


def test_the_settings_say_which_network_decides(run: Run) -> None:
    """SCORES are those of model.network, peers are trained beside it, and what is no longer asked for is gone."""
    folder = Path(run.settings.storage.networks)
    other = changed(run, network="logistic", peers=("velocity", "logistic"))
    trained = train_networks(other)
    assert list(trained) == ["logistic", "velocity"]
    assert {name: fitted.graph for name, fitted in trained.items()} == read_networks(other)
    assert not (folder / "three_layer.onnx").exists()
    assert not (folder / "three_layer.json").exists()
    written = run.lake.read(SCORES, start=run.split.judge[0], end=run.split.judge[1])["score"].to_numpy()
    np.testing.assert_array_equal(
        written, Scorer(trained["logistic"].graph).score(read_part(run, run.split.judge).rows)
    )


def test_curves_lie_beside_the_graphs(learned: Learned) -> None:
    """Each graph has a JSON file of its learning curve and of the features that never varied."""
    folder = Path(learned.settings.storage.networks)
    names = {feature.name for feature in learned.run.catalogue}
    for name in ("three_layer", "logistic", "velocity"):
        told = msgspec.json.decode((folder / f"{name}.json").read_bytes())
        curve = msgspec.convert(told["curve"], Curve)
        assert set(told["constant"]) < names
        assert len(curve.seen) == len(curve.training) == len(curve.held_out)
        assert bool(curve.seen) == (name != "velocity")
    assert list(folder.glob("*.checkpoint")) == []


def test_a_network_that_does_not_exist_is_refused(run: Run) -> None:
    """A misspelt network or peer is named with the nearest one, before anything is trained."""
    before = read_networks(run)
    with pytest.raises(SettingsError, match="did you mean 'three_layer'"):
        train_networks(changed(run, network="three_layers"))
    with pytest.raises(SettingsError, match="did you mean 'logistic'"):
        train_networks(changed(run, peers=("logistics",)))
    assert read_networks(run) == before


def test_a_stopped_stage_goes_on(learned: Learned, run: Run) -> None:
    """Stopped in the midst of a network, the stage leaves its checkpoint, and run again ends in the same graphs."""
    often = changed(run, checkpoint_every=1000)
    told: list[float] = []

    def stop(stage: str, share: float) -> None:
        if stage == "train three_layer" and share > 0.5:
            raise KeyboardInterrupt

    def watch(stage: str, share: float) -> None:
        if stage == "train three_layer":
            told.append(share)

    with pytest.raises(KeyboardInterrupt):
        train_networks(dataclasses.replace(often, progress=stop))
    (left,) = Path(run.settings.storage.networks).glob("*.checkpoint")
    assert left.name.startswith("three_layer-")
    trained = train_networks(dataclasses.replace(often, progress=watch))
    assert told[0] > 0.4
    assert {name: fitted.graph for name, fitted in trained.items()} == read_networks(learned.run)
    assert not left.exists()
