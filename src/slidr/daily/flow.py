"""Flow: one day from logs to champion, as a scheduler runs it: once, resumable, and never twice at once.

    ingest -> label -> backfill -> guard the data -> train -> calibrate -> judge -> guard the model -> publish

Every stage that was done for the same days, settings and tables is skipped, so a run that was killed goes on where it
was. What is published is claimed in the registry first; see `slidr.daily.claims`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import pyarrow as pa

from slidr.bundle import Bundle
from slidr.clock import HOUR, SECOND, Clock
from slidr.daily.calibration import calibrate_thresholds
from slidr.daily.claims import Claim, Claims, inputs_of, is_done, run_key
from slidr.daily.guard import champion_of, model_seen, overridden, record_overrides
from slidr.daily.judge import EVALUATION, judge, make_bundle, read_evaluation, write_report
from slidr.daily.plan import Progress, Run, plan_run
from slidr.daily.recalibration import keep_network, plan_recalibration
from slidr.daily.seen import Circumstances, data_seen
from slidr.daily.stages import backfill_features, label_clicks, train_networks
from slidr.daily.stamps import STAGES, current, replace_file, withdraw
from slidr.errors import SettingsError, SlidrError
from slidr.evaluation.change import Change
from slidr.evaluation.expectation import Expectation
from slidr.evaluation.results import Evaluation, Finding, Override
from slidr.guardrails import guard, guardrails
from slidr.guardrails.seen import Seen
from slidr.ingest import ingest
from slidr.lake.delta import Lake
from slidr.locking import only_run
from slidr.registry import Registry, open_registry, record_changes
from slidr.report.page import render_findings
from slidr.rules import prepare_rules
from slidr.settings import Settings, duration
from slidr.tables import CLICKS

RESULT = "daily.json"
_INPUTS = "inputs.json"


class Request(NamedTuple):
    """What a run is asked for.

    Attributes:
        who: who runs it.
        day: the day to judge; the newest mature one where None.
        recalibrate: whether the champion's network is kept and given new thresholds.
        again: whether a day is done again that was done before, because its data changed.
        overrides: guardrails that may refuse without being heard.
        why: why they may, and why the bundle is published; in the history and in the audit log.
        title: names the log in the report.
        truth: simulation only: the truth table of the judged clicks.
        state_before_judging: where to write the state as it was before the judging part; None for nowhere.
    """

    who: str
    day: date | None = None
    recalibrate: bool = False
    again: bool = False
    overrides: tuple[str, ...] = ()
    why: str = ""
    title: str = ""
    truth: pa.Table | None = None
    state_before_judging: Path | None = None


class Result(NamedTuple):
    """How a run ended.

    Attributes:
        status: `published`; `done` where an earlier run had published it; `refused` by a guardrail.
        run: the plan of it.
        bundle: what was published, empty where nothing was.
        findings: of every guardrail that was asked.
        evaluation: what was judged; None where the run ended before.
        report: the page; None where there is none.
        seconds: what each stage took, in their order.
        rejections: what the door refused, a line each.
        notes: what else a reader should know.
    """

    status: Literal["published", "done", "refused"]
    run: Run
    bundle: str = ""
    findings: tuple[Finding, ...] = ()
    evaluation: Evaluation | None = None
    report: Path | None = None
    seconds: dict[str, float] = {}  # noqa: RUF012 a default that is never written to
    rejections: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Counting = Callable[[str], Callable[[int], None]]
"""Returns what is told how many more clicks of a stage are done."""


def run_lock(settings: Settings) -> Path:
    """Return the file that one run at a time holds; runs on several machines have files of their own.

    Between those the registry decides.
    """
    return Path(settings.storage.networks) / "daily.lock"


def run_daily(
    settings: Settings, clock: Clock, request: Request, progress: Progress, counting: Counting | None = None
) -> Result:
    """Run a day, or say that it is done, or refuse it; the champion changes in the first case alone.

    Raises:
        BusyError: another run is going on on this machine.
        SettingsError: an override names no guardrail or gives no reason, or there is nothing to recalibrate.
        RegistryError: the registry cannot be read or written; a run after it is mended goes on from there.
        SlidrError: a stage could not do its work; slow features are built all the same.
    """
    check_request(request)
    with only_run(run_lock(settings)):
        # Before an hour of work is spent on a bundle that cannot be put anywhere.
        registry = open_registry(settings)
        registry.history()
        work = _Work(settings, clock, request, progress, registry)
        result = work.go(counting)
        replace_file(Path(settings.storage.report) / RESULT, msgspec.json.encode(document_of(result)))
        return result


def document_of(result: Result) -> dict[str, object]:
    """Return a run's end for machines."""
    start, end = result.run.split.judge
    return {
        "status": result.status,
        "day": _day(end - 1).isoformat(),
        "judged": [datetime.fromtimestamp(moment // SECOND, UTC).isoformat() for moment in (start, end)],
        "recalibrated": bool(result.run.kept),
        "bundle": result.bundle,
        "refused_by": [finding.name for finding in result.findings if finding.refuses],
        "guardrails": msgspec.to_builtins(result.findings),
        "seconds": {name: round(taken, 3) for name, taken in result.seconds.items()},
        "report": "" if result.report is None else str(result.report),
        "rejections": result.rejections,
        "notes": result.notes,
    }


def check_request(request: Request) -> None:
    """Refuse overrides that name no guardrail, or come without a reason.

    Raises:
        SettingsError: such a one.
    """
    known = guardrails()
    for name in request.overrides:
        if name not in known:
            raise SettingsError(f"--override {name}: there is no such guardrail; known: {', '.join(known)}")
    if request.overrides and not request.why.strip():
        raise SettingsError("an override needs a reason, which is kept in the audit log: --why TEXT")


def _day(moment: int) -> date:
    return datetime.fromtimestamp(moment // SECOND, UTC).date()


@dataclass
class _Work:
    """A run at work."""

    settings: Settings
    clock: Clock
    request: Request
    progress: Progress
    registry: Registry
    seconds: dict[str, float] = field(default_factory=dict)
    read: int | None = None
    rejected: int = 0
    rejections: tuple[str, ...] = ()

    def go(self, counting: Counting | None) -> Result:
        """Do what is missing."""
        if self.settings.clicks.path:
            with self._timed("ingest"):
                self._ingest(counting)
        run, claims = self._plan(), Claims(self.settings.storage.registry)
        key, claim = self._claimed(run, claims)
        inputs = inputs_of(run)
        if claim is not None and is_done(self.registry, claim) and not self.request.again:
            return Result(
                "done", run, claim.bundle, seconds=self.seconds, rejections=self.rejections,
                notes=self._notes(run, changed=claim.inputs != inputs),
            )  # fmt: skip
        self._begin(run, inputs)
        self._prepare(run)
        champion = champion_of(run)
        about = Circumstances(champion, self.clock.now(), self.request.day is not None, self.read, self.rejected)
        with self._timed("guard data"):
            seen = data_seen(run, about)
            findings = self._overridden(guard(seen, self.settings.guardrails, "data"))
        if any(finding.refuses for finding in findings):
            return self._refused(run, findings, None)
        evaluation = self._learn(run, champion)
        with self._timed("guard model"):
            model, expected = model_seen(run, evaluation, champion)
            whole = Seen(**{**vars(seen), "model": model})
            findings += self._overridden(guard(whole, self.settings.guardrails, "model"))
        evaluation = msgspec.structs.replace(evaluation, guardrails=findings)
        if any(finding.refuses for finding in findings):
            return self._refused(run, findings, evaluation)
        with self._timed("publish"):
            report = write_report(run, evaluation)
            bundle = self._publish(run, evaluation, expected, claims, Claim("", 0, self.request.who, inputs), key)
        return Result(
            "published", run, bundle, findings, evaluation, report, self.seconds, self.rejections,
        )  # fmt: skip

    def _ingest(self, counting: Counting | None) -> None:
        count = counting("ingest") if counting else None
        log = ingest(self.settings, Lake(self.settings.storage.lake), self.clock, count)
        self.rejected = log.rejections.total
        self.read = log.clicks.num_rows + log.purchases.num_rows + self.rejected
        self.rejections = log.rejections.summary()

    def _plan(self) -> Run:
        plan = plan_recalibration if self.request.recalibrate else plan_run
        return plan(self.settings, self.clock, self.progress, day=self.request.day)

    def _claimed(self, run: Run, claims: Claims) -> tuple[str, Claim | None]:
        """Return the key to claim and its claim: the day's own, or one behind those that are done."""
        first = run_key(run)
        key, claim, place = first, claims.find(first), 1
        while self.request.again and claim is not None and is_done(self.registry, claim):
            place += 1
            key = f"{first}-{place}"
            claim = claims.find(key)
        return key, claim

    def _notes(self, run: Run, *, changed: bool) -> tuple[str, ...]:
        notes = []
        if changed:
            notes.append("clicks or purchases of these days have changed since; run with --again to do the day again")
        window = 0 if run.final else duration(self.settings.labels.attribution_window)
        age = self.clock.now() - run.split.judge[1] - window
        if self.request.day is None and age > duration(self.settings.guardrails.most_age):
            newest = run.lake.days(CLICKS)[-1]
            notes.append(f"no newer day is mature, this one since {age // HOUR:,} h: the newest clicks are of {newest}")
        return tuple(notes)

    def _begin(self, run: Run, inputs: str) -> None:
        """Forget what earlier runs made of other clicks or purchases."""
        path = Path(self.settings.storage.networks) / _INPUTS
        if path.exists() and path.read_text("ascii") != inputs:
            for stage in STAGES[:2]:
                withdraw(run, stage)
        replace_file(path, inputs.encode())

    def _prepare(self, run: Run) -> None:
        """Label and backfill; what keeps labels from being made does not keep slow features from being built."""
        fault: SlidrError | None = None
        if not current(run, "label"):
            with self._timed("label"):
                try:
                    label_clicks(run)
                except SlidrError as found:
                    fault = found
        before = self.request.state_before_judging
        if not current(run, "backfill") or before is not None:
            with self._timed("backfill"):
                backfill_features(run, state_before_judging=before)
        if fault is not None:
            raise fault

    def _learn(self, run: Run, champion: Bundle | None) -> Evaluation:
        """Train or keep the network, set thresholds, and judge."""
        if not current(run, "train"):
            with self._timed("train"):
                if run.kept:
                    keep_network(run)
                else:
                    train_networks(run)
        if not current(run, "calibrate"):
            with self._timed("calibrate"):
                calibrate_thresholds(run)
        if current(run, "judge") and (known := self._judged(champion)) is not None:
            return known
        with self._timed("judge"):
            evaluation = judge(run, title=self.request.title or self.settings.clicks.path, truth=self.request.truth)
            write_report(run, evaluation)
        return evaluation

    def _judged(self, champion: Bundle | None) -> Evaluation | None:
        """Return what was judged before, unless it is gone or was held against another champion."""
        try:
            known = read_evaluation(self.settings)
        except SettingsError:
            return None
        against = known.change.champion if isinstance(known.change, Change) else ""
        return known if against == (champion.id if champion else "") else None

    def _overridden(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        given = Override(self.request.who, self.request.why, self.clock.now())
        return overridden(findings, self.request.overrides, given)

    def _refused(self, run: Run, findings: tuple[Finding, ...], evaluation: Evaluation | None) -> Result:
        folder = Path(self.settings.storage.report)
        if evaluation is None:
            report = folder / "report.html"
            (folder / EVALUATION).unlink(missing_ok=True)
            title = self.request.title or self.settings.clicks.path
            replace_file(report, render_findings(title, findings).encode())
        else:
            report = write_report(run, evaluation)
        return Result("refused", run, "", findings, evaluation, report, self.seconds, self.rejections)

    def _publish(
        self, run: Run, evaluation: Evaluation, expected: Expectation, claims: Claims, claim: Claim, key: str
    ) -> str:
        """Claim the run for its bundle, and make the bundle of the claim that stands the champion, once."""
        self.progress("publish", 0)
        bundle = make_bundle(run, evaluation, self.clock, expected)
        now = self.clock.now()
        stands = claims.make(key, msgspec.structs.replace(claim, bundle=bundle.id, at=now))
        record_overrides(self.registry, key, evaluation.guardrails, stands.bundle)
        what = "recalibrated" if run.kept else "daily run"
        why = f"{what} of {_day(run.split.judge[1] - 1)}" + (f": {self.request.why}" if self.request.why else "")
        rules = prepare_rules(self.settings.rules)
        record_changes(
            self.registry.audit, self.settings, rules, subject="daily", at=now, who=self.request.who, why=why
        )
        self.registry.promote(stands.bundle, at=now, who=self.request.who, why=why, once=True)
        self.progress("publish", 1)
        return stands.bundle

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start
