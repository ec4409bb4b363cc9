"""Judging many clicks at once: from scores and doubts to what decisions say; list hits hold as they were journalled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.decide import MODEL
from slidr.features.doubts import DOUBTS
from slidr.replay.slicing import Calibrated
from slidr.tables import Verdict

_REASONS = ((), (MODEL,), *((doubt,) for doubt in DOUBTS[1:]))
_VERDICTS = (Verdict.VALID, Verdict.INVALID_SOPHISTICATED, *(Verdict.UNMEASURABLE for _ in DOUBTS[1:]))
_WORDS = pa.array([verdict.value for verdict in _VERDICTS])
_LISTS = pa.array([list(reasons) for reasons in _REASONS], pa.list_(pa.string()))


class Scored(NamedTuple):
    """What the model says of n clicks.

    Attributes:
        scores: float32[n]; NaN where it was not asked.
        doubts: why a click cannot be measured, uint8[n], places in `DOUBTS`; 0 where it can.
        sequences: places in the fold, int64[n].
    """

    scores: NDArray[np.float32]
    doubts: NDArray[np.uint8]
    sequences: NDArray[np.int64]


def listed(first: pa.Table) -> NDArray[np.bool_]:
    """Return which clicks a list rule hit when they were answered, bool[n]."""
    lengths = pc.list_value_length(first["lists"]).to_numpy()
    return np.asarray(lengths > 0)


def judge(bundle: str, first: pa.Table, scored: Scored, calibrated: Calibrated) -> pa.Table:
    """Return what is decided of clicks: columns of DECISIONS from verdict to lists, and click_id and sequence.

    Args:
        bundle: what decides.
        first: what the clicks were answered; where a list rule hit, that holds.
        scored: what the bundle's model says of them.
        calibrated: their slices in the bundle.
    """
    hit = listed(first)
    asked = (scored.doubts == 0) & ~hit
    scores = np.where(asked, scored.scores, np.float32(np.nan))
    thresholds = np.where(asked, calibrated.thresholds, np.float32(np.nan))
    codes = (scores > thresholds).astype(np.int8)
    codes[scored.doubts > 0] = 1 + scored.doubts[scored.doubts > 0]
    verdicts, reasons = _WORDS.take(pa.array(codes)), _LISTS.take(pa.array(codes))
    if hit.any():
        verdicts = pc.if_else(pa.array(hit), first["verdict"].combine_chunks(), verdicts)
        reasons = pc.if_else(pa.array(hit), first["reasons"].combine_chunks(), reasons)
    return pa.table({
        "click_id": first["click_id"],
        "verdict": verdicts,
        "reasons": reasons,
        "score": pa.array(scores, mask=~asked),
        "threshold": pa.array(thresholds, mask=~asked),
        "slice": calibrated.slices,
        "bundle": pa.repeat(bundle, first.num_rows),
        "lists": first["lists"],
        "sequence": pa.array(scored.sequences, mask=scored.sequences < 0),
    })  # fmt: skip
