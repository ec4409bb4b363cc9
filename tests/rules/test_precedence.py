"""List rules in the decision: what beats what, through the code that decides everything."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import small

from slidr.bundle import write_bundle
from slidr.decide import Decider, deciders
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.store import EmbeddedStore
from slidr.rules import prepare_rules
from slidr.settings import RulesSettings
from slidr.tables import Verdict


@pytest.fixture
def decider(tmp_path: Path, switched_on: RulesSettings) -> Decider:
    """A decider with every rule switched on, whose model finds every click invalid."""
    bundle = write_bundle(tmp_path / "bundles", small.parts(), created_at=0, version="0")
    strict = msgspec.structs.replace(bundle, thresholds=(small.threshold("all", -1.0),))
    (found,) = deciders([strict], EmbeddedStore, Pseudonymiser(small.SECRET), prepare_rules(switched_on))
    return found


def click(place: int, **fields: Any) -> Click:
    """Return a click of ada's in a browser."""
    given = {"user": "ada", "ip": "198.51.100.1", "user_agent": small.BROWSER} | fields
    return Click(click_id=f"c{place}", time=small.START + timedelta(seconds=place), **given)


def test_what_beats_what(decider: Decider) -> None:
    """A rule that invalidates beats one that allows, and that one beats the model, which is not asked."""
    clicks = [
        click(0),
        click(1, campaign="house"),
        click(2, campaign="house", user="mallory"),
        click(3, campaign="house", user_agent="Googlebot/2.1", headers={"Purpose": "prefetch"}),
        click(4, ip="192.0.2.1"),
    ]
    found = decider.decide(clicks)
    general, sophisticated = Verdict.INVALID_GENERAL, Verdict.INVALID_SOPHISTICATED
    assert found.verdicts == [sophisticated, Verdict.VALID, general, general, general]
    assert found.lists == [(), ("allow",), ("allow", "deny"), ("allow", "crawlers", "headers"), ("data_centres",)]
    assert found.reasons == [("model",), (), ("deny",), ("crawlers", "headers"), ("data_centres",)]
    assert [score == score for score in found.scores.tolist()] == [True, False, False, False, False]  # noqa: PLR0124 NaN


def test_the_second_click_on_an_impression_is_invalid(decider: Decider) -> None:
    """In one batch or in several, the first click is the model's and the second the rule's; others are their own."""
    first = decider.decide([click(0, impression="a"), click(1, impression="a"), click(2, impression="b")])
    second = decider.decide([click(3, impression="a"), click(4), click(5), click(6, impression="b")])
    assert [*first.reasons, *second.reasons] == [
        ("model",), ("repeats",), ("model",), ("repeats",), ("model",), ("model",), ("repeats",),
    ]  # fmt: skip


def test_a_click_that_is_sent_again_is_no_second_click(decider: Decider) -> None:
    """A retry of a click_id is the same click: it is not counted, and is no repeat on its impression."""
    decider.decide([click(0, impression="a")])
    again = decider.decide([click(0, impression="a")])
    assert again.repeats.tolist() == [True]
    assert "repeats" not in again.lists[0]


def test_a_hit_needs_no_identifiers(decider: Decider) -> None:
    """A crawler without user, session and address is invalid; anybody else without them cannot be measured."""
    nobody = {"user": None, "ip": None}
    found = decider.decide([click(0, **nobody), click(1, **nobody, user_agent="Googlebot/2.1")])
    assert found.verdicts == [Verdict.UNMEASURABLE, Verdict.INVALID_GENERAL]


def test_every_version_is_in_the_context(decider: Decider, switched_on: RulesSettings) -> None:
    """What the journal keeps of a decision names every list rule with its version."""
    assert decider.context.lists == tuple((rule.name, rule.version) for rule in prepare_rules(switched_on))
