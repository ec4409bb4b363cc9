"""Clicks a second through backfill of the default catalogue, on one core, from encoded strings to rows.

The last line is one JSON object. `fold_clicks_per_second` leaves out the hashing of identifiers. Time is wall-clock,
the best of three runs, since what disturbs a run only slows it; `spread` is the worst over the best.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from benchmarks.budgets import show

from slidr.features.backfill import encode_table, fold_table
from slidr.features.catalogue import default_catalogue
from slidr.features.distinct import LIVE
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.settings import FeaturesSettings
from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan

CLICKS = 1_000_000
RUNS = 3


def main() -> None:
    """Measure and print."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    days = list(simulate(Plan(clicks=CLICKS), np.random.default_rng(1)))
    clicks = pa.concat_tables(day.clicks for day in days)
    layout = compile_catalogue(default_catalogue(FeaturesSettings()))
    pseudonymiser = Pseudonymiser(bytes(16))
    for _ in fold_table(clicks.slice(0, 1000), layout, pseudonymiser, EmbeddedStore(layout)):
        pass  # compiles or loads the kernels
    encoded = encode_table(clicks, layout, pseudonymiser)
    stores: list[EmbeddedStore] = []

    def backfill() -> None:
        stores[:] = [EmbeddedStore(layout)]
        for _ in fold_table(clicks, layout, pseudonymiser, stores[0]):
            pass

    whole = best_of(backfill)
    fold = best_of(lambda: EmbeddedStore(layout).fold(encoded))
    store = stores[0]
    entities = sum(int(block.used[LIVE]) for block in store.blocks)
    result = {
        "clicks": clicks.num_rows,
        "features": len(layout.names),
        "clicks_per_second": round(clicks.num_rows / whole[0]),
        "fold_clicks_per_second": round(clicks.num_rows / fold[0]),
        "spread": round(whole[-1] / whole[0], 2),
        "entities": entities,
        "bytes_per_entity": round(sum(block.bytes for block in store.blocks) / entities, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    show("features", result)


def best_of(measured: Callable[[], object]) -> list[float]:
    """Return the seconds of each run, best first."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        measured()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)


if __name__ == "__main__":
    main()
