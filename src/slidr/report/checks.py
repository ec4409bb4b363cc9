"""Checks: what a reader must know before the numbers, each in a sentence that says whether it is well."""

from __future__ import annotations

from typing import Literal, NamedTuple

from slidr.calibration.certificate import Certificate
from slidr.evaluation.change import Change, SliceChange
from slidr.evaluation.results import Assurance, Caught, Evaluation
from slidr.labels.diagnostics import LabelHealth
from slidr.report.numerals import count, fpr_digits, percent
from slidr.report.verdict import budget_kept

_FULL_HOUR = 30
"""Human labels of an hour of the week, in the mean, from which on an hour without any is a gap and no accident."""


class Check(NamedTuple):
    """A question that the report answers.

    Attributes:
        name: what is checked.
        state: whether it is well; `open` where it cannot be told, or is neither good nor bad.
        said: the answer, in a sentence or two.
        anchor: the section of the page that tells more.
    """

    name: str
    state: Literal["good", "warn", "open"]
    said: str
    anchor: str


def checks(evaluation: Evaluation) -> tuple[Check, ...]:
    """Return the checks of an evaluation, those that cannot be told included."""
    found = [_budget(evaluation)] if evaluation.networks else []
    found += [_promise(evaluation.assurance, evaluation.budget), _proxy(evaluation), _labels(evaluation.health)]
    found.append(_change(evaluation))
    if evaluation.networks and (caught := evaluation.networks[0].caught):
        found.append(_truth(evaluation, caught))
    return tuple(found)


def _budget(evaluation: Evaluation) -> Check:
    result, digits = evaluation.networks[0], fpr_digits(evaluation.budget)
    fate = budget_kept(result, evaluation.budget)
    state: Literal["good", "warn", "open"] = "open"
    if "was exceeded" in fate:
        state = "warn"
    elif result.fpr.high is not None and result.fpr.high <= evaluation.budget:
        state = "good"
    said = (
        f"{percent(result.fpr.value, digits)} of purchasing clicks are marked: " if result.fpr.value is not None else ""
    )
    return Check("budget", state, _sentence(f"{said}{fate}"), "slices")


def _promise(assurance: Assurance | None, budget: float) -> Check:
    if assurance is None:
        return Check("certificate", "open", "How the thresholds were set is not known.", "certificate")
    if assurance.certificate:
        return Check("certificate", "good", f"Certified. {promise(assurance.certificate)}", "certificate")
    return Check("certificate", "warn", f"Uncertified. {lack(assurance, budget)}", "certificate")


def promise(certificate: Certificate) -> str:
    """Say what a certificate promises."""
    share, budget = 1 - certificate.risk, certificate.budget
    return (
        f"With {percent(share, 0)} confidence, at most {percent(budget, fpr_digits(budget))} of those who buy on days"
        f" like these are marked. It rests on {count(certificate.purchasers, 'purchaser')}, one click each, of whom"
        f" {count(certificate.marked)} are marked and {count(certificate.allowed)} could be."
    )


def lack(assurance: Assurance, budget: float) -> str:
    """Say what it takes to promise something."""
    return (
        f"The budget was kept on the calibration's own clicks, and nothing is promised of other days. A certificate of"
        f" {percent(budget, fpr_digits(budget))} needs {count(assurance.needed, 'purchaser')} at least; the calibration"
        f" part has {count(assurance.purchasers)}."
    )


def _proxy(evaluation: Evaluation) -> Check:
    if evaluation.proxy is None:
        said = (
            "Whether buyers stand for all people was not checked: that takes purchases, and the features"
            " clicks_user_24h and distinct_user_ip_24h."
        )
        return Check("proxy", "open", said, "proxy")
    state: Literal["good", "warn", "open"] = "warn" if evaluation.proxy.warning else "good"
    return Check("proxy", "open" if evaluation.proxy.ratio is None else state, evaluation.proxy.summary(), "proxy")


def _labels(health: LabelHealth | None) -> Check:
    if health is None:
        return Check("labels", "open", "The labels were not looked at.", "labels")
    bare = bare_hours(health)
    gaps = [f"On {lack.day} none of {count(lack.clicks, 'click')} is {_kind(lack.missing)}." for lack in health.missing]
    if bare and health.human > 168 * _FULL_HOUR:
        gaps.append(f"{count(bare, 'hour')} of the week with clicks have no human label.")
    if gaps:
        return Check("labels", "warn", f"{' '.join(gaps)} Look for gaps in the purchase log.", "labels")
    said = f"{percent(health.human / health.mature if health.mature else None)} of {count(health.mature, 'click')}"
    said += " of the training part are labelled human; no day lacks purchases."
    return Check("labels", "good", said, "labels")


def bare_hours(health: LabelHealth) -> int:
    """Return how many hours of the week have clicks and no human label."""
    return sum(share == 0 for day in health.density for share in day)


def _kind(missing: str) -> str:
    return {"purchase": "followed by a purchase", "human": "labelled human"}.get(missing, missing)


def _change(evaluation: Evaluation) -> Check:
    if isinstance(evaluation.change, Change):
        whole = evaluation.change.slices[0]
        return Check("champion", "open", told_change(whole, fpr_digits(evaluation.budget)), "change")
    return Check("champion", "open", evaluation.change or "Nothing was compared with the champion.", "change")


def told_change(whole: SliceChange, digits: int) -> str:
    """Say in a sentence what changes against the champion."""
    if not whole.flipped:
        return "Every click is decided as the champion decides it."
    return (
        f"{percent(whole.flipped, 2)} of clicks are decided otherwise than by the champion: IVR from"
        f" {percent(whole.ivr_before)} to {percent(whole.ivr)}, FPR from {percent(whole.fpr_before, digits)} to"
        f" {percent(whole.fpr, digits)}."
    )


def _truth(evaluation: Evaluation, caught: Caught) -> Check:
    digits = fpr_digits(evaluation.budget)
    said = (
        f"Simulated: {percent(caught.recall)} of robots' clicks are marked and {percent(caught.true_fpr, digits)} of"
        f" people's; {percent(caught.precision)} of the marks are right."
    )
    equal = evaluation.networks[0].caught_at_budget
    if equal:
        said += (
            f" With {percent(evaluation.budget, digits)} of people's clicks marked, {percent(equal.recall)} of robots'"
            f" would be; of {len(equal.families)} families {len(evaluation.missed)} are caught by less than half."
        )
    return Check("truth", "open", said, "truth")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
