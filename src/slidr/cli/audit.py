"""The command of the audit log: list it, verify it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from tabulate import tabulate

from slidr.cli.options import Outcome, printed, settings_option
from slidr.clock import SECOND
from slidr.registry import open_registry
from slidr.settings import Settings

_COLUMNS = ("number", "kind", "subject", "at", "who", "why")


@click.group(short_help="List and verify the audit log.", invoke_without_command=True)
@click.pass_context
def audit(context: click.Context) -> None:
    """List the audit log: who changed what, when and why; `slidr audit verify` checks that nobody changed the log."""
    if context.invoked_subcommand is None:
        with list_records.make_context("list", []) as listing:
            list_records.invoke(listing)


@audit.command("list", short_help="List the records.")
@settings_option
@click.option("--kind", help="Only records of this kind, such as rollback, override or settings.")
@click.option("--last", type=click.IntRange(min=1), help="Only so many, the newest.")
@printed
def list_records(settings: Settings, kind: str | None, last: int | None) -> Outcome:
    """List the records of the audit log, newest last."""
    records = [one for one in open_registry(settings).audit.records() if kind in {None, one.kind}]
    told: list[dict[str, Any]] = [
        msgspec.to_builtins(one) | {"at": datetime.fromtimestamp(one.at / SECOND, UTC).isoformat(timespec="seconds")}
        for one in records[-(last or len(records)) :]
    ]
    text = tabulate([[one[name] for name in _COLUMNS] for one in told], headers=_COLUMNS)
    return Outcome(text, {"records": told})


@audit.command(short_help="Check that nobody changed the log.")
@settings_option
@click.option("--head", default="", help="The head that an earlier run printed, kept elsewhere.")
@printed
def verify(settings: Settings, head: str) -> Outcome:
    """Check that no record was changed, removed, reordered or inserted; name those of which one was, and fail.

    It prints the head of the log. Kept where who can write to the registry cannot, it shows with --head that no record
    was cut off the end since.
    """
    found = open_registry(settings).verify(head)
    lines = [f"record {fault.number}: {fault.reason}" for fault in found.faults]
    lines.append(f"{found.records} records, {found.sealed} of them with a seal that is right")
    lines.append(f"head {found.head}" if found.head else "no head")
    document = found._asdict() | {"faults": [fault._asdict() for fault in found.faults]}
    wrong = f"the audit log was changed: {len(found.faults)} faults, see above" if found.faults else None
    return Outcome("\n".join(lines), document, wrong)


@audit.command(short_help="Record what a killed process could not.")
@settings_option
@printed
def record(settings: Settings) -> Outcome:
    """Record what is in the history of champions and not in the log, as every promotion does by itself."""
    records = open_registry(settings).record()
    return Outcome(f"{len(records)} records added", {"records": msgspec.to_builtins(records)})
