"""Prevents that a bundle no longer knows people and robots of whom the champion was sure."""

from __future__ import annotations

import msgspec

from slidr.evaluation.results import Finding
from slidr.guardrails.found import model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.metrics import clopper_pearson
from slidr.settings import GuardrailsSettings

KIND = "model"
_KEYS = ("most_golden_humans", "least_golden_robots")


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where more known humans are marked, or fewer known robots, than the limits by more than chance."""
    golden = model_of(seen).golden
    if golden is None or golden.humans + golden.robots == 0:
        why = "no champion has handed on golden clicks of the days that this run reads"
        return msgspec.structs.replace(model_finding(__name__, limits, _KEYS, {}, ""), message=why)
    faults = []
    if golden.humans and clopper_pearson(golden.humans_marked, golden.humans)[0] > limits.most_golden_humans:
        faults.append(f"{golden.humans_marked} of {golden.humans} known humans are marked")
    if golden.robots and clopper_pearson(golden.robots_marked, golden.robots)[1] < limits.least_golden_robots:
        faults.append(f"{golden.robots_marked} of {golden.robots} known robots are marked")
    numbers = {
        "humans": golden.humans,
        "humans_marked": golden.humans_marked,
        "robots": golden.robots,
        "robots_marked": golden.robots_marked,
    }
    return model_finding(__name__, limits, _KEYS, numbers, "; ".join(faults))
