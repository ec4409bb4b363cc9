"""Commands of the lake's records: ship, compact."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from slidr.cli.options import Outcome, journals_option, printed, settings_option
from slidr.clock import HOUR, SECOND, SystemClock
from slidr.journal import Journal
from slidr.journals import journals_at
from slidr.lake.delta import Lake
from slidr.lake.upkeep import compact as compact_days
from slidr.lake.upkeep import expire, vacuum
from slidr.settings import Settings, duration
from slidr.ship import ship as ship_journals


@click.command(short_help="Put the journalled decisions into the lake.")
@settings_option
@journals_option("; repeat it for all processes")
@printed
def ship(settings: Settings, *, journals: tuple[Path, ...]) -> Outcome:
    """Put the decisions of journals into the lake, each exactly once, however often and by however many this runs.

    The service may run meanwhile. What is in the lake, in a snapshot of the state and older than lake.journal_keep may
    leave the journal: a service shortens its own; that of a service which is stopped is shortened here.
    """
    own = Path(settings.storage.journal)
    state = None if settings.store.redis else Path(settings.storage.state)
    with ExitStack() as stack:
        opened = [stack.enter_context(Journal(path, write=False)) for path in journals or journals_at(own) or (own,)]
        keep = duration(settings.lake.journal_keep)
        lake = Lake(settings.storage.lake)
        done = ship_journals(lake, opened, clock=SystemClock(), keep=keep, state=state if len(opened) == 1 else None)
    lines = [f"{done.entries:,} decisions into {settings.storage.lake}"]
    lines += [f"{one.removed:,} old ones left {one.path}" for one in done.journals if one.removed]
    document = {
        "entries": done.entries,
        "latest": done.latest,
        "journals": [{**one._asdict(), "path": str(one.path), **one.shipped._asdict()} for one in done.journals],
    }
    return Outcome("\n".join(lines), document)


@click.command(short_help="Sort the lake's decisions for look-ups, and remove days that are too old.")
@settings_option
@printed
def compact(settings: Settings) -> Outcome:
    """Sort each past day of decisions by click_id into few files, and remove days older than lake.keep_months.

    It may run beside all else, and be ended at any moment: a day is replaced by one commit or stays. A day that is
    written to meanwhile is left for the next time.
    """
    lake, now = Lake(settings.storage.lake), SystemClock().now()
    # Decisions of the last hour are still on their way.
    today = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=(now - HOUR) // SECOND)).date()
    removed = expire(lake, today, settings.lake.keep_months) if settings.lake.keep_months else {}
    done = compact_days(lake, today)
    deleted = vacuum(lake, settings.lake.vacuum_hours)
    lines = [f"{one.table} of {one.day}: {one.rows:,} rows sorted, from {one.files:,} files" for one in done]
    lines += [f"{name}: {len(days):,} days up to {days[-1]} removed" for name, days in removed.items()]
    lines.append(f"{deleted:,} files deleted that nothing reads any more")
    document = {
        "compacted": [{**one._asdict(), "day": str(one.day)} for one in done],
        "removed": {name: [str(day) for day in days] for name, days in removed.items()},
        "deleted": deleted,
    }
    return Outcome("\n".join(lines), document)
