"""Rescore: journalled rows through another bundle, a part of a day at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from slidr.decide import Decider
from slidr.features.doubts import DOUBTS, NO_IDENTIFIERS
from slidr.lake.delta import Lake
from slidr.lake.parts import parts_of, read_part
from slidr.replay.again import Again, Progress, answered, read_decided
from slidr.replay.held import rows_at
from slidr.replay.judging import Scored, judge, listed
from slidr.replay.order import check_complete
from slidr.replay.plan import Plan
from slidr.replay.rows import Contexts, feature_matrix
from slidr.replay.slicing import Slicing
from slidr.tables import ROWS, Verdict

_COLUMNS = ["click_id", "time", "decision_id", "context", "row"]


def rescore(lake: Lake, plan: Plan, decider: Decider, progress: Progress = lambda _clicks: None) -> Iterator[Again]:
    """Decide the clicks of a plan by their journalled rows.

    A click that was unmeasurable has no row that says what it should: it is left to be recomputed. One without user,
    session and ip is unmeasurable for every bundle.

    Raises:
        BundleError: the journalled rows lack features of the bundle.
        ReplayError: clicks that were folded are missing, or the lake lacks decisions, contexts, or slices.
        TableError: the lake cannot be read.
    """
    check_complete(lake, plan)
    contexts, slicing = Contexts(lake), Slicing(lake, decider)
    names = decider.layout.names
    for part in parts_of(lake, ROWS, plan.start, plan.end, version=plan.rows):
        rows = read_part(lake, ROWS, part, _COLUMNS, version=plan.rows)
        held = read_decided(lake, part, rows)
        first, mine = answered(held, rows)
        folded, unsure = pc.is_valid(first["sequence"]), pc.equal(first["verdict"], Verdict.UNMEASURABLE.value)
        nameless = pc.and_(folded, pc.equal(pc.binary_join(first["reasons"], ","), NO_IDENTIFIERS))
        # What a list rule hit that was not folded holds: it has no row, and needs none.
        measured = pc.and_(folded, pc.or_(pc.invert(unsure), nameless))
        # A row that a folded click lost was erased: such a click keeps what was decided of it.
        erased = pc.and_(folded, pc.equal(pc.binary_length(mine["row"]), 0))
        measured = pc.and_not(measured, erased)
        left = pc.sum(pc.or_(pc.and_not(unsure, nameless), erased)).as_py() or 0
        places = np.flatnonzero(measured.to_numpy())
        first, mine = rows_at(first, places), rows_at(mine, places)
        doubts = np.where(nameless.to_numpy()[places], np.uint8(len(DOUBTS) - 1), np.uint8(0))
        matrix = feature_matrix(mine, names, contexts, plan.bundle)
        scored = Scored(
            decider.scores(matrix, ~listed(first) & (doubts == 0)),
            doubts,
            np.asarray(first["sequence"].fill_null(-1).to_numpy(), np.int64),
        )
        yield Again(held, judge(decider.bundle.id, first, scored, slicing.of(first)), left)
        progress(rows.num_rows)
