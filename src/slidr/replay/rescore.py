"""Rescore: journalled rows through another bundle, a stretch of time at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.decide import Decider
from slidr.errors import ReplayError
from slidr.features.doubts import DOUBTS, NO_IDENTIFIERS
from slidr.lake.delta import Lake
from slidr.replay.held import Held, places_of, read_held
from slidr.replay.judging import Scored, judge, listed
from slidr.replay.plan import Plan
from slidr.replay.rows import Contexts, feature_matrix
from slidr.replay.slicing import Slicing
from slidr.tables import ROWS, Verdict

Progress = Callable[[int], None]
"""Told how many more clicks are done."""
_COLUMNS = ["click_id", "time", "decision_id", "context", "row"]


class Again(NamedTuple):
    """Clicks of a stretch of time, decided again.

    Attributes:
        held: what the lake holds of the stretch.
        decided: what is decided of clicks, see `judging.judge`.
        left: clicks that this method cannot decide.
    """

    held: Held
    decided: pa.Table
    left: int


def rescore(lake: Lake, plan: Plan, decider: Decider, progress: Progress = lambda _clicks: None) -> Iterator[Again]:
    """Decide the clicks of a plan by their journalled rows, in the order of time.

    A click that was unmeasurable has no row that says what it should: it is left to be recomputed. One without user,
    session and ip is unmeasurable for every bundle.

    Raises:
        BundleError: the journalled rows lack features of the bundle.
        ReplayError: the lake lacks decisions, contexts, or the slices of clicks.
        TableError: the lake cannot be read.
    """
    contexts, slicing = Contexts(lake), Slicing(lake, decider)
    names = decider.layout.names
    for rows in lake.batches(ROWS, start=plan.start, end=plan.end, columns=_COLUMNS, version=plan.rows):
        held = read_span(lake, rows)
        first, mine = answered(held, rows)
        nameless = pc.and_(
            pc.equal(pc.binary_join(first["reasons"], ","), NO_IDENTIFIERS), pc.is_valid(first["sequence"])
        )
        measured = pc.or_(pc.not_equal(first["verdict"], Verdict.UNMEASURABLE.value), nameless)
        left = first.num_rows
        first, mine = first.filter(measured), mine.filter(measured)
        left -= first.num_rows
        doubts = np.where(nameless.filter(measured).to_numpy(), np.uint8(len(DOUBTS) - 1), np.uint8(0))
        matrix = feature_matrix(mine, names, contexts, plan.bundle)
        scored = Scored(
            decider.scores(matrix, ~listed(first) & (doubts == 0)),
            doubts,
            np.asarray(first["sequence"].fill_null(-1).to_numpy(), np.int64),
        )
        yield Again(held, judge(decider.bundle.id, first, scored, slicing.of(first)), left)
        progress(rows.num_rows)


def read_span(lake: Lake, rows: pa.Table) -> Held:
    """Return what the lake holds of the clicks of the stretch of time that rows of ROWS are of.

    Raises:
        ReplayError: a row's decision is not there.
        TableError: the lake cannot be read.
    """
    times = rows["time"].cast(pa.int64())
    # A stretch is cut between seconds: what else was decided of its clicks lies in it too.
    held = read_held(lake, times[0].as_py(), times[-1].as_py() + 1)
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
    return held.first.take(pa.array(places[mine])), rows.take(pa.array(mine)) if len(mine) < len(places) else rows
