"""Reasons: every decision that is not valid says why, in documented codes and in words."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests import small

from slidr.bundle import Bundle, write_bundle
from slidr.decide import check_serves
from slidr.errors import BundleError
from slidr.features.doubts import NO_IDENTIFIERS
from slidr.features.layout import compile_catalogue
from slidr.features.store import Soundness
from slidr.journal.records import Context, Entry
from slidr.reasons import MODEL, UNMEASURABLE, Explainer, explain
from slidr.reasons.wording import grouped
from slidr.rules import prepare_rules
from slidr.service.answers import DEADLINE
from slidr.settings import RulesSettings
from slidr.tables import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"
CONTEXT = Context("b", (), compile_catalogue(small.CATALOGUE).names, (("crawlers", "2026.11"), ("deny", "7")))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose reference click is 1 in every feature."""
    return write_bundle(tmp_path_factory.mktemp("bundles"), small.parts(), created_at=0, version="0")


def entry(bundle: Bundle, verdict: Verdict, *reasons: str, row: bytes = b"", score: float | None = None) -> Entry:
    """Return a journalled decision."""
    threshold = None if score is None else 0.5
    return Entry(
        0, "d-0", "c-0", 12_000_000, 13_000_000, verdict.value, reasons, (), score, threshold, "device=app", bundle.id,
        "live", "x", 1, 0, -1, b"", row,
    )  # fmt: skip


def robotic(bundle: Bundle) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the row, among some, whose score is farthest above that of the reference click."""
    generator = np.random.default_rng(4)
    rows = generator.lognormal(3.0, 3.0, (64, len(bundle.catalogue))).astype(np.float32)
    chosen: np.ndarray[tuple[int], np.dtype[np.float32]] = rows[np.argmax(check_serves(bundle).logit(rows))]
    return chosen


def test_a_decision_of_the_model_is_explained(bundle: Bundle) -> None:
    """Score and threshold come first, then the largest contributions, each with its code and its words."""
    row = robotic(bundle)
    one = entry(bundle, Verdict.INVALID_SOPHISTICATED, MODEL, row=row.tobytes(), score=0.97)
    explainer = Explainer(bundle)
    first, *others = explain(one, CONTEXT, explainer)
    assert first.code == MODEL
    assert first.words == "the score 0.97 is above 0.50, the threshold of the slice device=app"
    every = explainer.contributions(row)
    assert 1 <= len(others) <= 5
    assert [(one.code, one.log_odds) for one in others] == [(one.group, one.log_odds) for one in every[: len(others)]]
    assert all(one.log_odds is not None and one.log_odds >= 0.1 * every[0].log_odds > 0 for one in others)
    quoted = re.compile("a person's median is|half of people's clicks|UTC on a")
    assert all(quoted.search(one.words) for one in others)


def test_a_close_decision_shows_the_digits_that_decided(bundle: Bundle) -> None:
    """Where score and threshold read alike, both are given as float32 has them."""
    one = entry(bundle, Verdict.INVALID_SOPHISTICATED, MODEL, score=0.500001)
    (said,) = explain(one, CONTEXT)
    assert said.words == "the score 0.500001 is above 0.5, the threshold of the slice device=app"


def test_contributions_are_of_the_score_that_decided(bundle: Bundle) -> None:
    """They add up to the difference between the click's log-odds and those of the reference click."""
    row = robotic(bundle)
    scorer = check_serves(bundle)
    assert bundle.reference is not None
    low, high = scorer.logit(np.stack([bundle.reference.row(scorer.names), row]))
    assert math.fsum(one.log_odds for one in Explainer(bundle).contributions(row)) == pytest.approx(high - low)


def test_the_reference_click_has_no_reason_but_its_score(bundle: Bundle) -> None:
    """A click like the reference click, if a threshold is so low, is explained by the threshold alone."""
    row = np.ones(len(bundle.catalogue), np.float32)
    one = entry(bundle, Verdict.INVALID_SOPHISTICATED, MODEL, row=row.tobytes(), score=0.9)
    assert [reason.code for reason in explain(one, CONTEXT, Explainer(bundle))] == [MODEL]


def test_a_bundle_without_a_reference_explains_by_the_score(tmp_path: Path) -> None:
    """Where what is usual is not known, or the bundle is not at hand, score and threshold are all there is to say."""
    parts = msgspec.structs.replace(small.parts(), reference=None)
    bare = write_bundle(tmp_path, parts, created_at=0, version="0")
    one = entry(bare, Verdict.INVALID_SOPHISTICATED, MODEL, row=robotic(bare).tobytes(), score=0.9)
    assert explain(one, CONTEXT, Explainer(bare)) == explain(one, CONTEXT)
    assert len(explain(one, CONTEXT)) == 1


def test_a_row_that_was_erased_leaves_the_score(bundle: Bundle) -> None:
    """Where the features of a click are gone, its decision is explained by what the model said."""
    said = explain(entry(bundle, Verdict.INVALID_SOPHISTICATED, MODEL, score=0.9), CONTEXT, Explainer(bundle))
    assert [reason.code for reason in said] == [MODEL]


def test_another_bundle_does_not_explain(bundle: Bundle) -> None:
    """An explainer of another bundle is refused, for its reasons would not be those of the decision."""
    other = entry(bundle, Verdict.INVALID_SOPHISTICATED, MODEL, score=0.9)._replace(bundle="elsewhere")
    with pytest.raises(BundleError, match="was decided by bundle elsewhere, and cannot be explained by bundle"):
        explain(other, CONTEXT, Explainer(bundle))


def test_an_explainer_needs_parts_that_belong_together(bundle: Bundle) -> None:
    """A network of other features is refused as the service refuses it."""
    broken = msgspec.structs.replace(bundle, catalogue=bundle.catalogue[1:])
    with pytest.raises(BundleError, match="other features than the catalogue"):
        Explainer(broken)


def test_list_hits_name_rule_and_version(bundle: Bundle) -> None:
    """General invalid traffic names each rule that found it, and the version of its list."""
    found = explain(entry(bundle, Verdict.INVALID_GENERAL, "crawlers", "deny"), CONTEXT)
    assert [reason.code for reason in found] == ["crawlers", "deny"]
    assert found[0].words == (
        "the list rule crawlers names this click as general invalid traffic, by its list of version 2026.11"
    )
    assert "version 7" in found[1].words


def test_every_cause_of_unmeasurable_has_words(bundle: Bundle) -> None:
    """No cause that a decision can carry lacks words, and no words stand for a cause that there is not."""
    causes = {NO_IDENTIFIERS, DEADLINE, *(one.name.lower() for one in Soundness if one is not Soundness.SOUND)}
    assert set(UNMEASURABLE) == causes
    for cause in causes:
        (reason,) = explain(entry(bundle, Verdict.UNMEASURABLE, cause), CONTEXT)
        assert (reason.code, reason.words) == (cause, UNMEASURABLE[cause])


def test_a_valid_click_needs_no_reason(bundle: Bundle) -> None:
    """A click that the model found valid has no reasons; one that a list let pass says which list."""
    valid = entry(bundle, Verdict.VALID, score=0.2)
    assert explain(valid, CONTEXT, Explainer(bundle)) == ()
    (passed,) = explain(valid._replace(lists=("deny",)), CONTEXT)
    assert passed.words == "the list rule deny lets this click pass, whatever its score, by its list of version 7"


def test_every_code_is_documented() -> None:
    """The page of reasons names every code of the default catalogue, of list rules and of unmeasurable clicks."""
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    rules = {rule.name for rule in prepare_rules(RulesSettings())}
    assert {MODEL, *grouped(small.CATALOGUE), *UNMEASURABLE} - documented == set()
    assert documented - rules == {MODEL, *grouped(small.CATALOGUE), *UNMEASURABLE}
