"""What thresholds are set on: scored clicks of a day that training has not seen, each in its deepest slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from slidr.errors import CalibrationError
from slidr.metrics import Bools, Float32s, Int64s
from slidr.slices import ancestors


@dataclass(frozen=True, eq=False)
class CalibrationSample:
    """Scored clicks with their purchases and slices.

    Attributes:
        scores: float32[n] in [0, 1].
        purchaser: int64[n], number of who bought after the click, -1 where nobody did; other human labels must not
            enter, for they are no proof.
        busy: bool[n], the click stands in a session with many clicks in an hour.
        slices: int32[n], each click's deepest slice as its place in `paths`.
        paths: the slices, as `slidr.slices.slice_path` writes them.

    Raises:
        CalibrationError: no clicks, no purchases, arrays of unequal length, a score out of [0, 1] or NaN, or a code
            without a path.
    """

    scores: Float32s
    purchaser: Int64s
    busy: Bools
    slices: NDArray[np.int32]
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        clicks = len(self.scores)
        lengths = {name: len(getattr(self, name)) for name in ("purchaser", "busy", "slices")}
        if clicks == 0:
            raise CalibrationError("calibration needs clicks, and there are none; check the day that it reads")
        for name, length in lengths.items():
            if length != clicks:
                raise CalibrationError(f"{name} has {length} entries for {clicks} scores; join them by click first")
        wrong = np.flatnonzero(~((self.scores >= 0) & (self.scores <= 1)))
        if wrong.size:
            raise CalibrationError(
                f"the score of click {wrong[0]} is {self.scores[wrong[0]]}, and must be in [0, 1]; score the rows again"
            )
        lowest, highest = int(self.slices.min()), int(self.slices.max())
        if lowest < 0 or highest >= len(self.paths):
            raise CalibrationError(
                f"slice codes run from {lowest} to {highest}, and there are {len(self.paths)} paths; "
                "codes are places in `paths`"
            )
        if not self.purchased.any():
            raise CalibrationError(
                f"none of {clicks} clicks led to a purchase, so no false-positive rate can be measured; "
                "check the purchase log of this day, and that its attribution window has closed"
            )

    @cached_property
    def purchased(self) -> Bools:
        """Which clicks led to a purchase, bool[n]."""
        return self.purchaser >= 0

    @cached_property
    def tree(self) -> tuple[str, ...]:
        """The slices with clicks and everything above them, the root first and each before what lies below it."""
        seen = np.flatnonzero(np.bincount(self.slices, minlength=len(self.paths)))
        found = {above for code in seen for above in ancestors(self.paths[code])}
        return tuple(sorted(found, key=lambda path: (len(ancestors(path)), path)))

    def __getitem__(self, clicks: Bools) -> CalibrationSample:
        """Return some of the clicks, bool[n]."""
        return CalibrationSample(
            self.scores[clicks],
            self.purchaser[clicks],
            self.busy[clicks],
            self.slices[clicks],
            self.paths,
        )
