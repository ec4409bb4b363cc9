"""Filtration: list rules, features and thresholds in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from slidr import extensions
from slidr.bundle import Bundle
from slidr.clock import SECOND
from slidr.features.catalogue import AnyFeature
from slidr.lists import Listed
from slidr.report.document import Grid, Section
from slidr.report.numerals import MISSING, count, percent, threshold_text
from slidr.rules import ListRule

_RULES = "slidr.rules"
_METHODS = "slidr.calibration.methods"
_KINDS = {
    "Clicks": "how many clicks there were in recent spans of time",
    "Velocity": "how fast clicks come",
    "Burst": "whether clicks come faster than they did",
    "Gap": "the times between clicks, and how regular they are",
    "Distinct": "how many different users, sessions or the like were seen with it",
    "PeakDistinct": "how many there were in its busiest hour of the past weeks, which protects shared addresses",
    "TimeOfClick": "the time of the day and of the week",
    "LoggedIn": "whether the user was logged in",
    "Missing": "which identifiers are missing",
}
_CLICK = "the click alone"


def general(rules: Sequence[ListRule], view: Literal["auditor", "advertiser"]) -> Section:
    """Say what list rules do, and which lists they read."""
    words = (
        (
            "Lists and standard checks come first, before the model and whatever it would say: what they name is"
            " general"
            " invalid traffic. A click that is allowed by a list is not judged by the model, and is invalid only where"
            " another list says so."
        ),
    )
    if not rules:
        return Section("General filtration: lists", words, note="No list rule is in use.")
    rows = [row for rule in rules for row in _rule_rows(rule, view)]
    headers: tuple[str, ...] = ("rule", "what it finds", "a hit is", "list", "version", "changed")
    return Section("General filtration: lists", words, grid=Grid((*headers, "entries"), tuple(rows), len(headers)))


def _rule_rows(rule: ListRule, view: Literal["auditor", "advertiser"]) -> list[tuple[str, ...]]:
    said = (rule.name, _first(_RULES, rule.name), "invalid" if rule.action == "invalid" else "allowed")
    if not rule.lists:
        return [(*said, MISSING, rule.version, _day(rule.updated), MISSING)]
    return [
        (*said, _named(one, view), one.version, _day(one.updated), count(one.entries) if view == "auditor" else MISSING)
        for one in rule.lists
    ]


def _named(one: Listed, view: Literal["auditor", "advertiser"]) -> str:
    """Return what a list is called; where its file lies is nobody's business but an auditor's."""
    return one.name if view == "auditor" else one.name.rpartition("/")[2]


def _day(moment: int | None) -> str:
    return MISSING if moment is None else f"{datetime.fromtimestamp(moment // SECOND, UTC):%Y-%m-%d}"


def _first(package: str, name: str) -> str:
    """Return the first sentence of what a module says of itself."""
    if name not in extensions.names(package):
        return MISSING
    paragraph = (extensions.load(package, name).__doc__ or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).rstrip(".")


def method_words(method: str) -> str:
    """Return what a calibration method does."""
    return _first(_METHODS, method)


def features(bundle: Bundle, view: Literal["auditor", "advertiser"]) -> Section:
    """Say what the model sees of a click: each feature for auditors, what is looked at for advertisers."""
    words = (
        (
            f"The model sees {len(bundle.catalogue)} numbers of each click, and nothing of what was bought. They are"
            " counts"
            " over the clicks before it and the click itself; names and addresses reach it only as keyed hashes."
        ),
    )
    if view == "auditor":
        rows = tuple((one.name, _entity(one), one.meaning, one.unit) for one in bundle.catalogue)
        return Section("What the model sees", words, grid=Grid(("feature", "counted by", "meaning", "unit"), rows, 4))
    seen: dict[str, dict[str, None]] = {}
    for one in bundle.catalogue:
        kind = _KINDS.get(type(one).__name__, "further behaviour")
        seen.setdefault(_entity(one), {})[kind] = None
    facts = tuple((entity, "; ".join(kinds)) for entity, kinds in seen.items())
    return Section("What the model sees", words, facts)


def _entity(feature: AnyFeature) -> str:
    return " with ".join(feature.entity).replace("_", " ") or _CLICK


def thresholds(bundle: Bundle, view: Literal["auditor", "advertiser"]) -> Section:
    """Say where the thresholds apply, and to auditors what they are."""
    columns = " and ".join(bundle.contract.slice_columns) or "nothing"
    words = (
        (
            f"Traffic is cut by {columns}, and each part has its own threshold, or that of the larger part around it"
            " where"
            " too few people bought to set one."
        ),
    )
    if view == "advertiser":
        note = "Thresholds are not shown: who knows them knows how far to go."
        return Section("Thresholds", words, note=f"{count(len(bundle.thresholds), 'threshold')}. {note}")
    rows = tuple(
        (
            one.slice, threshold_text(one.threshold), one.source.value, count(one.clicks), count(one.purchases),
            percent(one.ivr), percent(one.fpr, 2), percent(one.coverage),
        )
        for one in bundle.thresholds
    )  # fmt: skip
    headers = ("slice", "threshold", "source", "clicks", "purchases", "IVR", "FPR", "coverage")
    note = "A click is invalid if and only if its score is greater. Figures are those of the day that set them."
    return Section("Thresholds", words, grid=Grid(headers, rows, 1), note=note)
