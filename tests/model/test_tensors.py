from __future__ import annotations

import numpy as np
import pytest
import torch

from slidr.errors import TrainingError
from slidr.model.tensors import prepare
from slidr.model.training import TrainingSet


def test_rows_are_scaled_and_halved(training: TrainingSet) -> None:
    """Prepared rows are the scaled rows to within float16, over more rows than one chunk holds."""
    many = TrainingSet(
        np.tile(training.rows, (20, 1)), np.tile(training.human, 20), np.tile(training.weights, 20), training.names
    )
    tensors = prepare(many)
    scaled = tensors.scaling.apply(torch.from_numpy(many.rows))
    assert tensors.rows.dtype == torch.float16
    torch.testing.assert_close(tensors.rows.float(), scaled, rtol=1 / 2048, atol=1e-6)
    np.testing.assert_array_equal(tensors.robotic.numpy(), ~many.human)


def test_a_digest_tells_every_value_apart(training: TrainingSet) -> None:
    """Equal tensors have one digest, and another label has another."""
    assert prepare(training).digest == prepare(training).digest
    human = training.human.copy()
    human[0] ^= True
    other = TrainingSet(training.rows, human, training.weights, training.names)
    assert prepare(other).digest != prepare(training).digest


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a CUDA device")
def test_a_missing_device_is_an_error(training: TrainingSet) -> None:
    """Asked for CUDA where there is none, training says so and what to do."""
    with pytest.raises(TrainingError, match=r"model\.device = 'cuda', and PyTorch .* finds no CUDA device"):
        prepare(training).on("cuda")
