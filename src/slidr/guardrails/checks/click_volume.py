"""Prevents that a feed of clicks that lost hours, or was sent many times over, shapes the model and its thresholds."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.hours import volume_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"
_KEYS = ("least_volume", "most_volume", "baseline_days")


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where hours of the run have far fewer or far more clicks than the same hours of other days."""
    hours = seen.hours
    volume = volume_of(hours, hours.clicks, hours.last, "clicks", limits)
    faults = volume.faults
    if seen.empty_days:
        faults.append(f"no click at all on {', '.join(seen.empty_days)}")
    numbers = {
        "clicks": int(hours.clicks[hours.first : hours.last].sum()),
        **volume.ratios,
        "empty_days": len(seen.empty_days),
    }
    return data_finding(__name__, limits, _KEYS, numbers, "; ".join(faults))
