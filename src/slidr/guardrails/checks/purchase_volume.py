"""Prevents that a feed of purchases that lost hours makes robots of the people who bought in them."""

from __future__ import annotations

import numpy as np

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.hours import highest, lowest, told, usual
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"
_KEYS = ("least_volume", "most_volume", "baseline_days")


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where hours of the run have far fewer or far more purchases than the same hours of other days."""
    hours = seen.hours
    span = (hours.first, hours.last_purchases)
    # Before its first purchase the log has none: those hours say nothing of what is usual.
    known = np.maximum.accumulate(hours.purchases > 0) & (np.arange(len(hours.purchases)) < hours.last_purchases)
    expected = usual(hours.purchases, known, hours.start, hours.zone)
    low = lowest(hours.purchases, expected, span, limits.least_volume)
    high = highest(hours.purchases, expected, span, limits.most_volume)
    faults = [told(one, hours.start, hours.zone, "purchases") for one in (low, high) if one is not None]
    bought = int(hours.purchases[span[0] : span[1]].sum())
    if not bought:
        faults = ["the log holds no purchase of these days"]
    numbers = {
        "purchases": bought,
        "least_ratio": None if low is None else low.ratio,
        "most_ratio": None if high is None else high.ratio,
    }
    return data_finding(__name__, limits, _KEYS, numbers, "; ".join(faults))
