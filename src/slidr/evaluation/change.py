"""Change: what a new calibration decides otherwise than the champion, on the same clicks, per slice and overall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr import metrics
from slidr.evaluation.by_slice import rows_by_slice
from slidr.metrics import Bools, Int64s
from slidr.slices import ROOT


class SliceChange(msgspec.Struct, frozen=True):
    """A slice under the champion and under the candidate.

    `newly_marked` and `newly_valid` are the shares of the slice's clicks whose decision flips, one way and the other;
    the FPRs are None where no click led to a purchase.
    """

    slice: str
    clicks: int
    purchases: int
    ivr_before: float
    ivr: float
    fpr_before: float | None
    fpr: float | None
    newly_marked: float
    newly_valid: float

    @property
    def flipped(self) -> float:
        """The share of the slice's clicks that are decided otherwise."""
        return self.newly_marked + self.newly_valid


class Change(msgspec.Struct, frozen=True):
    """The candidate beside the champion, all clicks first, then slice by slice."""

    champion: str
    slices: tuple[SliceChange, ...]


def compare(
    champion: str,
    before: Bools,
    marked: Bools,
    purchased: Bools,
    slices: NDArray[np.int32],
    paths: Sequence[str],
) -> Change:
    """Return what a candidate decides otherwise than the champion.

    Args:
        champion: id of its bundle.
        before: clicks that the champion marks, bool[n].
        marked: clicks that the candidate marks, bool[n].
        purchased: clicks that led to a purchase, bool[n].
        slices: each click's slice, a place in `paths`, int[n].
        paths: the slices.

    Raises:
        CalibrationError: there are no clicks.

    >>> before, marked = np.array([True, False]), np.array([True, True])
    >>> found = compare("a", before, marked, np.array([False, True]), np.int32([0, 0]), ["device=app"])
    >>> found.slices[0].slice, found.slices[0].ivr_before, found.slices[0].ivr, found.slices[0].flipped
    ('all', 0.5, 1.0, 0.5)
    """

    def one(path: str, rows: Int64s) -> SliceChange:
        was, now, bought = before[rows], marked[rows], purchased[rows]
        return SliceChange(
            path,
            len(now),
            int(bought.sum()),
            metrics.ivr(was),
            metrics.ivr(now),
            metrics.fpr(was, bought),
            metrics.fpr(now, bought),
            float((now & ~was).mean()),
            float((was & ~now).mean()),
        )

    def every() -> Iterator[SliceChange]:
        yield one(ROOT, np.arange(len(marked)))
        yield from (one(path, rows) for path, rows in rows_by_slice(slices, paths) if path != ROOT)

    return Change(champion, tuple(every()))
