"""Prevents that a feed of purchases that lost hours makes robots of the people who bought in them."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.hours import volume_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"
_KEYS = ("least_volume", "most_volume", "baseline_days")


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where hours of the run have far fewer or far more purchases than the same hours of other days."""
    hours = seen.hours
    volume = volume_of(hours, hours.purchases, hours.last_purchases, "purchases", limits)
    faults = volume.faults
    bought = int(hours.purchases[hours.first : hours.last_purchases].sum())
    if not bought:
        faults = ["the log holds no purchase of these days"]
    numbers = {
        "purchases": bought,
        **volume.ratios,
    }
    return data_finding(__name__, limits, _KEYS, numbers, "; ".join(faults))
