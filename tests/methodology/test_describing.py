"""The description of methodology: everything for auditors, nothing for advertisers that a robot could learn from."""

from __future__ import annotations

import msgspec
import pytest
from tests.learned import Learned

from slidr.bundle import Bundle
from slidr.methodology import describe
from slidr.report.document import Document, as_html, as_markdown
from slidr.report.numerals import threshold_text
from slidr.rules import prepare_rules

PARTS = (
    "What is counted",
    "General filtration: lists",
    "Sophisticated filtration: the model",
    "What the model sees",
    "Thresholds",
    "The budget of false positives",
    "Empirical evidence",
    "What unmeasurable means",
    "Controls before a model decides",
    "Limits",
    "Corrections, records and changes",
    "Versions",
)


@pytest.fixture(scope="module")
def auditor(learned: Learned) -> Document:
    """What an auditor reads."""
    rules = prepare_rules(learned.settings.rules)
    return describe(learned.bundle, role="champion", rules=rules, settings=learned.settings)


@pytest.fixture(scope="module")
def advertiser(learned: Learned) -> Document:
    """What an advertiser reads."""
    rules = prepare_rules(learned.settings.rules)
    return describe(learned.bundle, role="champion", rules=rules, settings=learned.settings, view="advertiser")


def test_both_have_every_part(auditor: Document, advertiser: Document) -> None:
    """Who reads less reads shorter parts, not fewer."""
    for document in (auditor, advertiser):
        assert tuple(section.name for section in document.sections) == PARTS


def test_an_auditor_sees_everything(auditor: Document, learned: Learned) -> None:
    """Each feature with its meaning, each threshold, each list with its version, and the hash of each file."""
    text = as_markdown(auditor)
    for feature in learned.bundle.catalogue:
        assert f"| {feature.name} |" in text
        assert feature.meaning.replace("|", "\\|") in text
    for threshold in learned.bundle.thresholds:
        assert f"| {threshold.slice} | {threshold_text(threshold.threshold)} |" in text
    for rule in prepare_rules(learned.settings.rules):
        assert all(one.version in text for one in rule.lists)
    assert all(digest in text for digest in learned.bundle.manifest.files.values())


def test_an_advertiser_sees_no_threshold(advertiser: Document, learned: Learned) -> None:
    """No threshold, no single feature, no slice with its rate, and no path of a list."""
    text = as_markdown(advertiser) + as_html(advertiser)
    assert "Thresholds are not shown" in text
    assert not [one.slice for one in learned.bundle.thresholds if threshold_text(one.threshold) in text]
    assert not [one.name for one in learned.bundle.catalogue if "_" in one.name and f"{one.name} " in text]
    assert "SHA-256" not in text
    assert "device=" not in text
    assert "how fast clicks come" in text
    assert "5.00 % of purchasing clicks" in text


def test_a_bundle_that_tells_little_is_described_all_the_same(learned: Learned) -> None:
    """One that was published by hand has no measurements, days or guardrails, and says so; no list is in use."""
    bare: Bundle = msgspec.structs.replace(learned.bundle, metrics={}, data={}, guardrails=(), calibration={})
    text = as_markdown(describe(bare, role="candidate", rules=(), settings=learned.settings))
    assert "This bundle was not guarded." in text
    assert "**trained on**: not known" in text
    assert "No list rule is in use." in text
    assert "Empirical evidence" not in text
