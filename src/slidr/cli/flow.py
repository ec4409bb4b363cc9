"""Commands of the daily flow: label, backfill, train, calibrate, judge, ablate, publish, daily."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from tabulate import tabulate

from slidr.calibration.calibrate import Calibration
from slidr.cli.options import Bars, Outcome, account, printed, settings_option
from slidr.cli.words import judgement, judgement_document
from slidr.clock import SystemClock
from slidr.daily.ablation import Ablated
from slidr.daily.ablation import ablate as ablate_run
from slidr.daily.calibration import calibrate_thresholds
from slidr.daily.flow import Request, Result, check_request, document_of, run_daily
from slidr.daily.judge import judge as judge_run
from slidr.daily.judge import write_report
from slidr.daily.plan import Run, plan_run
from slidr.daily.stages import backfill_features, label_clicks, train_networks
from slidr.errors import BusyError, SettingsError, SourceError
from slidr.settings import Settings
from slidr.tables import Threshold

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _day_option(command: _Command) -> _Command:
    return click.option(
        "--day",
        type=click.DateTime(formats=["%Y-%m-%d"]),
        help="Judge on this day; without it, on the newest whose labels are mature.",
    )(command)


def _plan(settings: Settings, day: datetime | None) -> tuple[Run, Bars]:
    bars = Bars()
    chosen: date | None = day.date() if day else None
    return plan_run(settings, SystemClock(), bars, day=chosen), bars


@click.command(short_help="Label clicks human from purchases.")
@settings_option
@_day_option
@printed
def label(settings: Settings, day: datetime | None) -> Outcome:
    """Label clicks human where they led to a purchase or the account's purchases speak for a human."""
    run, bars = _plan(settings, day)
    labels = label_clicks(run)
    bars.close()
    counts = {count["values"]: count["counts"] for count in labels["reason"].value_counts().to_pylist()}
    return Outcome(tabulate(sorted(counts.items()), headers=("reason", "clicks"), intfmt=","), counts)


@click.command(short_help="Fold the log into features and state.")
@settings_option
@_day_option
@printed
def backfill(settings: Settings, day: datetime | None) -> Outcome:
    """Fold the log into features, and write the state that a new service starts from."""
    run, bars = _plan(settings, day)
    done = backfill_features(run)
    bars.close()
    text = (
        f"{done.folded:,} of {done.clicks:,} clicks folded, on {done.days} days; the others were before\n"
        f"features in {settings.storage.lake}, state in {settings.storage.seed}"
    )
    if done.unsound:
        text += f"\n{done.unsound:,} rows are unsound: their entities were dropped at features.most_entities; raise it"
    return Outcome(text, {"seed": settings.storage.seed, **done._asdict()})


@click.command(short_help="Fit the networks.")
@settings_option
@_day_option
@printed
def train(settings: Settings, day: datetime | None) -> Outcome:
    """Fit the network that decides and those that it is compared with."""
    run, bars = _plan(settings, day)
    graphs = train_networks(run)
    bars.close()
    return Outcome(f"{', '.join(graphs)} in {settings.storage.networks}", {"networks": list(graphs)})


@click.command(short_help="Set the thresholds that keep the false-positive budget.")
@settings_option
@_day_option
@printed
def calibrate(settings: Settings, day: datetime | None) -> Outcome:
    """Set a threshold for every slice, so that the false-positive budget buys the most invalidation."""
    run, bars = _plan(settings, day)
    found = calibrate_thresholds(run)
    bars.close()
    text = f"{_table_of(found.thresholds)}\n\n{_promise(found, settings)}"
    return Outcome(text, msgspec.to_builtins(found))


def _promise(found: Calibration, settings: Settings) -> str:
    """Say what the thresholds promise of the false-positive budget."""
    budget = f"{100 * settings.calibration.fpr_budget:.4g} %"
    if found.certificate is None:
        return f"uncertified: at most {budget} of the calibration's own purchasing clicks are marked"
    one = found.certificate
    return (
        f"certified: an FPR above {budget} has a chance of {100 * one.risk:.4g} % at most, by {one.purchasers:,}"
        f" purchasers of whom {one.marked:,} are marked"
    )


def _table_of(thresholds: tuple[Threshold, ...]) -> str:
    return tabulate(msgspec.to_builtins(thresholds), headers="keys", floatfmt=".4f", missingval="-", intfmt=",")


@click.command(short_help="Measure the thresholds on a later day and write the report.")
@settings_option
@_day_option
@click.option("--truth", type=click.Path(path_type=Path, exists=True), help="Simulation only: the truth's folder.")
@printed
def judge(settings: Settings, day: datetime | None, truth: Path | None) -> Outcome:
    """Measure on the judging day what the thresholds do, and write the report."""
    run, bars = _plan(settings, day)
    evaluation = judge_run(run, title=settings.clicks.path, truth=_truth(truth) if truth else None)
    bars.close()
    page = write_report(run, evaluation)
    document = judgement_document(evaluation) | {"report": str(page)}
    return Outcome(f"{judgement(evaluation)}\n\nreport: {page}", document)


def _truth(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=["click_id", "family"])
    except pa.ArrowInvalid as fault:
        raise SourceError(f"{path} does not hold the truth that `slidr simulate` writes: {fault}") from None


@click.command(short_help="Learn again without each part of the method, and compare.")
@settings_option
@_day_option
@click.option("--truth", type=click.Path(path_type=Path, exists=True), help="Simulation only: the truth's folder.")
@printed
def ablate(settings: Settings, day: datetime | None, truth: Path | None) -> Outcome:
    """Learn again without sample weights, slices, RFM labels and each kind of features, one at a time.

    Every row stands at the judging part's own budget, so the rows compare at equal FPR. Nothing is kept.
    """
    run, bars = _plan(settings, day)
    found = list(ablate_run(run, _truth(truth) if truth else None))
    bars.close()
    columns = [key for key in Ablated.__struct_fields__ if any(getattr(one, key) is not None for one in found)]
    rows = [[getattr(one, key) for key in columns] for one in found]
    headers = ["left out", *(key.replace("_", " ") for key in columns[1:])]
    return Outcome(tabulate(rows, headers, floatfmt=".4f", missingval="-"), {"ablated": msgspec.to_builtins(found)})


REFUSED, BUSY = 3, 4
"""Exit statuses of `slidr daily` beside 0, 1 and 2: a guardrail refused; another run is going on."""


def _run_options(command: _Command) -> _Command:
    """Add what the commands that publish share."""
    for option in (
        click.option("--why", default="", help="The reason, for the history and the audit log."),
        click.option(
            "--override",
            "overrides",
            multiple=True,
            metavar="NAME",
            help="Publish although this guardrail refuses; may be repeated, and needs --why.",
        ),
        click.option("--again", is_flag=True, help="Do a day again that is done, because its data changed."),
        _day_option,
    ):
        command = option(command)
    return command


@click.command(short_help="Publish a judged run that its guardrails let pass.")
@settings_option
@_run_options
@printed
def publish(settings: Settings, *, day: datetime | None, again: bool, overrides: tuple[str, ...], why: str) -> Outcome:
    """Publish the run whose stages were run one by one: as `slidr daily`, which does what is missing and no more.

    Guardrails are asked here too, and the exit statuses are those of `slidr daily`.
    """
    chosen = day.date() if day else None
    return _daily(settings, Request(account(), chosen, again=again, overrides=overrides, why=why))


@click.command(short_help="Run ingest to publish, the flow of one day.")
@settings_option
@click.option("--recalibrate", is_flag=True, help="Keep the champion's network and refit the thresholds alone.")
@_run_options
@printed
def daily(
    settings: Settings,
    *,
    day: datetime | None,
    recalibrate: bool,
    again: bool,
    overrides: tuple[str, ...],
    why: str,
) -> Outcome:
    """Ingest, label, backfill, train, calibrate, judge, guard and publish: what of it is missing, once for each day.

    Logs are read where clicks.path is set. Exit status: 0 where the day was published, now or before; 1 for a fault; 2
    for a command that is written wrong; 3 where a guardrail refused and the champion stays; 4 where another run is
    going on. docs/daily.md has it for cron, systemd and Kubernetes.
    """
    chosen = day.date() if day else None
    return _daily(settings, Request(account(), chosen, recalibrate, again, overrides, why))


def _daily(settings: Settings, request: Request) -> Outcome:
    try:
        check_request(request)
    except SettingsError as fault:
        raise click.UsageError(str(fault)) from None
    bars = Bars()
    try:
        result = run_daily(settings, SystemClock(), request, bars, bars.counting)
    except BusyError as fault:
        document = {"status": "busy", "notes": [str(fault)]}
        return Outcome(f"slidr: {fault}", document, status=BUSY)
    finally:
        bars.close()
    told = document_of(result)
    if result.evaluation is not None:
        told = judgement_document(result.evaluation) | told
    return Outcome(_told(result, settings), told, status=REFUSED if result.status == "refused" else 0)


def _told(result: Result, settings: Settings) -> str:
    """Return how a run ended, in words."""
    lines = [f"rejected: {line}" for line in result.rejections]
    if result.evaluation is not None:
        lines += [judgement(result.evaluation), ""]
    lines += [f"note: {note}" for note in result.notes]
    lines += [
        f"{'REFUSED' if one.refuses else 'overridden'}: {one.message}" for one in result.findings if not one.passed
    ]
    passed = sum(one.passed for one in result.findings)
    end = {
        "published": f"champion: {result.bundle} in {settings.storage.registry}",
        "done": f"nothing to do: this day is done, its bundle is {result.bundle} in {settings.storage.registry}",
        "refused": "nothing was published: the champion stays",
    }[result.status]
    if result.findings:
        lines.append(f"guardrails: {passed} of {len(result.findings)} passed")
    lines.append(end)
    if result.report is not None:
        lines.append(f"report: {result.report}")
    return "\n".join(lines)
