"""Command of batch decisions: decide."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time
from pathlib import Path

import click
import pyarrow as pa
from tabulate import tabulate

from slidr.batch import decide_table, decisions_table
from slidr.cli.options import Bars, Outcome, printed, settings_option
from slidr.clock import DAY, SECOND, SystemClock
from slidr.contest import read_champion
from slidr.decide import deciders, union_layout
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

    A day that holds decisions of the service, or corrections of any, is refused: `slidr replay` decides it again.
    The clicks before the day are folded first, so that its rows are those of a service that had seen them all.
    """
    bars = Bars()
    lake = Lake(settings.storage.lake)
    chosen: date = day.date()
    start = int(datetime.combine(chosen, time(), UTC).timestamp()) * SECOND
    clicks = lake.read(CLICKS, start=start, end=start + DAY)
    if clicks.num_rows == 0:
        raise TableError(f"{settings.storage.lake} holds no clicks of {chosen}")
    seen = _refuse_answered(lake, chosen)
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
    lake.write(DECISIONS, decided, day=chosen, seen=seen)
    verdicts = dict(Counter(decided["verdict"].to_pylist()).most_common())
    table = tabulate(verdicts.items(), headers=("verdict", "clicks"), intfmt=",")
    return Outcome(f"{table}\n\ndecisions in {settings.storage.lake}, by bundle {bundle.id}", verdicts)


def _refuse_answered(lake: Lake, day: date) -> int | None:
    """Return the version of DECISIONS, none where there is no such table, unless the day holds more than this writes.

    Raises:
        TableError: the service has decided clicks of the day, or a decision of it was corrected or reviewed.
    """
    if not lake.exists(DECISIONS):
        return None
    seen = lake.version(DECISIONS)
    start = int(datetime.combine(day, time(), UTC).timestamp()) * SECOND
    columns = ["cause", "supersedes", "journal"]
    held = lake.read(DECISIONS, start=start, end=start + DAY, columns=columns, version=seen)
    causes = sorted(
        {
            row["cause"]
            for row in held.group_by(columns).aggregate([]).to_pylist()
            if row["journal"] is not None or row["supersedes"] is not None or not row["cause"].startswith("replay:")
        }
    )
    if causes:
        raise TableError(
            f"{lake.address(DECISIONS)} holds decisions of {day} with the causes {', '.join(causes)}, which were"
            " answered or corrected and stay; use `slidr replay` to decide the day again"
        )
    return seen
