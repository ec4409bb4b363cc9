"""Commands of the logs: simulate, ingest, collect."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from slidr.cli.options import Bars, Outcome, journals_option, printed, settings_option
from slidr.clock import SystemClock
from slidr.collect import collect as collect_purchases
from slidr.features.keys import read_secrets
from slidr.ingest import ingest as ingest_log
from slidr.journal import Journal
from slidr.journals import journals_at
from slidr.lake.delta import Lake
from slidr.settings import Settings
from slidr.simulate.faults import parse_fault
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan


@click.command(short_help="Write a click log and a purchase log whose truth is known.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--clicks", default=1_000_000, show_default=True, help="Clicks of the counted days, about.")
@click.option("--days", default=9, show_default=True, help="Counted days, after thirty of burn-in.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--newcomer", default="", help="A robot family that makes no click before the eighth counted day.")
@click.option("--fault", "faults", multiple=True, help="What goes wrong, as kind:day, such as late_feed:8; repeatable.")
@printed
def simulate(folder: Path, clicks: int, days: int, seed: int, newcomer: str, faults: tuple[str, ...]) -> Outcome:
    """Write simulated logs as Parquet files, a file a day, to FOLDER/clicks and FOLDER/purchases.

    The truth goes to FOLDER/truth, which no stage of the flow reads; only `slidr judge --truth` may. Faults are
    missing_purchases, duplicated_feed, late_feed and clock_skew; docs/simulator.md says what each does.
    """
    plan = Plan(clicks=clicks, days=days, newcomer=newcomer, faults=tuple(map(parse_fault, faults)))
    bars = Bars()
    written = write_traffic(plan, np.random.default_rng(seed), folder, bars)
    bars.close()
    return Outcome(tabulate(list(written.items()), tablefmt="plain", intfmt=","), written)


@click.command(short_help="Read the logs through the door into the lake.")
@settings_option
@printed
def ingest(settings: Settings) -> Outcome:
    """Read the click log and the purchase log of the settings into the lake.

    Rows that cannot be used are rejected, counted and shown. A row of the same id on the same day is replaced, so that
    reading a log twice is as reading it once. Sources: talkingdata, weblog, table.
    """
    bars = Bars()
    log = ingest_log(settings, Lake(settings.storage.lake), SystemClock(), bars.counting("ingest"))
    bars.close()
    document = {
        "clicks": log.clicks.num_rows,
        "purchases": log.purchases.num_rows,
        "rejected": log.rejections.total,
        "rejections": list(log.rejections.summary()),
    }
    lines = [f"{log.clicks.num_rows:,} clicks and {log.purchases.num_rows:,} purchases in {settings.storage.lake}"]
    lines += [f"rejected: {line}" for line in log.rejections.summary()]
    return Outcome("\n".join(lines), document)


@click.command(short_help="Put the purchases reported to the service into the lake.")
@settings_option
@journals_option("; repeat it for all processes")
@printed
def collect(settings: Settings, *, journals: tuple[Path, ...]) -> Outcome:
    """Put the purchases that were reported to the service into the lake, once each, however often this runs.

    The service may run meanwhile. Run it before `slidr daily`, and after `slidr ingest`: journals know accounts by
    their hashes alone, and the clicks of the lake say whose they are.
    """
    with ExitStack() as stack:
        own = Path(settings.storage.journal)
        opened = [stack.enter_context(Journal(path, write=False)) for path in journals or journals_at(own) or (own,)]
        done = collect_purchases(Lake(settings.storage.lake), opened, read_secrets(Path(settings.storage.key_file)))
    text = f"{done.new:,} new of {done.reported:,} purchases reported since the last time, in {settings.storage.lake}"
    if done.named:
        text += f"\n{done.named:,} earlier ones have found their account's name"
    if done.unnamed:
        text += f"\n{done.unnamed:,} are of accounts without a click in the lake's last month"
    return Outcome(text, done._asdict())
