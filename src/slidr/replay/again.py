"""Clicks decided again: what every method of a replay gives, and how it finds what they were answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.lake.parts import Part
from slidr.replay.held import Held, places_of, read_held, rows_at

Progress = Callable[[int], None]
"""Told how many more clicks are done."""


class Again(NamedTuple):
    """Clicks of a part of a day, decided again.

    Attributes:
        held: what the lake holds of them.
        decided: what is decided of clicks, see `judging.judge`.
        left: clicks that this method cannot decide.
    """

    held: Held
    decided: pa.Table
    left: int


def read_decided(lake: Lake, part: Part, rows: pa.Table) -> Held:
    """Return what the lake holds of the clicks of a part, whose rows of ROWS are given.

    Raises:
        ReplayError: a row's decision is not there.
        TableError: the lake cannot be read.
    """
    held = read_held(lake, part)
    places = places_of(rows["decision_id"], held.decisions["decision_id"])
    if (places < 0).any():
        lost = rows["click_id"][int(np.argmax(places < 0))]
        raise ReplayError(
            f"{np.count_nonzero(places < 0):,} clicks, such as {lost}, are in the lake with their rows and without"
            " their decisions: they are being shipped, or were; run `slidr ship`, and then this again"
        )
    return held


def answered(held: Held, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return what the clicks of rows were answered, each click once, and the rows of these answers."""
    places = places_of(rows["decision_id"], held.first["decision_id"])
    mine = np.flatnonzero(places >= 0)
    return rows_at(held.first, places[mine]), rows_at(rows, mine)
