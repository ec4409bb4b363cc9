"""Command of batch decisions: decide."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time
from pathlib import Path

import click
import pyarrow as pa
from tabulate import tabulate

from slidr.cli.options import Bars, Outcome, printed, settings_option
from slidr.clock import DAY, SECOND, SystemClock
from slidr.daily.batch import decide_table, decisions_table
from slidr.decide import deciders, read_champion, union_layout
from slidr.errors import TableError
from slidr.features.backfill import fold_log
from slidr.features.keys import read_secrets
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.lake.delta import Lake
from slidr.rules import prepare_rules
from slidr.settings import Settings, duration
from slidr.tables import CLICKS, DECISIONS


@click.command(short_help="Decide the clicks of a day in batch.")
@settings_option
@click.argument("day", type=click.DateTime(formats=["%Y-%m-%d"]))
@printed
def decide(settings: Settings, day: datetime) -> Outcome:
    """Decide the clicks of DAY with the champion and write DECISIONS.

    The clicks before the day are folded first, so that its rows are those of a service that had seen them all.
    """
    bars = Bars()
    lake = Lake(settings.storage.lake)
    chosen: date = day.date()
    start = int(datetime.combine(chosen, time(), UTC).timestamp()) * SECOND
    clicks = lake.read(CLICKS, start=start, end=start + DAY)
    if clicks.num_rows == 0:
        raise TableError(f"{settings.storage.lake} holds no clicks of {chosen}")
    bundle = read_champion(settings.storage.registry, Path(settings.storage.bundles))
    pseudonymiser = read_secrets(Path(settings.storage.key_file)).newest
    features = settings.features
    slow = SlowTables(Path(settings.storage.slow), duration(features.slow_age), pseudonymiser.fingerprint)
    rules = prepare_rules(settings.rules)
    store = EmbeddedStore(union_layout([bundle], rules), most=features.most_entities, slow=slow)
    counting = bars.counting("warm up", sum(held.rows for day, held in lake.contents(CLICKS).items() if day < chosen))
    for _ in fold_log(lake.batches(CLICKS, end=start), store.layout, pseudonymiser, store, progress=counting):
        pass
    (decider,) = deciders([bundle], lambda _layout: store, pseudonymiser, rules)
    now = SystemClock().now()
    decided = pa.concat_tables(
        decisions_table(part, decided_at=now, cause=f"replay:{bundle.id}")
        for part in decide_table(decider, clicks, bars.counting("decide", clicks.num_rows))
    )
    bars.close()
    lake.write(DECISIONS, decided, day=chosen)
    verdicts = dict(Counter(decided["verdict"].to_pylist()).most_common())
    table = tabulate(verdicts.items(), headers=("verdict", "clicks"), intfmt=",")
    return Outcome(f"{table}\n\ndecisions in {settings.storage.lake}, by bundle {bundle.id}", verdicts)
