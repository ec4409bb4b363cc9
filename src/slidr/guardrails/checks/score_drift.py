"""Prevents that thresholds set on one day are used on days whose scores lie elsewhere."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "model"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where the scores of the judged part are spread otherwise than those that set the thresholds."""
    index = model_of(seen).score_drift
    fault = ""
    if not index <= limits.most_score_drift:
        fault = f"the stability index of the scores from the calibration part to the judged one is {index:.2f}"
    return model_finding(__name__, limits, ("most_score_drift",), {"index": index}, fault)
