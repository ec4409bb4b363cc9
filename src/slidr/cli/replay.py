"""Commands of correction: replay, review."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from tabulate import tabulate

from slidr.bundle import read_bundle
from slidr.cli.options import Bars, account, printed, settings_option
from slidr.cli.options import Outcome as Said
from slidr.clock import SECOND, Clock, SystemClock
from slidr.errors import RegistryError, ReplayError
from slidr.features.layout import compile_catalogue
from slidr.journal import Journal
from slidr.journals import journals_at
from slidr.lake.delta import Lake
from slidr.posting import Receiver, webhook_secret
from slidr.registry import Registry, open_registry
from slidr.replay.adjustments import refuse_past
from slidr.replay.again import Again
from slidr.replay.methods import decided_again
from slidr.replay.plan import Plan, declared, default_id, known_plan
from slidr.replay.review import Review
from slidr.replay.review import review as review_click
from slidr.replay.running import Outcome, preview, publish
from slidr.replay.telling import tell
from slidr.service.state_files import kept_states
from slidr.settings import Settings, duration
from slidr.ship import ship
from slidr.slices import ROOT
from slidr.tables import ROWS, Verdict

_MOMENT = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
_MICROS = 1_000_000


@click.command(short_help="Decide clicks of the past again, and adjust what is billed.")
@settings_option
@click.option("--from", "start", type=_MOMENT, required=True, help="Clicks made from this time on, UTC.")
@click.option("--until", "end", type=_MOMENT, required=True, help="Clicks made before this time, UTC.")
@click.option(
    "--method",
    type=click.Choice(["rescore", "recompute"]),
    default="rescore",
    show_default=True,
    help="Take the rows as they were journalled, or fold the clicks again, up to one horizon behind --until.",
)
@click.option("--incomplete", is_flag=True, help="Go over what is there although parts of the journals are missing.")
@click.option("--bundle", help="What decides; the champion where none is named.")
@click.option("--slice", "path", default=ROOT, show_default=True, help="Only clicks of this slice.")
@click.option("--campaign", help="Only clicks of this campaign.")
@click.option("--id", "identity", help="Names the replay; made of what it is to do where not given.")
@click.option("--why", default="", help="The reason, for the audit log; not needed with --dry-run.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@printed
def replay(settings: Settings, *, start: datetime, end: datetime, **chosen: Any) -> Said:
    """Decide clicks of the past again, and let these decisions supersede the earlier ones.

    Rescoring puts the rows that were journalled through a bundle. Recomputing folds the clicks again in their order,
    and so settles what was unmeasurable too. Adjustments say what is to be credited or charged. Run again under the
    same id it adds nothing, and finishes what a killed run began. What the journals hold is shipped first.
    """
    clock, lake, registry = SystemClock(), Lake(settings.storage.lake), open_registry(settings)
    bundle = chosen["bundle"] or _champion(registry)
    _ship(settings, lake, clock)
    if not lake.exists(ROWS):
        raise ReplayError(
            f"{settings.storage.lake} holds no journalled rows; `slidr ship` puts those of a service there"
        )
    loaded = read_bundle(registry.fetch(bundle, Path(settings.storage.bundles)))
    horizon = compile_catalogue(loaded.catalogue).horizon
    reach = horizon if chosen["method"] == "recompute" else 0
    plan = Plan(
        id="unnamed", method=chosen["method"], bundle=bundle, start=_micros(start), end=_micros(end) + reach,
        slice=chosen["path"], campaign=chosen["campaign"],
        # Each of several parts of Redis numbers by itself, and a repeat leaves a gap there.
        incomplete=chosen["incomplete"] or settings.store.partitions > 1,
        rows=lake.version(ROWS), at=clock.now(),
    )  # fmt: skip
    plan = msgspec.structs.replace(plan, id=chosen["identity"] or default_id(plan))
    plan = known_plan(registry.audit, plan) or plan
    bars, receiver = Bars(), _receiver(settings, clock)

    def again() -> Iterator[Again]:
        states = [*kept_states(Path(settings.storage.state)), Path(settings.storage.seed)]
        yield from decided_again(settings, lake, plan, loaded, states, bars.counting(plan.method))
        bars.close()

    if chosen["dry_run"]:
        outcome = preview(plan, again())
    else:
        if not chosen["why"]:
            raise ReplayError("a replay goes into the audit log with its reason; give it with --why, or use --dry-run")
        refuse_past(plan.start, plan.at, zone=settings.timezone, days=settings.replay.cut_off_days)
        plan = declared(registry.audit, plan, who=account(), why=chosen["why"])
        outcome = publish(lake, plan, again(), settings.timezone)
        if receiver is not None:
            told = tell(lake, plan, receiver, settings.replay.webhook_batch)
            notes = f"\n\n{told.decisions:,} decisions told to the webhook, in {told.batches:,} batches"
            return Said(_text(outcome) + notes, outcome.document() | {"told": told.decisions})
    return Said(_text(outcome), outcome.document())


@click.command(short_help="Decide a click as a person, for good.")
@settings_option
@click.argument("click_id")
@click.option("--day", type=click.DateTime(formats=["%Y-%m-%d"]), required=True, help="UTC day of the click.")
@click.option(
    "--verdict",
    type=click.Choice([verdict.value for verdict in Verdict]),
    required=True,
    help="What the click is found to be.",
)
@click.option("--why", required=True, help="The reason, for the audit log.")
@printed
def review(settings: Settings, *, click_id: str, day: datetime, verdict: str, why: str) -> Said:
    """Let a person's verdict supersede the decision of CLICK_ID; replays leave the click alone from then on."""
    lake, audit = Lake(settings.storage.lake), open_registry(settings).audit
    asked = Review(click_id, day.date(), Verdict(verdict), SystemClock().now(), account(), why)
    done = review_click(lake, audit, settings, asked)
    rows = done.adjustments.to_pylist()
    lines = [f"{click_id}: {done.before} -> {done.after}, {done.cause}"]
    lines += [
        f"{_owed(row['cost'])} {row['currency']} for {row['billing_day']}, booked in {row['period']}" for row in rows
    ]
    document = {"click_id": click_id, "cause": done.cause, "before": done.before, "after": done.after}
    return Said("\n".join(lines), {**document, "adjustments": rows})


def _champion(registry: Registry) -> str:
    champion = registry.champion()
    if champion is None:
        raise RegistryError(f"registry {registry.location} has no champion; name what is to decide with --bundle")
    return champion.bundle


def _receiver(settings: Settings, clock: Clock) -> Receiver | None:
    address = os.environ.get("SLIDR_REPLAY_WEBHOOK", settings.replay.webhook)
    return Receiver(address, clock, setting="replay.webhook", secret=webhook_secret()) if address else None


def _ship(settings: Settings, lake: Lake, clock: SystemClock) -> None:
    """Have everything in the lake that was decided until now."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(Journal(path, write=False)) for path in journals_at(Path(settings.storage.journal))
        ]
        if found:
            ship(lake, found, clock=clock, keep=duration(settings.lake.journal_keep))


def _micros(moment: datetime) -> int:
    # The option has no zone; what it says is UTC.
    return round((moment - datetime(1970, 1, 1)).total_seconds() * SECOND)  # noqa: DTZ001


def _text(outcome: Outcome) -> str:
    told = outcome.document()
    if outcome.again:
        return f"replay {outcome.plan.id} is complete already; nothing was added"
    before, after = told["verdicts"]["before"], told["verdicts"]["after"]
    lines = [
        tabulate([(name, before[name], after[name]) for name in before], ("verdict", "before", "after"), intfmt=",")
    ]
    rows = [
        (
            path,
            one["clicks"],
            one["invalid_before"],
            one["invalid_after"],
            one["changed"],
            _owed(sum(one["credit"].values())),
        )
        for path, one in told["slices"].items()
    ]
    lines.append(tabulate(rows, ("slice", "clicks", "invalid before", "after", "changed", "cost"), intfmt=","))
    lines += [f"{_owed(micros)} {currency}" for currency, micros in told["credit"].items()]
    if told["left"]:
        lines.append(f"{told['left']:,} unmeasurable clicks are left")
    if told["reviewed"]:
        lines.append(f"{told['reviewed']:,} clicks that a person reviewed are left")
    verb = "would be superseded" if outcome.dry else "superseded"
    lines.append(f"{told['corrected']:,} decisions {verb} by replay {outcome.plan.id}, bundle {outcome.plan.bundle}")
    return "\n\n".join(lines)


def _owed(micros: int) -> str:
    return f"{'charge' if micros < 0 else 'credit'} {abs(micros) / _MICROS:,.6f}"
