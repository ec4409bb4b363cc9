"""Prevents that yesterday's data, or a day that broke off, is taken for the newest day."""

from __future__ import annotations

from slidr.clock import HOUR
from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings, duration

KIND = "data"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse a judged day that is old, or whose clicks end long before the day does."""
    faults = []
    if seen.age is not None and seen.age > duration(limits.most_age):
        faults.append(
            f"the newest day with clicks was mature {seen.age / HOUR:,.0f} h ago, so clicks of later days are missing;"
            " to judge an old day on purpose, name it with --day"
        )
    if seen.silence > duration(limits.most_silence):
        faults.append(f"the judged part ends with {seen.silence / HOUR:.1f} h without a click")
    numbers = {"age_hours": None if seen.age is None else seen.age / HOUR, "silence_hours": seen.silence / HOUR}
    return data_finding(__name__, limits, ("most_age", "most_silence"), numbers, "; ".join(faults))
