"""What the lake holds of the clicks of a part of a day: the answer that each was given, and the decision that holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.lake.parts import Part, read_part
from slidr.lake.settled import settled
from slidr.tables import DECISIONS

CORRECTIONS = "corrections"
"""The application under which corrections are committed to DECISIONS, one after another: each has seen all before."""


class Held(NamedTuple):
    """Decisions of the clicks of a part of a day.

    Attributes:
        part: the part.
        corrected: corrections that had been committed to the lake before this was read.
        decisions: all rows of DECISIONS.
        first: of each click the answer that held before any correction.
        standing: of each click, in the same order, the decision that holds.
    """

    part: Part
    corrected: int
    decisions: pa.Table
    first: pa.Table
    standing: pa.Table


def read_held(lake: Lake, part: Part) -> Held:
    """Return what the lake holds of the clicks of a part of a day.

    Raises:
        TableError: it cannot be read.
    """
    corrected = lake.transaction(DECISIONS, CORRECTIONS) or 0
    decisions = read_part(lake, DECISIONS, part)
    answers = decisions if decisions["supersedes"].null_count == decisions.num_rows else _answers(decisions)
    first = settled(answers)
    standing = first
    if answers is not decisions:
        standing = settled(decisions)
        places = places_of(first["click_id"], standing["click_id"])
        if (places < 0).any():
            lost = first["click_id"][int(np.argmax(places < 0))]
            raise ReplayError(
                f"the decisions of click {lost} supersede each other in a circle; they were tampered with"
            )
        standing = rows_at(standing, places)
    return Held(part, corrected, decisions, first, standing)


def _answers(decisions: pa.Table) -> pa.Table:
    return decisions.filter(pc.is_null(decisions["supersedes"]))


def rows_at(table: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """Return the rows at some places; the table itself, uncopied, where these are all in their order, as most are."""
    if len(places) == table.num_rows and (places == np.arange(len(places))).all():
        return table
    return table.take(pa.array(places))


def places_of(wanted: pa.ChunkedArray, among: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return where each of some texts stands among others, int64[n]; -1 where it does not."""
    if len(wanted) == len(among) and pc.all(pc.equal(wanted, among)).as_py():
        # Both in the order of time, as most are: no text need be looked up.
        return np.arange(len(wanted))
    found: Any = pc.index_in(wanted, value_set=among.combine_chunks())
    return np.asarray(found.fill_null(-1).to_numpy(), np.int64)
