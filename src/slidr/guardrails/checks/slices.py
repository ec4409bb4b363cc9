"""Prevents that a part of the traffic is gone, or shows no people, and its threshold is set by others unseen."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where a slice that had its share of the training part is gone, or has too few purchases."""
    due = {path: one for path, one in seen.slices.items() if one.share_before >= limits.least_slice_share}
    gone = [path for path, one in due.items() if not one.clicks]
    bare = [path for path, one in due.items() if one.clicks and one.purchases < limits.least_slice_purchases]
    faults = [
        f"no click of {path}, which was {100 * due[path].share_before:.3g} % of the training part" for path in gone
    ]
    faults += [f"{due[path].purchases} purchasing clicks in {path}, of {due[path].clicks:,} clicks" for path in bare]
    numbers = {
        "slices": len(due),
        "gone": len(gone),
        "fewest_purchases": min((one.purchases for one in due.values()), default=None),
    }
    return data_finding(__name__, limits, ("least_slice_share", "least_slice_purchases"), numbers, "; ".join(faults))
