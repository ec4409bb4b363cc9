"""Guardrails of the model: each refuses what it is there for, and says so in numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from tests.guardrails.seeing import GOOD_MODEL, found, good, one_slice, spoilt_model

from slidr.evaluation.change import Change
from slidr.evaluation.results import Interval, Learning
from slidr.guardrails.seen import GoldenSeen
from slidr.model.training import Curve


def refused(name: str, *words: str, **changed: Any) -> None:
    """Check that a guardrail refuses a model, naming itself, its numbers, its limits and how to override it."""
    finding = found(name, spoilt_model(**changed))
    assert finding.refuses
    for word in (f"guardrail {name} refuses", f"--override {name} --why TEXT", *finding.limit, *words):
        assert word in finding.message


def learnt(*losses: float) -> Learning:
    """Return how a network learnt whose loss went like this."""
    return Learning("three_layer", Curve("clicks", tuple(range(len(losses))), losses))


def test_a_loss_must_be_finite_and_fall() -> None:
    """A loss that is not finite, or ends where it began, is refused; a kept network has none."""
    refused("loss", "not finite", learning=learnt(0.7, math.nan, 0.4))
    refused("loss", "from 0.7000 to 0.6990", learning=learnt(0.7, 0.7, 0.7, 0.699))
    assert found("loss", spoilt_model(learning=None)).passed
    assert found("loss", spoilt_model(learning=learnt())).kind == "model"


def test_the_budget_must_be_kept() -> None:
    """An FPR above the budget by more than chance is refused, and one that cannot be measured."""
    refused("fpr", "1.2 % of purchasing clicks", "the budget is 0.5 %", fpr=Interval(0.012, 0.008, 0.017))
    refused("fpr", "cannot be measured", fpr=Interval(None, None, None))
    assert found("fpr", spoilt_model(fpr=Interval(0.007, 0.003, 0.012))).passed


def test_the_champion_must_not_be_left_far_behind() -> None:
    """IVR overall, in one large slice, and coverage must stay within their bands."""
    far = Change("old", (one_slice("all", 0.2, ivr=0.45), one_slice("device=app", 0.1)))
    refused("band", "IVR 45.00 %, the champion's is 20.00 %", change=far)
    slice_alone = Change("old", (one_slice("all", 0.2), one_slice("device=app", 0.1, ivr=0.9)))
    refused("band", "in device=app", change=slice_alone)
    refused("band", "coverage 20.00 %, the champion's is 88.00 %", coverage=0.2)
    small = Change("old", (one_slice("all", 0.2), one_slice("device=tv", 0.1, ivr=0.9, clicks=100)))
    assert found("band", spoilt_model(change=small)).passed


def test_decisions_must_not_flip_in_masses() -> None:
    """As many marks as before on other clicks are refused."""
    flipped = one_slice("all", 0.2, newly_marked=0.1, newly_valid=0.1)
    refused("flips", "20.00 % of 40,000 clicks are decided otherwise than by old", change=Change("old", (flipped,)))


def test_scores_must_lie_where_thresholds_were_set() -> None:
    """A day whose scores are spread otherwise is refused."""
    refused("score_drift", "is 0.80", score_drift=0.8)
    refused("score_drift", score_drift=math.nan)


def test_known_humans_and_robots_must_be_known() -> None:
    """Marked buyers and unmarked robots are refused where they are more than chance; few of them are not enough."""
    refused("golden", "40 of 200 known humans are marked", golden=GoldenSeen(200, 40, 0, 0))
    refused("golden", "50 of 200 known robots are marked", golden=GoldenSeen(0, 0, 200, 50))
    assert found("golden", spoilt_model(golden=GoldenSeen(5, 1, 3, 1))).passed


def test_the_graph_must_score_as_the_network_did() -> None:
    """A difference beyond rounding is refused."""
    refused("graph", "differs by 1.0e-03", difference=1e-3)


def test_scoring_must_be_quick() -> None:
    """A network that takes milliseconds a click is refused."""
    refused("latency", "within 9.00 ms", latency_ms=9.0)


@pytest.mark.parametrize("name", ["band", "flips", "golden"])
def test_without_a_champion_nothing_is_compared(name: str) -> None:
    """The first bundle passes, and the finding says why."""
    finding = found(name, good(model=replace(GOOD_MODEL, change="There is no champion yet.", golden=None)))
    assert finding.passed
    assert "no champion" in finding.message


def test_a_guardrail_of_the_model_needs_one() -> None:
    """Asked before a model was judged, it is a mistake of the caller's."""
    with pytest.raises(ValueError, match="before a model was judged"):
        found("fpr", good(model=None))
