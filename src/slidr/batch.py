"""Batch decisions: the one decision path over a table of clicks, as notebooks and comparisons need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from slidr.decide import Decider, Decisions
from slidr.features.backfill import encode_table
from slidr.lake.schema import conform
from slidr.tables import DECISIONS

_CHUNK = 16_384
_TIME = pa.timestamp("us", "UTC")


def decide_table(
    decider: Decider, clicks: pa.Table, progress: Callable[[int], None] | None = None
) -> Iterator[Decisions]:
    """Decide a CLICKS table in the order given, chunk by chunk.

    Args:
        decider: its store must be as it was before the first click.
        clicks: rows of CLICKS.
        progress: called with the number of clicks after each chunk.
    """
    for start in range(0, clicks.num_rows, _CHUNK):
        part = clicks.slice(start, _CHUNK)
        batch = encode_table(part, decider.encoding, decider.pseudonymiser)
        attributes = {name: values_of(part, name) for name in decider.columns}
        yield decider.decide_batch(batch, part["click_id"].to_pylist(), attributes)
        if progress is not None:
            progress(part.num_rows)


def values_of(clicks: pa.Table, name: str) -> list[object]:
    """Return a column of a log; null where the log has none, as headers, or is from before the column."""
    return clicks[name].to_pylist() if name in clicks.column_names else [None] * clicks.num_rows


def decisions_table(decisions: Decisions, *, decided_at: int, cause: str) -> pa.Table:
    """Return decisions as a DECISIONS table; a repeat is left out, for its original was decided.

    Args:
        decisions: what was decided.
        decided_at: microseconds UTC.
        cause: live, replay:ID or review:ID.
    """
    fresh = ~decisions.repeats
    chosen = np.flatnonzero(fresh).tolist()
    scores, thresholds = decisions.scores[fresh], decisions.thresholds[fresh]
    columns = {
        "decision_id": [f"{decisions.bundle}-{sequence}" for sequence in decisions.sequences[fresh].tolist()],
        "click_id": [decisions.click_ids[place] for place in chosen],
        "time": pa.array(decisions.batch.times[fresh]).cast(_TIME),
        "decided_at": pa.array(np.full(len(chosen), decided_at)).cast(_TIME),
        "verdict": [decisions.verdicts[place].value for place in chosen],
        "reasons": pa.array([list(decisions.reasons[place]) for place in chosen], pa.list_(pa.string())),
        "score": pa.array(scores, mask=np.isnan(scores)),
        "threshold": pa.array(thresholds, mask=np.isnan(thresholds)),
        "slice": [decisions.slices[place] for place in chosen],
        "bundle": [decisions.bundle] * len(chosen),
        "lists": pa.array([list(decisions.lists[place]) for place in chosen], pa.list_(pa.string())),
        "supersedes": pa.nulls(len(chosen), pa.string()),
        "cause": [cause] * len(chosen),
        "sequence": decisions.sequences[fresh],
    }
    return conform(DECISIONS, pa.table(columns))
