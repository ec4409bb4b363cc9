"""Recompute: journalled clicks folded again in their order, and decided by the rows that this gives.

It settles what rescoring cannot: clicks that were not folded, and those whose rows say what they should not because
others before them were missing. The fold begins from a state that was kept before the first of them; where there is
none, from nothing, two horizons before, and then means of gaps and decayed counts may differ in their last places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.decide import Decider
from slidr.errors import FeatureError
from slidr.features.doubts import DOUBTS, NO_IDENTIFIERS, doubts_of
from slidr.features.snapshot import snapshot_sequence
from slidr.features.store import EmbeddedStore, Soundness
from slidr.lake.delta import Lake
from slidr.lake.parts import read_part
from slidr.replay.again import Again, Progress, answered, read_decided
from slidr.replay.held import rows_at
from slidr.replay.judging import Scored, judge, listed
from slidr.replay.order import Clicks, Sequences, Stretch, asked_for, from_time, missing_error, reaching, read_clicks
from slidr.replay.plan import Plan
from slidr.replay.rows import Contexts
from slidr.replay.slicing import Slicing
from slidr.tables import ROWS

_CHUNK = 1 << 16
"""Clicks folded and scored at once: few enough that their rows stay in the cache."""
_SETTLED = 64
"""Of so many clicks the newest tells how far time had come, though some came late."""
_COLUMNS = ["click_id", "time", "decision_id"]
_NAMELESS = len(DOUBTS) - 1


class Begun(NamedTuple):
    """What a recomputation folds, and from what.

    Attributes:
        stretch: of the fold.
        state: the state that it begins from; None where it begins from nothing.
    """

    stretch: Stretch
    state: Path | None


class Result(NamedTuple):
    """What the fold and the model say of n clicks, in the order of ROWS.

    Attributes:
        scores: float32[n].
        doubts: why a click cannot be measured, uint8[n], places in `DOUBTS`.
        hits: names of the list rules that count which clicks hit that had not been folded, by place.
    """

    scores: NDArray[np.float32]
    doubts: NDArray[np.uint8]
    hits: dict[int, tuple[str, ...]]


def begin(lake: Lake, plan: Plan, states: Sequence[Path], fingerprint: str, horizon: int) -> Begun:
    """Return where the fold for a plan begins: behind the newest of some states that knows none of the clicks.

    Args:
        lake: has the rows.
        plan: the replay.
        states: files of states; those that do not fit are passed over.
        fingerprint: of the secret key.
        horizon: of the features, microseconds.

    Raises:
        ReplayError: the lake has no rows of the plan.
        TableError: the lake cannot be read.
    """
    known = Sequences(lake, plan.rows)
    wanted = asked_for(known, plan)
    fitting: list[tuple[int, Path]] = []
    for path in states:
        try:
            sequence = snapshot_sequence(path, fingerprint=fingerprint)
        except FeatureError:
            continue
        if sequence <= wanted.needed:
            fitting.append((sequence, path))
    for sequence, path in sorted(fitting, reverse=True):
        stretch = reaching(known, wanted, sequence)
        # Rows that reach back to a state without a gap are those that were folded behind it.
        if not stretch.missing or stretch.missing[0][0] > sequence:
            return Begun(stretch, path)
    return Begun(from_time(known, wanted, plan.start - 2 * horizon), None)


def recompute(
    lake: Lake,
    plan: Plan,
    decider: Decider,
    store: EmbeddedStore,
    begun: Begun,
    progress: Progress = lambda _clicks: None,
) -> Iterator[Again]:
    """Fold the clicks again and decide those of a plan.

    What a list rule hit holds as it was journalled. A click that cannot be measured now either is left as it is.

    Args:
        lake: has what was journalled.
        plan: the replay.
        decider: decides.
        store: the decider's, which has folded nothing yet.
        begun: what is folded, see `begin`.
        progress: told how many more clicks are folded.

    Raises:
        FeatureError: the state that the fold begins from cannot be read.
        ReplayError: clicks that were folded are missing and the plan asks for all of them, or the lake lacks
            decisions, keys, contexts or the slices of clicks.
        TableError: the lake cannot be read.
    """
    stretch = begun.stretch
    if stretch.missing and not plan.incomplete:
        raise missing_error(stretch)
    contexts, slicing = Contexts(lake), Slicing(lake, decider)
    clicks = read_clicks(lake, stretch, decider.encoding, contexts, decider.pseudonymiser, plan.rows)
    if begun.state is not None:
        store.restore(begun.state, fingerprint=decider.pseudonymiser.fingerprint)
    elif stretch.first > 0:
        # Nothing is known of the clicks before these: rows are sound a horizon later.
        store.forget(tuple(store.since), int(clicks.batch.times[clicks.order[:_SETTLED]].max(initial=0)))
    result = fold_again(clicks, decider, progress)
    place = 0
    for part, count in clicks.parts:
        begins, place = place, place + count
        inside = (clicks.batch.times[begins:place] >= plan.start) & (clicks.batch.times[begins:place] < plan.end)
        if not inside.any():
            continue
        rows = read_part(lake, ROWS, part, _COLUMNS, version=plan.rows)
        numbered = rows_at(rows.append_column("place", pa.array(np.arange(begins, place))), np.flatnonzero(inside))
        held = read_decided(lake, part, numbered)
        first, mine = answered(held, numbered)
        places = mine["place"].to_numpy()
        doubts = result.doubts[places]
        # A click that was folded with identifiers and has none now was erased: it keeps what was decided of it.
        told = pc.equal(pc.binary_join(first["reasons"], ","), NO_IDENTIFIERS)
        nameless = pc.or_(told, pc.is_null(first["sequence"])).to_numpy() | listed(first)
        measured = (doubts == 0) | ((doubts == _NAMELESS) & nameless)
        first, places, doubts = rows_at(first, np.flatnonzero(measured)), places[measured], doubts[measured]
        first = _with_hits(first, places, result.hits, decider)
        sequences = np.asarray(first["sequence"].fill_null(-1).to_numpy(), np.int64)
        scored = Scored(result.scores[places], doubts, sequences)
        yield Again(held, judge(decider.bundle.id, first, scored, slicing.of(first)), int((~measured).sum()))


def fold_again(clicks: Clicks, decider: Decider, progress: Progress) -> Result:
    """Fold clicks in their order, and score them; a repeat of a click that was folded here reads as that one."""
    scores = np.full(len(clicks.batch), np.nan, np.float32)
    doubts = np.full(len(clicks.batch), np.uint8(Soundness.STATE_COLD))
    same, hits = clicks.same.copy(), dict[int, tuple[str, ...]]()
    # Places of the clicks that were numbered here, from the first number on.
    numbered, known, base = np.empty(len(clicks.order), np.int64), 0, -1
    for start in range(0, len(clicks.order), _CHUNK):
        places = clicks.order[start : start + _CHUNK]
        batch = clicks.batch.take(places)
        folded = decider.store.fold(batch)
        fresh = ~folded.repeats
        if base < 0 and fresh.any():
            base = int(folded.sequences[fresh][0])
        numbered[known : known + np.count_nonzero(fresh)] = places[fresh]
        known += int(np.count_nonzero(fresh))
        for place, number in zip(places[~fresh].tolist(), folded.sequences[~fresh].tolist(), strict=True):
            if 0 <= base <= number:
                same[place] = numbered[number - base]
        scores[places] = decider.scores(folded.rows, np.ones(len(places), np.bool_))
        doubts[places] = doubts_of(batch, folded.soundness)
        if not clicks.folded[places].all():
            found = decider.counted_hits(batch)
            hits |= {
                place: found[at] for at, place in enumerate(places.tolist()) if not clicks.folded[place] and found[at]
            }
        progress(len(places))
    return Result(scores[same], doubts[same], hits)


def _with_hits(
    first: pa.Table, places: NDArray[np.int64], hits: dict[int, tuple[str, ...]], decider: Decider
) -> pa.Table:
    """Return what clicks were answered, but where list rules that count hit them, which nobody could know, that."""
    if not hits:
        return first
    found = {at: hits[place] for at, place in enumerate(places.tolist()) if place in hits}
    columns = {name: first[name].to_pylist() for name in ("lists", "verdict", "reasons")}
    for at, names in found.items():
        lists = (*columns["lists"][at], *names)
        verdict, reasons = decider.general(lists)
        columns["lists"][at], columns["verdict"][at], columns["reasons"][at] = lists, verdict.value, reasons
    for name, values in columns.items():
        first = first.set_column(first.column_names.index(name), name, pa.array(values, first[name].type))
    return first
