"""Prevents that a feed of clicks that lost hours, or was sent many times over, shapes the model and its thresholds."""

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
    """Refuse where hours of the run have far fewer or far more clicks than the same hours of other days."""
    hours = seen.hours
    span = (hours.first, hours.last)
    # Before its first click the log has none: those hours say nothing of what is usual.
    known = np.maximum.accumulate(hours.clicks > 0) & (np.arange(len(hours.clicks)) < hours.last)
    expected = usual(hours.clicks, known, hours.start, hours.zone)
    low = lowest(hours.clicks, expected, span, limits.least_volume)
    high = highest(hours.clicks, expected, span, limits.most_volume)
    faults = [told(one, hours.start, hours.zone, "clicks") for one in (low, high) if one is not None]
    if seen.empty_days:
        faults.append(f"no click at all on {', '.join(seen.empty_days)}")
    numbers = {
        "clicks": int(hours.clicks[hours.first : hours.last].sum()),
        "least_ratio": None if low is None else low.ratio,
        "most_ratio": None if high is None else high.ratio,
        "empty_days": len(seen.empty_days),
    }
    return data_finding(__name__, limits, _KEYS, numbers, "; ".join(faults))
