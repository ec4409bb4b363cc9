"""Clicks a second through the default catalogue on one core, from strings to rows, and what the state takes.

    python -m benchmarks.features [--days 1 10 50]

Each run has a process of its own and is fed a simulated log of a million clicks a day, chunk by chunk; the clock runs
while a chunk is encoded and folded. The figures without a size are those of ten days. Time is wall-clock, the best of
the runs, since what disturbs a run only slows it; `spread` is the worst over the best, and a busy neighbour lengthens
`processor_seconds` least. `fold_clicks_per_second` leaves out the hashing of identifiers. `ratio_duckdb` and
`ratio_polars` are from `benchmarks.windows`.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from benchmarks.budgets import show
from benchmarks.log import DAY, streamed
from benchmarks.machine import apart, peak_rss_mb, pin, seconds_of

from slidr.features.backfill import encode_table
from slidr.features.catalogue import default_catalogue
from slidr.features.distinct import LIVE
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.settings import FeaturesSettings

HEADLINE = 10
SIZES = (1, HEADLINE, 50)
"""Lengths of the logs, days; the figures without a size are those of HEADLINE."""
MOST_RUNS, RUN_DAYS = 3, 25
"""A log is run up to three times, and less often where that would be more than 25 days in all."""


def fold_log(clicks: int) -> dict[str, float]:
    """Fold a log of about this many clicks into a fresh store and return the figures of the run."""
    layout = compile_catalogue(default_catalogue(FeaturesSettings()))
    pseudonymiser = Pseudonymiser(bytes(16))
    store, folded, encoding, folding, processor = EmbeddedStore(layout), 0, 0.0, 0.0, 0.0
    with streamed(clicks) as chunks:
        for chunk in chunks:
            if not folded:  # compiles or loads the kernels
                EmbeddedStore(layout).fold(encode_table(chunk.slice(0, 1000), layout, pseudonymiser))
            processor -= time.process_time()
            seconds, batch = seconds_of(encode_table, chunk, layout, pseudonymiser)
            encoding += seconds
            folding += seconds_of(store.fold, batch)[0]
            processor += time.process_time()
            folded += len(batch)
    entities = sum(int(block.used[LIVE]) for block in store.blocks)
    return {
        "clicks": folded,
        "seconds": round(encoding + folding, 2),
        "processor_seconds": round(processor, 2),
        "clicks_per_second": round(folded / (encoding + folding)),
        "fold_clicks_per_second": round(folded / folding),
        "peak_rss_mb": peak_rss_mb(),
        "entities": entities,
        "bytes_per_entity": round(sum(block.bytes for block in store.blocks) / entities, 1),
    }


def measure(days: int) -> dict[str, float]:
    """Return the figures of the best run over a log of so many days."""
    runs = []
    for _ in range(max(1, min(MOST_RUNS, RUN_DAYS // days))):
        runs.append(apart(fold_log, days * DAY))
        print("{clicks:,} clicks in {seconds:,} s, {peak_rss_mb:,} MB".format(**runs[-1]), flush=True)
    best, worst = (choose(runs, key=lambda run: run["seconds"]) for choose in (min, max))
    return best | {"spread": round(worst["seconds"] / best["seconds"], 2)}


def compare() -> dict[str, object]:
    """Return what `benchmarks.windows` prints last."""
    command = [sys.executable, "-m", "benchmarks.windows"]
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603 our own module
    figures: dict[str, object] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--days", type=int, nargs="+", default=SIZES, help="lengths of the logs, a million clicks a day"
    )
    chosen = parser.parse_args()
    pin()
    by_size = {days: measure(days) for days in chosen.days}
    whole = by_size.get(HEADLINE, by_size[chosen.days[-1]])
    features = len(compile_catalogue(default_catalogue(FeaturesSettings())).names)
    sizes = {str(days * DAY): figures for days, figures in by_size.items()}
    show("features", {"features": features, **whole, **compare(), "by_size": sizes})


if __name__ == "__main__":
    main()
