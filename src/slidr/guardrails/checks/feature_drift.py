"""Prevents that a feature which means something else than before, or has stopped to move, decides unseen."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import Numbers, data_finding, nothing_seen
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"
_KEYS = ("most_feature_drift",)
_NAMED = 5


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where the judged part's values of a feature are spread otherwise than in the champion's training part."""
    if seen.drift is None or not seen.drift.features:
        return nothing_seen(__name__, limits, _KEYS, "the champion's training saw none of these features")
    ranked = sorted(seen.drift.features.items(), key=lambda item: (-item[1], item[0]))
    numbers: Numbers = {"against": seen.drift.against, **dict(ranked[:_NAMED])}
    wrong = [(name, index) for name, index in ranked if index > limits.most_feature_drift]
    fault = ""
    if wrong:
        told = ", ".join(f"{name} {index:.2f}" for name, index in wrong[:_NAMED])
        more = f" and {len(wrong) - _NAMED} others" if len(wrong) > _NAMED else ""
        fault = f"against the training of {seen.drift.against}, the stability index of {told}{more} is too large"
    return data_finding(__name__, limits, _KEYS, numbers, fault)
