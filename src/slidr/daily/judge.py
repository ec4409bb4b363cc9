"""Judge and publish: what the thresholds do on a later day, and the bundle that carries them."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr import metrics
from slidr.bundle import Bundle, Contract, Parts, write_bundle
from slidr.calibration.sample import CalibrationSample
from slidr.clock import Clock
from slidr.daily.calibration import read_calibration, read_thresholds
from slidr.daily.card import model_card
from slidr.daily.evidence import assurance, change_from_champion, label_health, learning, proxy_check
from slidr.daily.parts import Part, read_part, sample_of
from slidr.daily.plan import Run
from slidr.daily.stages import read_networks, read_reference
from slidr.daily.stamps import replace_file, require, stamp
from slidr.decide import check_serves
from slidr.errors import SettingsError
from slidr.evaluation.expectation import Expectation
from slidr.evaluation.judging import (
    Judged,
    draw_curve,
    draw_slices,
    judge_network,
    judge_slices,
    judge_totals,
    notes_on,
    thresholds_of,
)
from slidr.evaluation.results import Assurance, DrawnCurve, Evaluation, NetworkResult, Span
from slidr.evaluation.truth import missed, read_truth
from slidr.model.scorer import Scorer
from slidr.registry import open_registry, record_changes
from slidr.report.page import render
from slidr.rules import prepare_rules
from slidr.settings import Settings
from slidr.slices import ROOT
from slidr.tables import CLICKS, FEATURES, LABELS, PURCHASES, SCORES, THRESHOLDS, Threshold, ThresholdSource

_GLOBAL = "one threshold"
EVALUATION = "evaluation.json"


def judge(run: Run, *, title: str, truth: pa.Table | None = None) -> Evaluation:
    """Return what thresholds set on the calibration part do on the judging part.

    Args:
        run: the run, whose stages up to calibration are done.
        title: names the log in the report.
        truth: simulation only: the truth table of the judged clicks; nothing before this stage may see it.

    Raises:
        LabelError: the truth is that of another log.
    """
    run.progress("judge", 0)
    networks = read_networks(run)
    thresholds = read_thresholds(run)
    settings = run.settings
    network = settings.model.network
    calibrate, judged_part = read_part(run, run.split.calibrate), read_part(run, run.split.judge)
    scorers = {name: Scorer(graph) for name, graph in networks.items()}
    scores = {name: scorer.score(judged_part.rows) for name, scorer in scorers.items()}
    sample = sample_of(run, judged_part, scores[network])
    judged = _judged(sample, scores, judged_part, truth)
    budget = settings.calibration.fpr_budget
    results = [judge_network(network, judged, thresholds, calibration=settings.calibration.method, budget=budget)]
    for name in sorted(networks, key=lambda name: (name != network, name)):
        before = scorers[name].score(calibrate.rows)
        one = _one_threshold(before, calibrate.purchased, budget)
        results.append(judge_network(name, judged, one, calibration=_GLOBAL, budget=budget))
    slices = judge_slices(scores[network], judged, thresholds)
    run.progress("judge", 0.5)
    evaluation = Evaluation(
        title=title,
        budget=budget,
        train=_span(run, run.split.train),
        calibrate=_span(run, run.split.calibrate),
        judge=_span(run, run.split.judge),
        networks=tuple(results),
        totals=judge_totals(
            scores[network],
            judged,
            thresholds,
            listed=judged_part.listed,
            unmeasurable=judged_part.unmeasurable,
        ),
        slices=slices,
        curves=_network_curves(judged, thresholds, results),
        slice_curves=draw_slices(scores[network], judged, thresholds),
        timezone=settings.timezone,
        notes=notes_on(judged, slices, budget=budget, calibrated_on=int(calibrate.purchased.sum())),
    )
    evaluation = _with_evidence(run, evaluation, judged, judged_part, assurance(run, calibrate))
    run.progress("judge", 1)
    return evaluation


def _with_evidence(run: Run, evaluation: Evaluation, judged: Judged, part: Part, promised: Assurance) -> Evaluation:
    """Return the evaluation with what lets a reader trust or doubt it."""
    network, caught = evaluation.networks[0].network, evaluation.networks[0].caught_at_budget
    marked = judged.scores[network] > thresholds_of(judged.slices, judged.paths, read_thresholds(run))
    return msgspec.structs.replace(
        evaluation,
        health=label_health(run, part, judged.scores[network]),
        proxy=proxy_check(run, part, judged, marked),
        change=change_from_champion(run, part, judged, marked),
        assurance=promised,
        learning=learning(run, judged.scores),
        missed=missed(caught) if caught else (),
        card=model_card(run, read_networks(run)[network], promised),
    )


def _one_threshold(scores: NDArray[np.float32], purchased: NDArray[np.bool_], budget: float) -> tuple[Threshold, ...]:
    """Return one threshold for all clicks at the budget: how networks are compared."""
    curve = metrics.curve(scores, purchased)
    limit = metrics.threshold_at(curve, budget)
    marked = scores > np.float32(limit)
    share = metrics.fpr(marked, purchased)
    return (
        Threshold(ROOT, limit, metrics.ivr(marked), share, None, curve.clicks, curve.purchases, ThresholdSource.OWN),
    )


def _judged(
    sample: CalibrationSample, scores: dict[str, NDArray[np.float32]], part: Part, truth: pa.Table | None
) -> Judged:
    return Judged(
        scores,
        sample.purchased,
        part.purchaser,
        _clickers(part.clicks),
        sample.busy,
        sample.slices,
        sample.paths,
        None if truth is None else read_truth(truth, part.clicks["click_id"].to_pylist()),
    )


def _clickers(clicks: pa.Table) -> NDArray[np.int64]:
    """Return the number of whom each click is of: the user, else the session, else the ip, int64[n]."""
    named = pc.coalesce(*(clicks[column] for column in ("user", "session", "ip"))).combine_chunks()
    codes: NDArray[np.int64] = named.dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _network_curves(
    judged: Judged, thresholds: tuple[Threshold, ...], results: list[NetworkResult]
) -> tuple[DrawnCurve, ...]:
    drawn = []
    for name in dict.fromkeys(result.network for result in results):
        marked = None
        if name == results[0].network:
            marked = judged.scores[name] > thresholds_of(judged.slices, judged.paths, thresholds)
        drawn.append(draw_curve(name, judged.scores[name], judged.purchased, marked))
    return tuple(curve for curve in drawn if curve is not None)


def _span(run: Run, span: tuple[int, int]) -> Span:
    labels = run.lake.read(LABELS, start=span[0], end=span[1], columns=["reason"])["reason"].to_pylist()
    return Span(span[0], span[1], len(labels), labels.count("purchase"))


def publish(run: Run, evaluation: Evaluation, clock: Clock, *, who: str, why: str) -> Bundle:
    """Write the bundle of a run, publish it in the registry and make it the champion, whatever guardrails say.

    `slidr.daily.flow.run_daily` asks them first.

    Args:
        run: the run, judged.
        evaluation: what `judge` returned; kept in the bundle.
        clock: dates the bundle.
        who: who publishes.
        why: the reason, for the registry's history.

    Raises as `make_bundle` does.
    """
    bundle = make_bundle(run, evaluation, clock)
    registry, now = open_registry(run.settings), clock.now()
    rules = prepare_rules(run.settings.rules)
    record_changes(registry.audit, run.settings, rules, subject="daily", at=now, who=who, why=why)
    registry.promote(bundle.id, at=now, who=who, why=why)
    run.progress("publish", 1)
    return bundle


def make_bundle(run: Run, evaluation: Evaluation, clock: Clock, expected: Expectation | None = None) -> Bundle:
    """Write the bundle of a run and publish it in the registry, where nothing decides by it yet.

    Args:
        run: the run, judged.
        evaluation: what `judge` returned, and what guardrails found; kept in the bundle.
        clock: dates the bundle.
        expected: what it hands on to the runs after it.

    Raises:
        SettingsError: a stage was not done for this run.
        BundleError: network, catalogue and thresholds do not belong together.
    """
    run.progress("publish", 0)
    require(run, "train", "calibrate", "judge")
    settings = run.settings
    versions = {
        table.name: run.lake.version(table) for table in (CLICKS, PURCHASES, LABELS, FEATURES, SCORES, THRESHOLDS)
    }
    parts = Parts(
        catalogue=run.catalogue,
        graph=read_networks(run)[settings.model.network],
        thresholds=read_thresholds(run),
        calibration=read_calibration(run),
        contract=Contract(settings.slices.columns, settings.clicks.ip, run.pseudonymiser.fingerprint),
        data={
            "lake": versions,
            "as_of": run.as_of,
            "train": run.split.train,
            "calibrate": run.split.calibrate,
            "judge": run.split.judge,
        },
        metrics={
            "networks": msgspec.to_builtins(evaluation.networks),
            "totals": msgspec.to_builtins(evaluation.totals),
            "slices": msgspec.to_builtins(evaluation.slices),
            "card": msgspec.to_builtins(evaluation.card),
            **({} if expected is None else {"expected": msgspec.to_builtins(expected)}),
        },
        guardrails=tuple(msgspec.to_builtins(finding) for finding in evaluation.guardrails),
        reference=read_reference(run),
    )
    bundle = write_bundle(Path(settings.storage.bundles), parts, created_at=clock.now(), version=version("slidr"))
    check_serves(bundle)
    open_registry(settings).publish(Path(settings.storage.bundles) / bundle.id)
    return bundle


def write_report(run: Run, evaluation: Evaluation) -> Path:
    """Write the evaluation and its page to the settings' report folder, and return where the page lies."""
    folder = Path(run.settings.storage.report)
    replace_file(folder / EVALUATION, msgspec.json.encode(_written(msgspec.to_builtins(evaluation))))
    replace_file(folder / "report.html", render(evaluation).encode())
    stamp(run, "judge")
    return folder / "report.html"


def _written(value: Any) -> Any:
    """Return a value with infinities as text, for JSON has none: the threshold of a slice that is never invalidated."""
    if isinstance(value, dict):
        return {name: _written(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_written(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_evaluation(settings: Settings) -> Evaluation:
    """Return the evaluation that `write_report` wrote last.

    Raises:
        SettingsError: there is none, or another version of slidr wrote it.
    """
    path = Path(settings.storage.report) / EVALUATION
    if not path.exists():
        raise SettingsError(f"{path} does not exist; run `slidr judge` first")
    try:
        found: Evaluation = msgspec.json.decode(path.read_bytes(), type=Evaluation, strict=False)
    except msgspec.DecodeError as fault:
        raise SettingsError(f"{path} is not an evaluation of this version ({fault}); run `slidr judge` again") from None
    return found
