from __future__ import annotations

import numpy as np
import torch

from slidr.model import scaling


def test_scaled_training_rows_have_mean_zero_and_deviation_one() -> None:
    """Over more rows than one chunk holds, log1p counters come out standardised."""
    rows = np.random.default_rng(1).lognormal(3, 1, (100_000, 3)).astype(np.float32)
    scaled = scaling.fit_scaling(rows).apply(torch.from_numpy(rows))
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(dim=0), torch.ones(3), atol=1e-3, rtol=0)


def test_a_constant_feature_reads_as_zero() -> None:
    """A feature that never varied is ignored, in training and whatever its value later."""
    fitted = scaling.fit_scaling(np.full((10, 1), 7, dtype=np.float32))
    assert fitted.apply(torch.tensor([[7.0], [1000.0]])).tolist() == [[0.0], [0.0]]


def test_outliers_are_held_at_ten_deviations() -> None:
    """A value far beyond training moves the network no farther than ten standard deviations."""
    rows = np.array([[0.0], [1.0]] * 50, dtype=np.float32)
    fitted = scaling.fit_scaling(rows)
    assert fitted.apply(torch.tensor([[1e30]])).item() == scaling.REACH


def test_squash_is_odd_and_finite() -> None:
    """Negative values, such as points on the unit circle, are squashed like positive ones with their sign."""
    values = torch.tensor([-3e38, -1.0, 0.0, 1.0, 3e38])
    squashed = scaling.squash(values)
    assert torch.isfinite(squashed).all()
    torch.testing.assert_close(squashed, -scaling.squash(-values))
