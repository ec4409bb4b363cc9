"""Command of exercise: drill."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from slidr.cli.options import Outcome, printed
from slidr.drills import play, stories
from slidr.drills.stage import prepare
from slidr.drills.timeline import Event
from slidr.errors import ServiceError, SettingsError


@click.command(short_help="Play an incident against real processes on simulated traffic.")
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="Say which drills there are.")
@click.option("--clicks", type=click.IntRange(2_000), default=10_000, show_default=True, help="Clicks of the day.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same traffic.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="An empty or missing folder in which everything stays; without it nothing does.",
)
@printed
def drill(name: str | None, *, listing: bool, clicks: int, seed: int, folder: Path | None) -> Outcome:
    """Let something go wrong in a project of its own, and put it right; what happens is printed as it happens.

    The champion is learnt from nine simulated days, and a service decides the eleventh; the clock of it all is the
    drill's. Exit status 1 where the drill leaves a trace: a decision that differs, or a cent.
    """
    known = stories()
    if listing or name is None:
        return Outcome(tabulate(known.items(), tablefmt="plain"), known)
    if name not in known:
        raise SettingsError(f"there is no drill {name!r}; `slidr drill --list` names them")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty; name a new folder with --folder")
    place = folder or Path(tempfile.mkdtemp(prefix="slidr-drill-")) / "project"
    events: list[Event] = []
    # The timeline tells what the monitor would log.
    logging.getLogger("slidr").addHandler(logging.NullHandler())

    def told(event: Event) -> None:
        events.append(event)
        click.echo(str(event), err=True)

    try:
        figures = play(name, prepare(place, clicks, seed, told))
    except ServiceError as fault:
        raise ServiceError(f"{fault}; keep what it left with --folder") from None
    finally:
        if folder is None:
            shutil.rmtree(place.parent, ignore_errors=True)
    left = figures.get("settled_differences", 0) or figures.get("adjustment_error_cents", 0)
    left_over = f"drill {name} left a trace, which is a fault of slidr: please report it" if left else None
    return Outcome(
        tabulate([(key, _written(value)) for key, value in figures.items()], tablefmt="plain", disable_numparse=True),
        {"drill": name, **figures, "timeline": [event._asdict() for event in events]},
        left_over,
    )


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
