"""Commands of the records: history, backup, restore, erase."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from slidr.cli.options import Outcome, account, printed, settings_option
from slidr.clock import SystemClock
from slidr.errors import SettingsError
from slidr.features.keys import KeyRing, read_secrets
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.records.backup import backup as make_backup
from slidr.records.erasure import Erasure
from slidr.records.erasure import erase as erase_account
from slidr.records.history import History, moment
from slidr.records.history import history as find_history
from slidr.records.places import places_of
from slidr.records.restore import restore as put_back
from slidr.registry import open_registry
from slidr.settings import Settings, duration


@click.command(short_help="Show all that the lake holds of a click.")
@click.argument("click_id")
@click.option("--day", required=True, help="UTC day of the click, or its time with a zone.")
@settings_option
@printed
def history(settings: Settings, click_id: str, day: str) -> Outcome:
    """Show a click as it was logged, and all that was decided of it.

    Every decision and which one holds, what a challenger would have decided, the label, the purchases that name it, and
    the adjustments that its corrections went into. What was decided since the last `slidr ship` is not there yet.
    """
    try:
        at = moment(day)
    except ValueError:
        raise SettingsError(f"--day {day!r} is neither a date, such as 2026-03-02, nor a time with its zone") from None
    window = duration(settings.labels.attribution_window)
    found = find_history(Lake(settings.storage.lake), click_id, at, window=window, zone=settings.timezone)
    document = {**found._asdict(), "scanned": [one._asdict() for one in found.scanned]}
    return Outcome("\n".join(_told(found)), document)


@click.command(short_help="Copy everything that cannot be made again.")
@click.argument("destination", type=click.Path(path_type=Path, file_okay=False))
@click.option("--with-key", is_flag=True, help="Copy the secret keys too.")
@click.option("--why", default="", help="The reason, for the audit log.")
@settings_option
@printed
def backup(settings: Settings, destination: Path, *, with_key: bool, why: str) -> Outcome:
    """Copy lake, registry, journals and state as of one moment into a folder that is empty, while all goes on.

    The key file is named in the manifest and not copied: with it, who has the backup can tell whose a hash is. Keep it
    elsewhere; without it the state of the features is lost.
    """
    audit, now = open_registry(settings).audit, SystemClock().now()
    made = make_backup(places_of(settings), destination, at=now, audit=audit.verify().head, with_key=with_key)
    details = {"files": len(made.files), "bytes": made.bytes, "with_key": with_key}
    audit.append("backup", str(destination), at=now, who=account(), why=why, details=details)
    lines = [
        f"{len(made.files):,} files, {made.bytes / 1e6:,.1f} MB in {destination}",
        *(f"{name}: {one.rows:,} rows at version {one.version}" for name, one in made.tables.items()),
        *(f"{name}: {one.entries:,} entries up to click {one.last}" for name, one in made.journals.items()),
        "the secret keys are in it: keep it as safe as them"
        if with_key
        else f"not in it: the secret keys, {made.key_file}; keep a copy elsewhere",
    ]
    return Outcome("\n".join(lines), {**details, "destination": str(destination), "audit": made.audit})


@click.command(short_help="Put a backup in place and verify it.")
@click.argument("source", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--why", default="", help="The reason, for the audit log.")
@settings_option
@printed
def restore(settings: Settings, source: Path, why: str) -> Outcome:
    """Put a backup where the settings keep things, all of which have to be empty, and verify what is then there.

    Every file is checked before anything is written. Start the service afterwards: it goes on where the backup ends.
    """
    places = places_of(settings)
    done = put_back(source, places, _ring(places.key_file))
    audit = open_registry(settings).audit
    manifest, now = done.manifest, SystemClock().now()
    audit.append("restore", str(source), at=now, who=account(), why=why, details={"of": manifest.at})
    records = done.audit.records
    lines = [
        f"{len(manifest.files):,} files, {manifest.bytes / 1e6:,.1f} MB restored and verified",
        f"{len(manifest.tables)} tables, {len(manifest.journals)} journals, {records:,} records of the audit log",
    ]
    document = {"files": len(manifest.files), "bytes": manifest.bytes, "at": manifest.at, "records": records}
    return Outcome("\n".join(lines), document)


@click.command(short_help="Remove a person's fields from lake and journals.")
@click.argument("user")
@click.option("--why", default="", help="The reason, for the audit log, such as the number of the request.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@settings_option
@printed
def erase(settings: Settings, user: str, *, why: str, dry_run: bool) -> Outcome:
    """Remove what names the account USER, as the log has it, or read from the standard input where USER is -.

    Its user, sessions, addresses and user agents leave the lake, their hashes the rows and the journals, and the files
    that held them are deleted. Decisions and adjustments stay, for they name nobody. Stop the services first: their
    journals are changed too. Logs outside the lake, backups and states of the features are not; docs/records.md says
    when these forget.
    """
    if not why and not dry_run:
        raise SettingsError("an erasure goes into the audit log with its reason; give it with --why, or use --dry-run")
    name = sys.stdin.read().strip() if user == "-" else user
    asked = Erasure(name, SystemClock().now(), account(), why)
    places = places_of(settings)
    with ExitStack() as stack:
        journals = [] if dry_run else [stack.enter_context(Journal(path)) for path in places.journals()]
        ring = read_secrets(places.key_file)
        done = erase_account(Lake(places.lake), journals, open_registry(settings).audit, ring, asked, dry=dry_run)
    verb = "would be changed" if dry_run else "were changed"
    lines = [f"{count:,} rows of {table} {verb}" for table, count in done.rows.items()]
    if not dry_run:
        lines.append(f"{done.entries:,} entries and {done.purchases:,} purchases of journals were changed")
        lines.append(f"the audit log names the account {done.subject}")
    return Outcome("\n".join(lines), done._asdict())


def _ring(key_file: Path) -> KeyRing | None:
    return read_secrets(key_file) if "SLIDR_KEY" in os.environ or key_file.exists() else None


def _told(found: History) -> list[str]:
    lines = [f"click {found.click_id} of {found.day}"]
    if found.click is not None:
        lines.append("  logged: " + _fields(found.click, ("time", "campaign", "advertiser", "cost", "currency")))
    for row in found.decisions:
        holds = " (holds)" if row["decision_id"] == found.standing else ""
        told = ("verdict", "score", "threshold", "slice", "bundle", "reasons", "lists", "supersedes", "enforced")
        lines.append(f"  {_time(row['decided_at'])} {row['cause']}{holds}: {_fields(row, told)}")
        lines.append(f"    decision {row['decision_id']}")
    lines += [f"  row: {_fields(row, ('sequence', 'context', 'keys', 'row'))}" for row in found.rows]
    lines += [f"  shadow: {_fields(row, ('bundle', 'verdict', 'score', 'threshold'))}" for row in found.shadows]
    lines += [f"  label: {_fields(row, ('human', 'reason', 'matured_at'))}" for row in found.labels]
    lines += [f"  purchase: {_fields(row, ('purchase_id', 'time', 'value', 'currency'))}" for row in found.purchases]
    names = ("period", "replay", "billing_day", "clicks", "cost", "currency")
    lines += [f"  adjustment: {_fields(row, names)}" for row in found.adjustments]
    files, size = sum(one.files for one in found.scanned), sum(one.bytes for one in found.scanned)
    return [
        *lines,
        f"  read: {files:,} files, {size / 1e6:,.2f} MB in {sum(one.groups for one in found.scanned):,} row groups",
    ]


def _fields(row: dict[str, Any], names: tuple[str, ...]) -> str:
    shown = ((name, row.get(name)) for name in names)
    return " ".join(f"{name}={_shown(value)}" for name, value in shown if value not in (None, [], ""))


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _time(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
