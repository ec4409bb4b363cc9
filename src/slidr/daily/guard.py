"""Guard: the new bundle held against the champion, and what it hands on to the next one."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr import metrics
from slidr.bundle import Bundle, read_bundle
from slidr.daily.calibration import read_thresholds
from slidr.daily.drift import expectation_of, feature_histograms
from slidr.daily.parts import Part, numbers, read_part, sample_of
from slidr.daily.plan import Run
from slidr.daily.seen import hourly_clicks
from slidr.daily.stages import read_networks
from slidr.errors import BundleError, RegistryError
from slidr.evaluation.change import Change
from slidr.evaluation.expectation import (
    Expectation,
    Golden,
    Marks,
    expected_clicks,
    expected_hours,
    expected_scores,
    golden_clicks,
    histogram,
    stability,
)
from slidr.evaluation.judging import thresholds_of
from slidr.evaluation.results import Evaluation, Finding, Override
from slidr.guardrails.seen import GoldenSeen, ModelSeen
from slidr.metrics import Float32s
from slidr.model.scorer import Scorer
from slidr.registry import Registry, open_registry

_TIMED = 200
_SLOW = 0.9
_WARMING = 20


def champion_of(run: Run) -> Bundle | None:
    """Return the champion; None where there is none, or where it cannot be read, as one of an older format."""
    registry = open_registry(run.settings)
    entry = registry.champion()
    if entry is None:
        return None
    try:
        return read_bundle(registry.fetch(entry.bundle, Path(run.settings.storage.bundles)))
    except (BundleError, RegistryError):
        return None


def model_seen(run: Run, evaluation: Evaluation, champion: Bundle | None) -> tuple[ModelSeen, Expectation]:
    """Return what the guardrails of the model look at, and what the bundle hands on.

    Raises:
        SettingsError: a stage was not done for this run.
    """
    run.progress("guard", 0)
    network = run.settings.model.network
    scorer, thresholds = Scorer(read_networks(run)[network]), read_thresholds(run)
    before, part = read_part(run, run.split.calibrate), read_part(run, run.split.judge)
    scores, scores_before = scorer.score(part.rows), scorer.score(before.rows)
    sample = sample_of(run, part, scores)
    limits = thresholds_of(sample.slices, sample.paths, thresholds)
    calibrated = sample_of(run, before, scores_before)
    limits_before = thresholds_of(calibrated.slices, calibrated.paths, thresholds)
    change = evaluation.change
    learning = next((one for one in evaluation.learning if one.network == network), None)
    marks = Marks(scores, limits, part.purchaser, sample.busy, numbers(part.clicks["session"]))
    most = run.settings.guardrails.golden_clicks
    ids = part.clicks["click_id"].to_pylist()
    run.progress("guard", 0.5)
    seen = ModelSeen(
        budget=evaluation.budget,
        fpr=evaluation.networks[0].fpr,
        learning=None if run.kept else learning,
        difference=learning.difference if learning else 0.0,
        score_drift=stability(histogram(scores_before), scores),
        change=change,
        coverage=metrics.coverage(scores > limits, sample.busy),
        coverage_before=_coverage(champion, part, sample.busy, run) if isinstance(change, Change) else None,
        golden=_golden(run, champion, scorer),
        latency_ms=_latency(scorer, part.rows),
    )
    expected = Expectation(
        features=feature_histograms(run),
        scores=expected_scores(scores, sample.slices, sample.paths),
        golden=golden_clicks(ids, marks, run.split.judge, most),
        clicks=expected_clicks(*hourly_clicks(run)),
        hours=expected_hours(
            np.append(before.times, part.times), np.append(scores_before > limits_before, scores > limits)
        ),
    )
    run.progress("guard", 1)
    return seen, expected


def _coverage(champion: Bundle | None, part: Part, busy: metrics.Bools, run: Run) -> float | None:
    """Return the robotic coverage of the champion on the judged part."""
    if champion is None:
        return None
    scores = Scorer(champion.graph).score(part.rows)
    sample = sample_of(run, part, scores)
    return metrics.coverage(scores > thresholds_of(sample.slices, sample.paths, champion.thresholds), busy)


def _golden(run: Run, champion: Bundle | None, scorer: Scorer) -> GoldenSeen | None:
    """Return what becomes of the champion's golden clicks; None where this run has not their features and labels."""
    expected = expectation_of(champion)
    if expected is None:
        return None
    golden: Golden = expected.golden
    if golden.start < run.split.train[0] or golden.end > run.split.judge[1]:
        return None
    part = read_part(run, (golden.start, golden.end))
    ids = part.clicks["click_id"].combine_chunks()
    chosen = pc.is_in(ids, pa.array((*golden.humans, *golden.robots), pa.string())).to_numpy(zero_copy_only=False)
    scores = scorer.score(np.ascontiguousarray(part.rows[chosen]))
    sample = sample_of(run, part, np.zeros(len(chosen), np.float32))
    limits = thresholds_of(sample.slices[chosen], sample.paths, read_thresholds(run))
    names = ids.filter(pa.array(chosen)).to_pylist()
    marked = dict(zip(names, (scores > limits).tolist(), strict=True))
    humans, robots = ([marked[one] for one in some if one in marked] for some in (golden.humans, golden.robots))
    return GoldenSeen(len(humans), sum(humans), len(robots), sum(robots))


def _latency(scorer: Scorer, rows: Float32s) -> float:
    """Return the milliseconds within which nine in ten clicks are scored one by one, rounded up to a power of two.

    So coarse, and 1 at least, it is the same in every run of a day, and so is the bundle's identity.
    """
    taken = []
    for place in range(min(_TIMED + _WARMING, len(rows))):
        begin = time.perf_counter()
        scorer.score(rows[place : place + 1])
        taken.append(1e3 * (time.perf_counter() - begin))
    found = float(np.quantile(taken[_WARMING:] or taken or [0.0], _SLOW))
    return float(2 ** max(math.ceil(math.log2(max(found, 1.0))), 0))


def overridden(findings: Sequence[Finding], names: Sequence[str], given: Override) -> tuple[Finding, ...]:
    """Return findings of which those that refuse are let pass where they are named."""
    return tuple(
        msgspec.structs.replace(one, override=given) if one.refuses and one.name in names else one for one in findings
    )


def record_overrides(registry: Registry, key: str, findings: Sequence[Finding], bundle: str) -> None:
    """Write every override to the audit log, once for each run and guardrail.

    Args:
        registry: whose audit log it is.
        key: of the run.
        findings: all of the run.
        bundle: what is published because of them.

    Raises:
        RegistryError: the audit log cannot be read or written.
    """
    let = [one for one in findings if one.override is not None]
    if not let:
        return
    audit = registry.audit
    known = {
        (one.details.get("run"), one.details.get("guardrail")) for one in audit.records() if one.kind == "override"
    }
    for finding in let:
        given = finding.override
        if given is not None and (key, finding.name) not in known:
            details = {"run": key, "guardrail": finding.name, "numbers": finding.numbers, "limit": finding.limit}
            audit.append("override", bundle, at=given.at, who=given.who, why=given.why, details=details)
