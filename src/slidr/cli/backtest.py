"""The command of the backtest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from slidr.backtest.judging import backtest as run_backtest
from slidr.backtest.page import told
from slidr.backtest.plan import Asked
from slidr.billing.figures import DIMENSIONS
from slidr.billing.periods import begun, period
from slidr.cli.options import Bars, Outcome, printed, settings_option
from slidr.clock import SystemClock
from slidr.registry import open_registry
from slidr.report.document import as_html, as_text
from slidr.settings import Settings

_SHOWN = 12  # groups in a terminal


@click.command(short_help="Say what other false-positive budgets would have refunded in the past.")
@settings_option
@click.argument("wanted", metavar="PERIOD")
@click.option(
    "--budget", "budgets", type=float, multiple=True, help="Share of purchasing clicks; repeat it.  [settings]"
)
@click.option("--by", multiple=True, type=click.Choice(DIMENSIONS), help="Group by this; repeat it.  [campaign]")
@click.option(
    "--rows",
    "source",
    type=click.Choice(["lake", "journal"]),
    default="lake",
    show_default=True,
    help="Score the features of backfill, or the rows that services journalled.",
)
@click.option("--bundle", help="Score by the network of this bundle.  [the newest that had not seen the days]")
@click.option(
    "--ranking-days",
    type=click.IntRange(0, 31),
    default=1,
    show_default=True,
    help="Days that rank the clicks for a certificate; with 0, half of the purchasers do.",
)
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write an HTML page, too.")
@printed
def backtest(settings: Settings, wanted: str, *, page: Path | None, **chosen: Any) -> Outcome:
    """Say what each budget would have refunded in PERIOD, and whom it would have hit.

    PERIOD is a month such as 2026-11, or a day such as 2026-11-23, in the time zone of the settings. Each day is judged
    by thresholds that are set on days before it, by a network that had seen neither: never on the day itself.
    """
    chosen_period, now = period(wanted, settings.timezone), SystemClock().now()
    begun(chosen_period, now)
    asked = Asked(
        chosen_period,
        tuple(dict.fromkeys(chosen["budgets"])) or (settings.calibration.fpr_budget,),
        tuple(dict.fromkeys(chosen["by"])) or ("campaign",),
        chosen["source"],
        chosen["ranking_days"],
        chosen["bundle"],
    )
    bars = Bars()
    found = run_backtest(settings, open_registry(settings), asked, now=now, progress=bars)
    bars.close()
    if page is not None:
        page.write_text(as_html(told(found)), encoding="utf-8")
    return Outcome(as_text(told(found, _SHOWN)), msgspec.to_builtins(found))
