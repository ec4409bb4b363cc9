"""Describing: the description of methodology of a bundle, in the parts that audits of invalid traffic ask for.

The outline is that of the Media Rating Council (Invalid Traffic guidelines, 2020), from secondary sources: general
and sophisticated filtration apart, parameters with the evidence that they rest on, limits, corrections, and the
control of changes. It is no claim of accreditation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from slidr.bundle import Bundle
from slidr.calibration.certificate import Certificate
from slidr.clock import SECOND
from slidr.evaluation.results import Finding, Interval, ModelCard
from slidr.methodology.filtration import features, general, method_words, thresholds
from slidr.methodology.policies import corrections, counting, limits, unmeasurable
from slidr.report.checks import promise
from slidr.report.document import Document, Grid, Section
from slidr.report.guards import finding_rows
from slidr.report.numerals import MISSING, bounds, count, fpr_digits, percent
from slidr.rules import ListRule
from slidr.settings import Settings

View = Literal["auditor", "advertiser"]
"""Who reads: an auditor is shown everything, an advertiser nothing that a robot could learn from."""


class _Measured(msgspec.Struct, frozen=True):
    """What a bundle keeps of the network that decides."""

    ivr: Interval
    fpr: Interval
    coverage: Interval


class _Totals(msgspec.Struct, frozen=True):
    """What a bundle keeps of all clicks of its judging day."""

    clicks: int
    purchases: int
    listed: int
    unmeasurable: int
    ivr: float
    fpr: Interval


class Described(NamedTuple):
    """What is described.

    Attributes:
        bundle: decides.
        role: what it is in the registry, such as `champion`.
        rules: the list rules beside it.
        settings: how labels are made, slices are cut, lists are read, and what is reported.
        view: who reads.
    """

    bundle: Bundle
    role: str
    rules: Sequence[ListRule]
    settings: Settings
    view: View


def describe(
    bundle: Bundle, *, role: str, rules: Sequence[ListRule], settings: Settings, view: View = "auditor"
) -> Document:
    """Return the description of methodology of a bundle.

    Args:
        bundle: the bundle.
        role: what it is in the registry, such as `champion`.
        rules: the list rules that run before it, with the versions of their lists.
        settings: those that it decides under.
        view: who reads; an advertiser is not shown thresholds, single features, or what the guardrails counted.
    """
    about = Described(bundle, role, rules, settings, view)
    made = datetime.fromtimestamp(bundle.manifest.created_at // SECOND, UTC)
    return Document(
        over=f"description of methodology, for {'auditors' if view == 'auditor' else 'advertisers'}",
        title=f"How clicks are filtered by bundle {bundle.id}",
        lead=(
            f"Made {made:%Y-%m-%d %H:%M} UTC by slidr {bundle.manifest.slidr}; {role} of its registry. Written from the"
            " bundle and its settings, so that it says what is done and not what was planned. It is no claim of"
            " accreditation."
        ),
        sections=tuple(
            section
            for section in (
                counting(),
                general(rules, view),
                _sophisticated(about),
                features(bundle, view),
                thresholds(bundle, view),
                _budget(about),
                _evidence(about),
                unmeasurable(),
                _guardrails(about),
                limits(_card(bundle)),
                corrections(settings),
                _identity(about),
            )
            if section is not None
        ),
    )


def _card(bundle: Bundle) -> ModelCard | None:
    found = bundle.metrics.get("card")
    return None if found is None else msgspec.convert(found, ModelCard)


def _sophisticated(about: Described) -> Section:
    """Say what the model is, and what it learnt from."""
    labels, bundle = about.settings.labels, about.bundle
    rfm = (
        " or whose account's purchases speak for a person by how recent, frequent and dear they are"
        if labels.rfm
        else ""
    )
    facts = [("trained on", _span(bundle, "train"))]
    card = _card(bundle)
    if card is not None and about.view == "auditor":
        facts += list(card.facts)
    return Section(
        "Sophisticated filtration: the model",
        (
            (
                "What no list names is found by how it behaves. A model gives every click that passes the lists a"
                " score from what was counted of its user, session, address and user agent up to that click. A click"
                " whose"
                " score is above the threshold of its part of the traffic is invalid."
            ),
            (
                f"Nobody knows the truth about a click, so the model learns from purchases: human is a click that was"
                f" followed by a purchase within {labels.attribution_window}{rfm}. All other clicks are unlabelled,"
                " people"
                " who did not buy among them. It learns from whole days before those that set and judge its thresholds."
            ),
        ),
        tuple(facts),
    )


def _budget(about: Described) -> Section:
    """Say how the thresholds were set, and what is promised of them."""
    calibration, settings = about.bundle.calibration, about.settings.calibration
    certificate = calibration.get("certificate")
    kept = None if certificate is None else msgspec.convert(certificate, Certificate)
    budget = settings.fpr_budget if kept is None else kept.budget
    said = (
        promise(kept)
        if kept
        else "None: the budget was kept on the clicks that set the thresholds, and nothing is promised of other days."
    )
    method = str(calibration.get("method", settings.method))
    return Section(
        "The budget of false positives",
        (
            (
                "Whoever buys is taken to be human. The budget is the share of purchasing clicks, of those that reach"
                " the"
                " model, that may be found invalid; under it, thresholds find as many clicks invalid as they can."
            ),
        ),
        (
            ("budget", f"{percent(budget, fpr_digits(budget))} of purchasing clicks"),
            ("method", f"{method}: {method_words(method)}"),
            ("certificate", said),
            ("set on", _span(about.bundle, "calibrate")),
        ),
    )


def _evidence(about: Described) -> Section | None:
    """Say what was measured on a day that neither the network nor the thresholds had seen."""
    found = about.bundle.metrics
    if not found.get("networks") or "totals" not in found:
        return None
    first = msgspec.convert(found["networks"][0], _Measured)
    totals = msgspec.convert(found["totals"], _Totals)
    rows = [
        ("found invalid by the model, of clicks that reached it", percent(first.ivr.value), bounds(first.ivr, 1)),
        ("false positives, of purchasing clicks that reached it", percent(first.fpr.value, 2), bounds(first.fpr, 2)),
        ("clicks of very busy sessions found invalid", percent(first.coverage.value), bounds(first.coverage, 1)),
        ("found invalid by lists or model, of all clicks", percent(totals.ivr), ""),
        ("false positives of both, of all purchasing clicks", percent(totals.fpr.value, 2), bounds(totals.fpr, 2)),
    ]
    note = (
        f"{count(totals.clicks, 'click')}, {count(totals.purchases)} of them purchasing; list rules found"
        f" {count(totals.listed)} invalid, {count(totals.unmeasurable)} had no identifier. Judged on"
        f" {_span(about.bundle, 'judge')}."
    )
    return Section(
        "Empirical evidence",
        ("Measured on a day behind those that trained the network and set its thresholds.",),
        grid=Grid(("what", "share", "95 % interval"), tuple(rows)),
        note=note,
    )


def _guardrails(about: Described) -> Section:
    """Say what checked the bundle before it decided, overrides included."""
    findings = tuple(msgspec.convert(one, Finding) for one in about.bundle.guardrails)
    words = (
        (
            "Before a bundle decides, guardrails look at the day's data and at the model: volumes, delays and gaps of"
            " the"
            " logs, drift of features and scores, the budget with its bound, known people and robots. One that"
            " refuses keeps"
            " the bundle before in place; it is overridden only with a reason, which is kept."
        ),
    )
    passed = sum(one.passed for one in findings)
    overridden = [one.name for one in findings if one.override is not None]
    note = f"{passed} of {len(findings)} passed" if findings else "This bundle was not guarded."
    if overridden:
        note += f"; overridden: {', '.join(overridden)}"
    if about.view == "advertiser" or not findings:
        return Section("Controls before a model decides", words, note=note)
    rows = tuple((row.name, row.kind, row.state, row.said, row.numbers) for row in finding_rows(findings))
    warned = tuple(place for place, row in enumerate(finding_rows(findings)) if row.warn)
    grid = Grid(("guardrail", "of the", "result", "what it found", "numbers and limits"), rows, 5, warned)
    return Section("Controls before a model decides", words, grid=grid, note=note)


def _identity(about: Described) -> Section:
    """Say which versions this description is of."""
    bundle = about.bundle
    facts = [
        ("bundle", f"{bundle.id} ({about.role})"),
        ("slidr", bundle.manifest.slidr),
        ("lists", ", ".join(f"{rule.name} {rule.version}" for rule in about.rules) or "none"),
        ("traffic is cut by", ", ".join(bundle.contract.slice_columns) or "nothing"),
    ]
    if about.view == "auditor":
        facts += [(name, f"SHA-256 {digest}") for name, digest in sorted(bundle.manifest.files.items())]
        facts.append(
            ("tables", ", ".join(f"{name} {at}" for name, at in bundle.data.get("lake", {}).items()) or MISSING)
        )
    return Section("Versions", facts=tuple(facts))


def _span(bundle: Bundle, part: str) -> str:
    """Return the days of a part of the log that a bundle was made of."""
    found: Any = bundle.data.get(part)
    if not found:
        return "not known"
    start, end = (datetime.fromtimestamp(moment // SECOND, UTC) for moment in found)
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
