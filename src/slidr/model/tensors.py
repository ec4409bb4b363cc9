"""Tensors: a training set scaled once and kept in half the memory, from which training takes its batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from slidr.errors import TrainingError
from slidr.metrics import Int64s
from slidr.model.scaling import Scaling, fit_scaling
from slidr.model.training import TrainingSet

_CHUNK = 65_536


@dataclass(frozen=True, eq=False)
class Tensors:
    """Prepared clicks.

    Attributes:
        rows: float16[n, F], scaled. A scaled value lies within ten deviations; float16 is off by a 2,000th of it.
        robotic: float32[n], 1 where the click is not labelled human.
        weights: float32[n], sample weights.
        scaling: of the rows.
        held_out: rows that are not learnt from, int64[m].
    """

    rows: torch.Tensor
    robotic: torch.Tensor
    weights: torch.Tensor
    scaling: Scaling
    held_out: Int64s

    @property
    def digest(self) -> str:
        """A hash of every value."""
        hashed = hashlib.sha256(f"{tuple(self.rows.shape)}".encode())
        arrays = (self.rows.numpy(), self.robotic.numpy(), self.weights.numpy(), self.held_out)
        for array in (*arrays, self.scaling.mean, self.scaling.inverse):
            hashed.update(np.ascontiguousarray(array).view(np.uint8).data)
        return hashed.hexdigest()

    def on(self, device: str) -> Tensors:
        """Return the tensors on a device, `cpu` or `cuda`.

        Raises:
            TrainingError: this machine, or this build of PyTorch, has no such device.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise TrainingError(
                f"model.device = 'cuda', and PyTorch {torch.__version__} finds no CUDA device; install a build of "
                "PyTorch with CUDA on a machine that has one, or set model.device = 'cpu'"
            )
        rows, robotic, weights = (part.to(device) for part in (self.rows, self.robotic, self.weights))
        return replace(self, rows=rows, robotic=robotic, weights=weights)


def prepare(training: TrainingSet) -> Tensors:
    """Return a training set scaled, in memory for its float16 rows and no further copy of them."""
    scaling = fit_scaling(training.rows)
    rows = torch.empty(training.rows.shape, dtype=torch.float16)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        # A copy, because rows may be read-only, which torch takes no views of.
        rows[part] = scaling.apply(torch.from_numpy(training.rows[part].copy()))
    robotic = torch.from_numpy((~training.human).astype(np.float32))
    return Tensors(rows, robotic, torch.from_numpy(training.weights.copy()), scaling, training.held_out)
