"""Prevents that hours of missing purchase labels teach the model to invalidate everybody at those hours.

In every hour of the week that the run reads, the share of clicks labelled human, and that labelled so by a purchase,
must not fall far below that of the same hour on other days.
"""

from __future__ import annotations

import numpy as np

from slidr.evaluation.results import Finding
from slidr.guardrails.found import Numbers, data_finding
from slidr.guardrails.hours import lowest, told, usual
from slidr.guardrails.seen import Seen
from slidr.metrics import Float64s, Int64s
from slidr.settings import GuardrailsSettings

KIND = "data"
_FLOOR = 0.5
"""An hour that is bare on most days is held against half of what is usual of all hours."""


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where an hour has far fewer human labels than its clicks let expect."""
    hours, faults, numbers = seen.hours, [], Numbers()
    for name, labels in (("human", hours.human), ("purchase", hours.bought)):
        share = labels / np.maximum(hours.labelled, 1)
        expected = _expected(share, hours.labelled, hours.start, hours.zone)
        numbers[f"{name}_share"] = float(labels.sum() / max(hours.labelled.sum(), 1))
        worst = lowest(labels, expected, (0, len(labels)), limits.least_human_density)
        numbers[f"{name}_least_ratio"] = None if worst is None else worst.ratio
        if worst is not None:
            faults.append(told(worst, hours.start, hours.zone, f"{name} labels"))
    return data_finding(__name__, limits, ("least_human_density",), numbers, "; ".join(faults) or _none(seen))


def _expected(share: Float64s, labelled: Int64s, start: int, zone: str) -> Float64s:
    present = labelled > 0
    if not present.any():
        return np.zeros(len(share), np.float64)
    floor = _FLOOR * float(np.median(share[present]))
    return labelled.astype(np.float64) * np.maximum(np.nan_to_num(usual(share, present, start, zone)), floor)


def _none(seen: Seen) -> str:
    return "" if seen.hours.bought.any() else f"none of {int(seen.hours.labelled.sum()):,} clicks led to a purchase"
