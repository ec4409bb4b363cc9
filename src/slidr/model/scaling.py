"""Scaling: long-tailed counters become numbers of about one standard deviation, alike in training and in the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from slidr.metrics import Float32s

REACH = 10.0
"""A feature farther than this many standard deviations from its mean reads as exactly that far."""

_CONSTANT = 1e-6  # float32's resolution of log(1 + x): a smaller deviation is rounding
_CHUNK = 65_536


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and inverse standard deviation of every squashed feature, float32[F] each.

    A feature that was constant in training has the inverse 0: it reads as 0 whatever its value, because nothing was
    learnt of it.
    """

    mean: Float32s
    inverse: Float32s

    def apply(self, rows: torch.Tensor) -> torch.Tensor:
        """Return scaled rows, float32[n, F]."""
        return ((squash(rows) - torch.from_numpy(self.mean)) * torch.from_numpy(self.inverse)).clamp(-REACH, REACH)


def squash(rows: torch.Tensor) -> torch.Tensor:
    """Return sign(x) log(1 + |x|), which is log1p for counters and leaves the unit circle's points nearly as they are.

    It is written with log and not with log1p because ONNX has no other: training must see what serving sees.
    """
    return torch.sign(rows) * torch.log(1 + rows.abs())


def fit_scaling(rows: Float32s) -> Scaling:
    """Return the scaling of rows, float32[n, F], in one pass with bounded memory (Chan et al., 1979)."""
    count = 0
    mean = torch.zeros(rows.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(mean)
    for start in range(0, len(rows), _CHUNK):
        squashed = squash(torch.from_numpy(rows[start : start + _CHUNK].copy())).double()
        chunk_variance, chunk_mean = torch.var_mean(squashed, dim=0, correction=0)
        difference, seen = chunk_mean - mean, len(squashed)
        squares += chunk_variance * seen + difference.square() * count * seen / (count + seen)
        mean += difference * seen / (count + seen)
        count += seen
    deviation = (squares / count).sqrt().numpy()
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > _CONSTANT)
    return Scaling(mean.numpy().astype(np.float32), inverse.astype(np.float32))
