"""Grouping: slices with enough purchases stand alone, the others merge into the rest of the slice above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slidr.calibration.sample import CalibrationSample
from slidr.metrics import Int64s
from slidr.slices import ROOT, ancestors, parent


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which group of clicks every slice is calibrated with; every click is in exactly one group.

    Attributes:
        paths: the groups, each named after the slice whose own clicks or whose rest it is; the last is the root.
        of_path: place in `paths` of the group of every slice and of everything above it.
        of_code: int64[len(sample.paths)], the same for the sample's slice codes.
        purchases: int64[groups], purchasing clicks in each.
        root_borrows: what is left at the root is below the minimum, so that it takes the curve of the whole traffic.
    """

    paths: tuple[str, ...]
    of_path: dict[str, int]
    of_code: Int64s
    purchases: Int64s
    root_borrows: bool


def group(sample: CalibrationSample, minimum_purchases: int) -> Grouping:
    """Group the slices of a sample so that each group but the root's has at least the minimum of purchases.

    A slice below the minimum joins its parent's rest; where the rest is still below, it moves on up. The root takes
    what is left, and so does every slice value that was never seen. What is left may be little, or nothing.
    """
    counts = np.bincount(sample.slices, sample.purchased, minlength=len(sample.paths))
    held = dict.fromkeys((above for path in sample.paths for above in ancestors(path)), 0)
    for path, count in zip(sample.paths, counts, strict=True):
        held[path] += int(count)
    alone: dict[str, str] = {ROOT: ROOT}
    merged: list[tuple[str, str]] = []
    for path in sorted(held, key=lambda path: -len(ancestors(path))):
        above = parent(path)
        if above is None:
            continue
        if held[path] >= minimum_purchases:
            alone[path] = path
        else:
            held[above] += held.pop(path)
            merged.append((path, above))
    for path, above in reversed(merged):  # from the top down, so that the one above is settled
        alone[path] = alone[above]
    paths = (*sorted(set(alone.values()) - {ROOT}), ROOT)
    place = {path: index for index, path in enumerate(paths)}
    of_path = {path: place[home] for path, home in alone.items()}
    return Grouping(
        paths,
        of_path,
        np.array([of_path[path] for path in sample.paths]),
        np.array([held[path] for path in paths]),
        held[ROOT] < minimum_purchases,
    )
