"""Prevents that more people are marked than the budget allows, on a day that set no threshold."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import model_finding, model_of
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "model"
_KEYS = ("most_fpr",)


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where the judged FPR is above the budget by more than chance, or cannot be measured."""
    model = model_of(seen)
    fpr, most = model.fpr, limits.most_fpr * model.budget
    fault = ""
    if fpr.value is None:
        fault = "no judged click led to a purchase, so the FPR cannot be measured"
    elif (fpr.value if fpr.low is None else fpr.low) > most:
        bounds = (
            "" if fpr.low is None or fpr.high is None else f", between {100 * fpr.low:.3g} and {100 * fpr.high:.3g} %"
        )
        budget = f"the budget is {100 * model.budget:.3g} %"
        fault = f"{100 * fpr.value:.3g} % of purchasing clicks are marked{bounds}, and {budget}"
    numbers = {"fpr": fpr.value, "low": fpr.low, "high": fpr.high, "budget": model.budget}
    return model_finding(__name__, limits, _KEYS, numbers, fault)
