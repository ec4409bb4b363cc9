"""Prevents that a feed which delivers clicks twice under new names doubles everybody's counts."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where too many judged clicks equal another one, time and all, in everything but the click_id."""
    fault = ""
    if seen.duplicates - seen.duplicates_before > limits.most_duplicates:
        fault = (
            f"{100 * seen.duplicates:.3g} % of the judged clicks repeat another one in all but the click_id, and"
            f" {100 * seen.duplicates_before:.3g} % of the training part's did"
        )
    numbers = {"share": seen.duplicates, "share_before": seen.duplicates_before}
    return data_finding(__name__, limits, ("most_duplicates",), numbers, fault)
