"""Prevents that a bundle decides as often as the champion, and all the same decides otherwise."""

from __future__ import annotations

import msgspec

from slidr.evaluation.results import Finding
from slidr.guardrails.found import Numbers, model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "model"
_KEYS = ("most_flips",)


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where too large a share of the judged clicks is decided otherwise than by the champion."""
    change = model_of(seen).change
    if isinstance(change, str):
        return msgspec.structs.replace(model_finding(__name__, limits, _KEYS, {}, ""), message=change)
    whole = change.slices[0]
    fault = ""
    if whole.flipped > limits.most_flips:
        fault = (
            f"{100 * whole.flipped:.2f} % of {whole.clicks:,} clicks are decided otherwise than by {change.champion}:"
            f" {100 * whole.newly_marked:.2f} % newly marked, {100 * whole.newly_valid:.2f} % newly valid"
        )
    numbers: Numbers = {
        "flipped": whole.flipped,
        "newly_marked": whole.newly_marked,
        "newly_valid": whole.newly_valid,
        "champion": change.champion,
    }
    return model_finding(__name__, limits, _KEYS, numbers, fault)
