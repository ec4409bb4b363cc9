"""Prevents that a network which has not learnt, or has come apart while it learnt, decides."""

from __future__ import annotations

import math

import msgspec

from slidr.evaluation.results import Finding
from slidr.guardrails.found import model_finding, model_of, nothing_seen
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "model"
_KEYS = ("least_loss_fall",)
_TAIL = 4
"""The loss at the end is the mean of this share, a quarter, of the points: one batch is noisy."""


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where the loss is not finite, or has not fallen from the first point of its curve to the last ones."""
    learning = model_of(seen).learning
    if learning is None or len(learning.curve.training) < 2:  # noqa: PLR2004 a fall has two ends
        why = "nothing was trained step by step, so there is no curve to look at"
        return msgspec.structs.replace(nothing_seen(__name__, limits, _KEYS, why), kind="model")
    losses = learning.curve.training
    everything = (*losses, *learning.curve.held_out)
    if not all(map(math.isfinite, everything)):
        return model_finding(__name__, limits, _KEYS, {"points": len(losses)}, "the loss is not finite all along")
    tail = losses[-max(len(losses) // _TAIL, 1) :]
    first, last = losses[0], sum(tail) / len(tail)
    fall = 1 - last / first if first else 0.0
    fault = ""
    if fall < limits.least_loss_fall:
        fault = f"the loss of {learning.network} went from {first:.4f} to {last:.4f}, by {100 * fall:.2g} % only"
    return model_finding(__name__, limits, _KEYS, {"first": first, "last": last, "fall": fall}, fault)
