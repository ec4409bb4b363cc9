"""Command of the monitor: monitor."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from tabulate import tabulate

from slidr.cli.options import journals_option, settings_option
from slidr.clock import SECOND, SystemClock
from slidr.features.catalogue import default_catalogue
from slidr.features.keys import Pseudonymiser, read_secrets
from slidr.features.layout import compile_catalogue
from slidr.journals import journals_at
from slidr.lake.delta import Lake
from slidr.monitor import Monitor, Seen
from slidr.registry import open_registry
from slidr.report.numerals import count
from slidr.service.log import set_up
from slidr.settings import Settings

_OPEN = 4
"""Exit status of --once where an alarm is open."""


@click.command(short_help="Watch what services decide; alarm, and roll back where that is allowed.")
@settings_option
@journals_option("; repeat it for all processes")
@click.option("--once", is_flag=True, help="Look once and end, for a scheduler; exit status 4 while an alarm is open.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines, with --once.")
def monitor(settings: Settings, *, journals: tuple[Path, ...], once: bool, as_json: bool) -> None:
    """Watch what the services decide, until SIGTERM or Ctrl-C: by slice and minute, beside what the bundle expects.

    The journals are only read, beside the services that write them; those that appear later are read too. An alarm is
    logged, shown to Prometheus, and posted to monitor.webhook.
    """
    set_up(settings.service.log, settings.service.log_level)
    address = os.environ.get("SLIDR_WEBHOOK", settings.monitor.webhook)
    settings = msgspec.structs.replace(settings, monitor=msgspec.structs.replace(settings.monitor, webhook=address))
    own = Path(settings.storage.journal)
    watching = Monitor(
        settings,
        SystemClock(),
        open_registry(settings),
        lambda: journals or journals_at(own) or (own,),
        partial(_hashes, settings),
        Lake(settings.storage.lake),
    )
    try:
        if once:
            seen = watching.look()
            click.echo(msgspec.json.encode(_document(seen)).decode() if as_json else _text(seen))
        else:
            _run(watching, settings.monitor.every_seconds)
            return
    finally:
        watching.close()
    if seen.open:
        sys.exit(_OPEN)


def _run(watching: Monitor, seconds: float) -> None:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    sys.stdout.write("slidr monitor watches\n")
    sys.stdout.flush()
    while not stopping.is_set():
        watching.look()
        stopping.wait(seconds)


def _hashes(settings: Settings, now: int) -> Pseudonymiser:
    """Return what the services hash accounts with; the key file is read anew, for keys rotate."""
    layout = compile_catalogue(default_catalogue(settings.features))
    return read_secrets(Path(settings.storage.key_file)).at(now, layout.horizon)


def _document(seen: Seen) -> dict[str, Any]:
    return {
        "champion": seen.champion,
        "entries": seen.taken.entries,
        "clicks": seen.taken.clicks,
        "purchasing_clicks": seen.taken.purchases,
        "watched": [
            {"key": one.key, **one._asdict(), "excursion": one.excursion._asdict(), "sharp": one.sharp}
            for one in seen.deviations
        ],
        "alarms": msgspec.to_builtins(seen.open),
        "rolled_back_to": seen.rolled_back,
        "held_back": seen.held_back,
    }


def _text(seen: Seen) -> str:
    taken = seen.taken
    lines = [
        (
            f"champion {seen.champion or 'none'}: {count(taken.clicks, 'click')} new, "
            f"{count(taken.purchases, 'purchasing click')} known newly, {len(seen.deviations)} series watched"
        )
    ]
    if seen.rolled_back:
        lines.append(f"rolled back: {seen.rolled_back} decides")
    if seen.held_back:
        lines.append(f"not rolled back: {seen.held_back}")
    rows = [
        (one.key, f"{datetime.fromtimestamp(one.at // SECOND, UTC):%Y-%m-%d %H:%M}", one.message) for one in seen.open
    ]
    table = (
        tabulate(rows, ("alarm", "since (UTC)", "what is wrong"), disable_numparse=True) if rows else "no alarm is open"
    )
    return "\n\n".join(["\n".join(lines), table])
