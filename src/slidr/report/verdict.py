"""Verdict: an evaluation in two sentences."""

from __future__ import annotations

from slidr.evaluation.results import Evaluation, NetworkResult
from slidr.report.numerals import bounds, count, fpr_digits, percent


def verdict(evaluation: Evaluation) -> str:
    """Return what the deciding network did on the judging part, and how the others compare, in two sentences."""
    if not evaluation.networks:
        return "No network was judged. There is nothing to compare."
    return f"{_deed(evaluation)} {_comparison(evaluation)}"


def budget_kept(result: NetworkResult, budget: float) -> str:
    """Say whether the FPR budget was kept, as far as the 95 % interval can tell."""
    digits = fpr_digits(budget)
    if result.fpr.low is None or result.fpr.high is None:
        return f"whether the budget of {percent(budget, digits)} was kept cannot be told"
    if result.fpr.high <= budget:
        return f"the budget of {percent(budget, digits)} was kept"
    if result.fpr.low > budget:
        return f"the budget of {percent(budget, digits)} was exceeded"
    return f"the budget of {percent(budget, digits)} lies within the interval, so these data cannot tell if it was kept"


def _deed(evaluation: Evaluation) -> str:
    result, budget = evaluation.networks[0], evaluation.budget
    digits = fpr_digits(budget)
    totals = evaluation.totals
    deed = (
        f"On the judging part, with thresholds set before it, the network {result.network} marked "
        f"{percent(result.ivr.value)} of {count(totals.reached, 'click')} that reached it as robotic"
    )
    if result.fpr.value is None:
        return f"{deed}; no click there led to a purchase, so {budget_kept(result, budget)}."
    return (
        f"{deed} and, by mistake as far as a log can tell, {percent(result.fpr.value, digits)} of "
        f"{count(totals.reached_purchases, 'purchasing click')} (95 % interval {bounds(result.fpr, digits)}): "
        f"{budget_kept(result, budget)}."
    )


def _comparison(evaluation: Evaluation) -> str:
    at_budget = {
        result.network: result.ivr_at_budget for result in evaluation.networks if result.ivr_at_budget is not None
    }
    if len(at_budget) <= 1:
        return "There is no other network to compare it with at equal FPR."
    first, *others = at_budget
    listed = ", ".join(f"{name} {percent(at_budget[name])}" for name in others[:-1])
    listed += (" and " if listed else "") + f"{others[-1]} {percent(at_budget[others[-1]])}"
    budget = percent(evaluation.budget, fpr_digits(evaluation.budget))
    return (
        f"Allowed to mark at most {budget} of purchasing clicks each, "
        f"{first} marks {percent(at_budget[first])} of all of these clicks, {listed}."
    )
