"""Prevents that people whose purchase is not known yet are taken for robots."""

from __future__ import annotations

import numpy as np

from slidr.clock import HOUR
from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.hours import usual
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings, duration

KIND = "data"
_EXPECTED = 10.0
"""Purchases that must be missing before a silence of the feed is more than chance."""


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where attribution windows are still open, or the purchases known end long before the windows do."""
    hours, faults = seen.hours, []
    if seen.unripe > limits.most_unripe:
        faults.append(f"{100 * seen.unripe:.3g} % of the clicks may still lead to a purchase")
    bought = np.flatnonzero(hours.purchases[: hours.last_purchases])
    newest = int(bought[-1]) + 1 if len(bought) else hours.first
    silent = hours.last_purchases - newest
    known = np.arange(len(hours.purchases)) < newest
    expected = float(np.nansum(usual(hours.purchases, known, hours.start, hours.zone)[newest : hours.last_purchases]))
    if silent * HOUR > duration(limits.most_silence) and expected >= _EXPECTED:
        faults.append(f"no purchase is known of the last {silent} h, in which {expected:,.0f} are usual")
    numbers = {"unripe_share": seen.unripe, "silence_hours": silent, "expected_in_silence": expected}
    return data_finding(__name__, limits, ("most_unripe", "most_silence"), numbers, "; ".join(faults))
