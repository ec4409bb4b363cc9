"""Batches of clicks made from seeds: bursts, late clicks, nulls, repeats, idle entities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR, SECOND
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout
from slidr.features.recent import MEMORY, REPEAT_WINDOW

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


def assert_same_bits(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Assert that two matrices of rows are equal in every bit."""
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def remembered(log: ClickBatch) -> ClickBatch:
    """Return the log with a click_id of its own for every repeat that a path may have forgotten."""
    ids, held, newest = log.ids.copy(), dict[int, int](), 0
    for place, (key, time) in enumerate(zip(log.ids.tolist(), log.times.tolist(), strict=True)):
        known = held.get(key)
        if known is not None and abs(time - known) <= REPEAT_WINDOW:
            if known < newest - MEMORY:
                ids[place] = key ^ (place + 1)
        else:
            held[key] = time
        newest = max(newest, time)
    return replace(log, ids=ids)
