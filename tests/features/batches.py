"""Batches of clicks made from seeds: bursts, late clicks, nulls, repeats, idle entities."""

from __future__ import annotations

import numpy as np

from slidr.clock import HOUR, SECOND
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout

START = 1_700_000_000_000_000


def random_batch(layout: Layout, clicks: int, seed: int, *, repeats: bool = False) -> ClickBatch:
    """Return clicks of a few busy entities and many idle ones, some late, some with nulls."""
    generator = np.random.default_rng(seed)
    steps = generator.choice([0, 1, 5, 60, 3000, 90_000], clicks, p=[0.2, 0.3, 0.3, 0.15, 0.04, 0.01])
    times = START + np.cumsum(steps) * SECOND + generator.integers(0, SECOND, clicks)
    late = generator.random(clicks) < 0.1
    times = times - late * generator.integers(0, 30 * HOUR, clicks)
    keys = np.zeros((len(layout.keys), clicks), np.uint64)
    for row in range(len(layout.keys)):
        kinds = int(generator.choice([3, 30, 300]))
        hashes = generator.integers(1, 2**64 - 1, kinds, dtype=np.uint64)
        keys[row] = hashes[generator.integers(0, kinds, clicks)]
        keys[row, generator.random(clicks) < 0.05] = 0
    ids = generator.integers(1, 2**64 - 1, clicks, dtype=np.uint64)
    if repeats:
        again = generator.random(clicks) < 0.05
        ids[again] = ids[generator.integers(0, clicks, int(again.sum()))]
    return ClickBatch(ids, times.astype(np.int64), generator.integers(-1, 2, clicks).astype(np.int8), keys)
