"""Prevents that a bundle marks far more, or far less, than the one that decides now, overall or in one slice."""

from __future__ import annotations

import msgspec

from slidr.evaluation.results import Finding
from slidr.guardrails.found import Numbers, model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings
from slidr.slices import ROOT

KIND = "model"
_KEYS = ("most_ivr_change", "most_coverage_change", "most_slice_change", "least_slice_share")


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where IVR or coverage differ too much from the champion's on the same clicks."""
    model = model_of(seen)
    change = model.change
    if isinstance(change, str):
        return msgspec.structs.replace(model_finding(__name__, limits, _KEYS, {}, ""), message=change)
    whole, *parts = change.slices
    faults = []
    if abs(whole.ivr - whole.ivr_before) > limits.most_ivr_change:
        faults.append(f"IVR {100 * whole.ivr:.2f} %, the champion's is {100 * whole.ivr_before:.2f} %")
    numbers: Numbers = {"champion": change.champion, "ivr": whole.ivr, "ivr_before": whole.ivr_before}
    now, before = model.coverage, model.coverage_before
    numbers |= {"coverage": now, "coverage_before": before}
    if now is not None and before is not None and abs(now - before) > limits.most_coverage_change:
        faults.append(f"coverage {100 * now:.2f} %, the champion's is {100 * before:.2f} %")
    large = [one for one in parts if one.slice != ROOT and one.clicks >= limits.least_slice_share * whole.clicks]
    farthest = max(large, key=lambda one: abs(one.ivr - one.ivr_before), default=None)
    if farthest is not None:
        numbers |= {"slice": farthest.slice, "slice_change": farthest.ivr - farthest.ivr_before}
    faults += [
        f"IVR {100 * one.ivr:.2f} % in {one.slice}, the champion's is {100 * one.ivr_before:.2f} %"
        for one in large
        if abs(one.ivr - one.ivr_before) > limits.most_slice_change
    ]
    return model_finding(__name__, limits, _KEYS, numbers, "; ".join(faults))
