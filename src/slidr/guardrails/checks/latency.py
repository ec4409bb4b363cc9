"""Prevents that a network which is too slow to answer in time decides."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "model"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where clicks, scored one by one, take too long on this machine."""
    taken = model_of(seen).latency_ms
    fault = f"nine in ten clicks are scored within {taken:.2f} ms each" if taken > limits.most_latency_ms else ""
    return model_finding(__name__, limits, ("most_latency_ms",), {"milliseconds": taken}, fault)
