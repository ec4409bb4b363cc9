"""Checkpoints: how far a training has come, so that one that was stopped goes on and ends in the same bytes."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slidr.errors import TrainingError
from slidr.metrics import Float32s, Float64s


class Checkpoint(NamedTuple):
    """A training after some of its steps.

    Attributes:
        identity: hash of all that decides how the training goes.
        parameters: float32[p], of the network.
        mean: float32[p], of the gradients, as Adam keeps it.
        square: float32[p], of their squares.
        losses: float32[steps done].
        held_out: float64[points of the curve].
    """

    identity: str
    parameters: Float32s
    mean: Float32s
    square: Float32s
    losses: Float32s
    held_out: Float64s


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one before; a kill at any moment leaves one of the two, whole."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **{key: np.array(value) for key, value in checkpoint._asdict().items()})
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    """Return the checkpoint, or None where there is none.

    Raises:
        TrainingError: the file is no checkpoint, or one of another training.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = Checkpoint._make([str(stored["identity"]), *(stored[key] for key in Checkpoint._fields[1:])])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as fault:
        raise TrainingError(f"{path} is no checkpoint ({fault}); delete it, and training begins anew") from None
    if found.identity != identity:
        raise TrainingError(
            f"{path} is a checkpoint of other clicks, settings or another seed ({found.identity[:12]}, and this is"
            f" {identity[:12]}); delete it, and training begins anew"
        )
    return found
