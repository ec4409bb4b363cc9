"""Replaying: clicks a second through rescore and recompute on one core, and whether an incident leaves a trace.

    python -m benchmarks.operations.replays [--clicks 1000000]

Simulated clicks of a day are decided by a bundle of the default size, journalled, shipped and compacted. Of a second
such log, a stretch is decided by a bundle with thresholds set by hand, and another one is not decided in time: what
`recompute` then settles is compared click by click with the first. The decisions are made in this process, since a
replay reads nothing but the lake; the drills send them to a service. Nothing is written in the timed runs (as with
--dry-run), and the network is a part of both. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.budgets import show
from benchmarks.log import days
from benchmarks.machine import pin
from benchmarks.service.serving import SECRET, make_bundle

from slidr.batch import decide_table
from slidr.bundle import Bundle, Parts, write_bundle
from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.decide import Decider
from slidr.features.catalogue import default_catalogue
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.snapshot import write_snapshot
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.lake.settled import settled
from slidr.lake.upkeep import compact
from slidr.replay.again import Again
from slidr.replay.plan import Plan
from slidr.replay.recompute import begin, recompute
from slidr.replay.rescore import rescore
from slidr.replay.running import preview, publish
from slidr.service.answers import DEADLINE, Recorder
from slidr.settings import Settings
from slidr.ship import ship
from slidr.tables import ADJUSTMENTS, DECISIONS, INVALID, ROWS

KEY = Pseudonymiser(SECRET)
CATALOGUE = default_catalogue(Settings().features)
BATCH = 4096
NOW = 1_780_000_000 * SECOND


def main() -> None:
    """Make the logs, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=1_000_000)
    show("operations", measured(parser.parse_args().clicks))


def measured(clicks: int) -> dict[str, float]:
    """Return the figures of a log of about this many clicks."""
    pin()
    folder = Path(tempfile.mkdtemp(prefix="slidr-replays-"))
    try:
        log = pa.concat_tables(days(clicks))
        log = log.select([name for name in Click.__struct_fields__ if name in log.column_names])
        good = make_bundle(folder / "bundles")
        undisturbed = served(folder / "undisturbed", log, [(0.0, good)])
        plan = plan_of(undisturbed, good, "rescore")
        rescored = speed(undisturbed, plan, good, lambda decider, _store: rescore(undisturbed, plan, decider))
        again = msgspec.structs.replace(plan, method="recompute")
        recomputed = speed(
            undisturbed, again, good, lambda decider, store: folded_again(undisturbed, again, decider, store)
        )
        return {
            "clicks": log.num_rows,
            "rescore_cps": rescored,
            "recompute_cps": recomputed,
            "score_cps": scoring(good, log.num_rows),
            **incident(folder, log, good, undisturbed),
        }
    finally:
        shutil.rmtree(folder)


def served(folder: Path, log: pa.Table, deciding: list[tuple[float, Bundle | None]]) -> Lake:
    """Return the compacted lake of a service.

    Args:
        folder: for journal, lake and the state of the middle of the log.
        log: the clicks.
        deciding: from which share of the log on who decides; None where nobody does in time.
    """
    lake, store = Lake(str(folder / "lake")), EmbeddedStore(compile_catalogue(CATALOGUE), 100_000)
    deciders = {one.id: Decider(one, store, KEY) for _, one in deciding if one is not None}
    with Journal(folder / "journal.sqlite") as journal:
        for decider in deciders.values():
            journal.declare(decider.context)
        recorder, starts = Recorder("j"), [int(share * log.num_rows) for share, _ in deciding]
        for first in range(0, log.num_rows, BATCH):
            part = log.slice(first, BATCH)
            clicks = msgspec.convert(part.to_pylist(), list[Click])
            bundle = deciding[int(np.searchsorted(starts, first, side="right")) - 1][1]
            if first <= log.num_rows // 10 < first + BATCH:
                write_snapshot(folder / "state.npz", store.state(KEY.fingerprint))
            if bundle is None:
                decided = next(iter(deciders.values())).unmeasured(clicks, DEADLINE)
            else:
                (decided,) = decide_table(deciders[bundle.id], part)
            journal.append(recorder.entries(decided, clicks, NOW - DAY + first))
        ship(lake, [journal], clock=ManualClock(NOW), keep=25 * HOUR)
    compact(lake, lake.days(ROWS)[-1] + timedelta(days=1))
    return lake


def plan_of(lake: Lake, bundle: Bundle, method: str) -> Plan:
    """Return the plan of a replay over everything."""
    span = {"start": 0, "end": NOW}
    return msgspec.convert(
        {"id": "one", "method": method, "bundle": bundle.id, **span, "rows": lake.version(ROWS), "at": NOW}, Plan
    )


def speed(lake: Lake, plan: Plan, bundle: Bundle, again: Callable[[Decider, EmbeddedStore], Iterable[Again]]) -> float:
    """Return clicks a second of a replay that writes nothing; the second of two runs, when all is compiled."""
    del lake
    seconds, clicks = 0.0, 0
    for _ in range(2):
        store = EmbeddedStore(compile_catalogue(CATALOGUE), 100_000)
        decider = Decider(bundle, store, KEY)
        began = time.perf_counter()
        outcome = preview(plan, again(decider, store))
        seconds, clicks = time.perf_counter() - began, sum(outcome.tally.clicks.values())
        assert not outcome.tally.corrected, "a replay by the bundle that decided changes nothing"
    return round(clicks / seconds)


def folded_again(
    lake: Lake, plan: Plan, decider: Decider, store: EmbeddedStore, states: tuple[Path, ...] = ()
) -> Iterable[Again]:
    """Return the clicks of a plan, folded again."""
    begun = begin(lake, plan, states, KEY.fingerprint, decider.layout.horizon)
    return recompute(lake, plan, decider, store, begun)


def scoring(bundle: Bundle, clicks: int) -> float:
    """Return clicks a second through the network alone."""
    decider = Decider(bundle, EmbeddedStore(compile_catalogue(CATALOGUE)), KEY)
    rows = np.random.default_rng(1).random((min(clicks, 200_000), len(decider.layout.names)), np.float32)
    asked = np.ones(len(rows), np.bool_)
    decider.scores(rows, asked)
    began = time.perf_counter()
    decider.scores(rows, asked)
    return round(len(rows) / (time.perf_counter() - began))


def incident(folder: Path, log: pa.Table, good: Bundle, undisturbed: Lake) -> dict[str, Any]:
    """Return what is left of a log of which a part was decided by a bad bundle, and a part was not decided in time."""
    parts = {name: getattr(good, name) for name in Parts.__struct_fields__}
    strict = tuple(msgspec.structs.replace(one, threshold=0.01) for one in good.thresholds)
    bad = write_bundle(folder / "bundles", Parts(**{**parts, "thresholds": strict}), created_at=0, version="0")
    lake = served(folder / "disturbed", log, [(0.0, good), (0.3, bad), (0.5, None), (0.6, good)])
    plan = plan_of(lake, good, "recompute")
    store = EmbeddedStore(compile_catalogue(CATALOGUE), 100_000)
    decider = Decider(good, store, KEY)
    answers, wanted = said(lake), said(undisturbed)
    again = folded_again(lake, plan, decider, store, (folder / "disturbed" / "state.npz",))
    began = time.perf_counter()
    publish(lake, plan, again, "UTC")
    seconds = time.perf_counter() - began
    held = said(lake)
    owed = pc.sum(lake.read(ADJUSTMENTS)["cost"]).as_py()
    names = ("verdict", "score", "threshold", "slice", "bundle")
    return {
        "incident_clicks_wrong": differing(answers, wanted, ("verdict",)),
        "incident_seconds": round(seconds, 1),
        "settled_differences": differing(held, wanted, names),
        "adjustment_error_cents": abs(owed - (billed(answers) - billed(wanted))) / 10_000,
    }


def said(lake: Lake) -> pa.Table:
    """Return the decisions that hold, by click_id."""
    return settled(lake.read(DECISIONS)).sort_by("click_id")


def differing(one: pa.Table, other: pa.Table, names: tuple[str, ...]) -> int:
    """Return how many clicks differ in any of some columns."""
    assert one["click_id"].equals(other["click_id"]), "both lakes hold the same clicks"
    differs = np.zeros(one.num_rows, np.bool_)
    for name in names:
        same = pc.equal(one[name], other[name]).fill_null(False)
        differs |= ~pc.or_(same, pc.and_(pc.is_null(one[name]), pc.is_null(other[name]))).to_numpy()
    return int(np.count_nonzero(differs))


def billed(decisions: pa.Table) -> int:
    """Return what the clicks cost that are billed, in micros."""
    valid = pc.invert(pc.is_in(decisions["verdict"], value_set=pa.array(INVALID)))
    return int(pc.sum(decisions.filter(valid)["cost"]).as_py())


if __name__ == "__main__":
    main()
