"""By slice: the clicks of each slice, found with one sort for all of them, for there may be thousands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from slidr.metrics import Int64s


def rows_by_slice(slices: NDArray[np.int32], paths: Sequence[str]) -> Iterator[tuple[str, Int64s]]:
    """Yield each slice that occurs, by name, with the places of its clicks in their order.

    Args:
        slices: each click's slice, a place in `paths`, int32[n].
        paths: the slices.

    >>> [(name, rows.tolist()) for name, rows in rows_by_slice(np.int32([0, 2, 0]), ["b", "c", "a"])]
    [('a', [1]), ('b', [0, 2])]
    """
    order = np.argsort(slices, kind="stable")
    edges = np.searchsorted(slices[order], np.arange(len(paths) + 1))
    for code in sorted(range(len(paths)), key=paths.__getitem__):
        rows = order[edges[code] : edges[code + 1]]
        if rows.size:
            yield paths[code], rows
