"""Settled decisions: of all that was ever decided of a click, the one decision that holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def settled(decisions: pa.Table) -> pa.Table:
    """Return the decision that holds of each click_id, in the order given.

    None that another one supersedes holds. Of several others of a click a correction goes before an answer, and an
    answer (cause `live`) before what tells a click's place afterwards (`late`) or was decided of it beside the
    service; among these the newest, and of the same moment that with the greater id. So two processes that answered a
    repeat, or a range that landed twice, leave one decision.

    >>> table = pa.table({
    ...     "decision_id": ["a-1", "a-2", "r-1"],
    ...     "click_id": ["one", "two", "one"],
    ...     "decided_at": [5, 6, 9],
    ...     "supersedes": [None, None, "a-1"],
    ...     "cause": ["live", "live", "replay:r"],
    ... })
    >>> settled(table)["decision_id"].to_pylist()
    ['a-2', 'r-1']

    Args:
        decisions: rows of DECISIONS, whole days; needs at least the columns decision_id, click_id, decided_at,
            supersedes and cause, and returns all it has.
    """
    gone = pc.is_in(decisions["decision_id"], value_set=pc.drop_null(decisions["supersedes"]).combine_chunks())
    standing = np.flatnonzero(~gone.to_numpy())
    clicks = decisions["click_id"].take(pa.array(standing)).combine_chunks().dictionary_encode().indices.to_numpy()
    alone = np.bincount(clicks)[clicks] == 1 if len(clicks) else np.zeros(0, np.bool_)
    kept = standing[alone]
    if not alone.all():
        rivals, of = standing[~alone], clicks[~alone]
        found = decisions.select(["decision_id", "decided_at", "supersedes", "cause"]).take(pa.array(rivals))
        moments = found["decided_at"].cast(pa.int64()).to_numpy()
        order = np.lexsort(
            (
                pc.rank(found["decision_id"].combine_chunks(), tiebreaker="first").to_numpy(),
                moments,
                pc.equal(found["cause"], "live").to_numpy(),
                pc.is_valid(found["supersedes"]).to_numpy(),
                of,
            )
        )
        last = np.append(of[order][1:] != of[order][:-1], True)
        kept = np.sort(np.append(kept, rivals[order[last]]))
    return decisions if len(kept) == decisions.num_rows else decisions.take(pa.array(kept))
