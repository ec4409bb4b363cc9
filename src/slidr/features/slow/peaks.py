"""Peaks: exact distinct counts of one hour, and the highest of several, entity by entity."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Peaks(NamedTuple):
    """The highest counts of some entities.

    Attributes:
        keys: of the entities, uint64[n], ascending, without 0.
        counts: of each counted column, float32[n, columns].
    """

    keys: NDArray[np.uint64]
    counts: NDArray[np.float32]


def no_peaks(columns: int) -> Peaks:
    """Return the peaks of no entity."""
    return Peaks(np.empty(0, np.uint64), np.empty((0, columns), np.float32))


def distinct_values(clicks: NDArray[np.uint64], most: int) -> Peaks:
    """Count the distinct values of each column among the clicks of each entity, exactly.

    Args:
        clicks: uint64[n, 1 + columns]: key of the entity, then of each counted value; 0 where null.
        most: clicks to sort at once; more are taken range of keys by range of keys, each in a pass of its own.
    """
    passes = -(-len(clicks) // most) or 1
    bounds = [(part << 64) // passes for part in range(passes + 1)]
    parts = []
    for start, stop in pairwise(bounds):
        entities = clicks[:, 0]
        chosen = (entities >= np.uint64(max(start, 1))) & (entities <= np.uint64(stop - 1))
        parts.append(_count(np.asarray(clicks[chosen])))
    return Peaks(np.concatenate([part.keys for part in parts]), np.concatenate([part.counts for part in parts]))


def _count(clicks: NDArray[np.uint64]) -> Peaks:
    keys, entities = np.unique(clicks[:, 0], return_inverse=True)
    counts = np.zeros((len(keys), clicks.shape[1] - 1), np.float32)
    for column in range(counts.shape[1]):
        values = clicks[:, 1 + column]
        # Numbers below 2**32 stand for entities and values, so that a pair is one integer, exactly.
        numbers = np.unique(values, return_inverse=True)[1]
        pairs = np.unique(((entities << 32) | numbers)[values != 0])
        counts[:, column] = np.bincount(pairs >> 32, minlength=len(keys))
    return Peaks(keys, counts)


def highest(one: Peaks, other: Peaks) -> Peaks:
    """Return the higher count of each entity and column; an entity that one lacks has what the other says."""
    keys, counts = np.concatenate([one.keys, other.keys]), np.concatenate([one.counts, other.counts])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return Peaks(keys[first], np.maximum.reduceat(counts[order], first, axis=0) if len(first) else counts)
