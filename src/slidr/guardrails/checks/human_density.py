"""Prevents that hours of missing purchase labels teach the model to invalidate everybody at those hours.

In every hour of the week that the run reads, the clicks labelled human by a purchase must not be far fewer than the
same hour of other days lets expect, by their number and by their share of the clicks; nor must all that are labelled
human in every six hours, since an hour of the night may rest on a few busy accounts. A burst of
robots lowers the share alone, and a gap in the clicks lowers the number alone: neither teaches the model an error.
"""

from __future__ import annotations

import numpy as np

from slidr.evaluation.results import Finding
from slidr.guardrails.found import Numbers, data_finding
from slidr.guardrails.hours import WINDOWS, lowest, told, usual
from slidr.guardrails.seen import Seen
from slidr.metrics import Float64s, Int64s
from slidr.settings import GuardrailsSettings

KIND = "data"
_FLOOR = 0.5
"""An hour that is bare on most days is held against half of what is usual of all hours."""


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where an hour has far fewer human labels than its clicks let expect."""
    hours, faults, numbers = seen.hours, [], Numbers()
    for name, labels, windows in (("human", hours.human, WINDOWS[1:]), ("purchase", hours.bought, WINDOWS)):
        expected = _expected(labels, hours.labelled, hours.start, hours.zone)
        numbers[f"{name}_share"] = float(labels.sum() / max(hours.labelled.sum(), 1))
        worst = lowest(labels, expected, (0, len(labels)), limits.least_human_density, windows)
        numbers[f"{name}_least_ratio"] = None if worst is None else worst.ratio
        if worst is not None:
            faults.append(told(worst, hours.start, hours.zone, f"{name} labels"))
    return data_finding(__name__, limits, ("least_human_density",), numbers, "; ".join(faults) or _none(seen))


def _expected(labels: Int64s, labelled: Int64s, start: int, zone: str) -> Float64s:
    """Return the labels to be expected of each hour: by share or by number, whichever is fewer."""
    present = labelled > 0
    if not present.any():
        return np.zeros(len(labels), np.float64)
    share = labels / np.maximum(labelled, 1)
    floor = _FLOOR * float(np.median(share[present]))
    by_share = labelled * np.maximum(np.nan_to_num(usual(share, present, start, zone)), floor)
    by_number = np.nan_to_num(usual(labels, present, start, zone), nan=np.inf)
    return np.minimum(by_share, np.maximum(by_number, floor * float(np.median(labelled[present]))))


def _none(seen: Seen) -> str:
    return "" if seen.hours.bought.any() else f"none of {int(seen.hours.labelled.sum()):,} clicks led to a purchase"
