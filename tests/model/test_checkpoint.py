from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from slidr.errors import TrainingError
from slidr.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from slidr.model.networks import three_layer
from slidr.model.training import Trained, TrainingSet
from slidr.settings import ModelSettings

SETTINGS = ModelSettings(widths=(16, 8), checkpoint_every=500)


class Stop(Exception):  # noqa: N818 an interruption, as a person's
    """Ends a training."""


def fit(training: TrainingSet, path: Path, settings: ModelSettings = SETTINGS, *, stop: float = 2.0) -> Trained:
    """Fit with a checkpoint, and stop once this share is done."""

    def watch(done: float) -> None:
        if done >= stop:
            raise Stop

    return three_layer.fit(training, settings, np.random.default_rng(1), watch, path)


@pytest.mark.parametrize("stop", [0.01, 0.2, 0.55, 1.0])
def test_a_stopped_training_ends_in_the_same_bytes(training: TrainingSet, tmp_path: Path, stop: float) -> None:
    """Stopped anywhere and taken up again, graph and curve are those of a training that nothing stopped."""
    path = tmp_path / "three_layer.checkpoint"
    with pytest.raises(Stop):
        fit(training, path, stop=stop)
    assert path.exists() == (stop > 0.15)
    threaded = msgspec.structs.replace(SETTINGS, threads=2)
    assert fit(training, path, threaded) == three_layer.fit(training, SETTINGS, np.random.default_rng(1))
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_training_does_not_begin_anew(training: TrainingSet, tmp_path: Path) -> None:
    """What was learnt before the stop is not learnt again."""
    path = tmp_path / "three_layer.checkpoint"
    with pytest.raises(Stop):
        fit(training, path, stop=0.8)
    told: list[float] = []
    three_layer.fit(training, SETTINGS, np.random.default_rng(1), told.append, path)
    assert told[0] > 0.6


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_leaves_a_checkpoint(training: TrainingSet, tmp_path: Path, how: signal.Signals) -> None:
    """A process that is interrupted or killed in the midst of training is taken up by another, to the same bytes."""
    np.savez(tmp_path / "rows.npz", rows=training.rows, human=training.human)
    script = f"""
import os, signal, numpy as np
from pathlib import Path
from slidr.model.networks import three_layer
from slidr.model.training import TrainingSet
from slidr.settings import ModelSettings
with np.load("rows.npz") as stored:
    rows, human = stored["rows"], stored["human"]
training = TrainingSet(rows, human, np.ones(len(rows), np.float32), {training.names!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started this test may ignore it
def watch(done):
    if done >= 0.5:
        os.kill(os.getpid(), {int(how)})
settings = ModelSettings(widths=(16, 8), checkpoint_every=500)
three_layer.fit(training, settings, np.random.default_rng(1), watch, Path("network.checkpoint"))
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, capture_output=True)  # noqa: S603 ours
    assert ended.returncode != 0
    path = tmp_path / "network.checkpoint"
    assert path.exists()
    assert fit(training, path) == three_layer.fit(training, SETTINGS, np.random.default_rng(1))


@pytest.mark.parametrize("change", ["rows", "weights", "seed", "rate"])
def test_a_checkpoint_of_another_training_is_refused(training: TrainingSet, tmp_path: Path, change: str) -> None:
    """Other clicks, weights, settings or another seed do not go on from it, and the file is left as it is."""
    path = tmp_path / "three_layer.checkpoint"
    with pytest.raises(Stop):
        fit(training, path, stop=0.5)
    before = path.read_bytes()
    rows, weights = training.rows.copy(), training.weights.copy()
    settings, generator = SETTINGS, np.random.default_rng(1)
    if change == "rows":
        rows[-1, 0] += 1
    elif change == "weights":
        weights[5] = 2
    elif change == "seed":
        generator = np.random.default_rng(2)
    else:
        settings = msgspec.structs.replace(settings, learning_rate=0.01)
    other = TrainingSet(rows, training.human, weights, training.names)
    with pytest.raises(TrainingError, match=r"three_layer\.checkpoint is a checkpoint of other clicks"):
        three_layer.fit(other, settings, generator, None, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_broken_checkpoint_is_refused(training: TrainingSet, tmp_path: Path, damage: str) -> None:
    """A file that is no checkpoint is named, with what to do about it."""
    path = tmp_path / "three_layer.checkpoint"
    with pytest.raises(Stop):
        fit(training, path, stop=0.5)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"not a checkpoint"}[damage])
    with pytest.raises(TrainingError, match=r"no checkpoint .* delete it"):
        fit(training, path)


def test_a_kill_while_writing_leaves_the_last_one(tmp_path: Path) -> None:
    """What lies half written beside a checkpoint is not read, and is written over."""
    path = tmp_path / "network.checkpoint"
    vector = np.arange(3, dtype=np.float32)
    first = Checkpoint("identity", vector, vector, vector, vector, vector.astype(np.float64))
    write_checkpoint(path, first)
    path.with_name("network.checkpoint.part").write_bytes(b"half")
    found = read_checkpoint(path, "identity")
    assert found is not None
    np.testing.assert_array_equal(found.parameters, vector)
    write_checkpoint(path, first._replace(parameters=vector + 1))
    assert os.listdir(tmp_path) == ["network.checkpoint"]  # noqa: PTH208 names are enough
