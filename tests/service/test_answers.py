"""What is answered of a decision, and what is journalled: modes, shadows, clicks that were not folded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.making import NOW, SECRET, click, make_bundle

from slidr.bundle import Bundle
from slidr.decide import Decider, deciders, union_layout
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.rules import prepare_rules
from slidr.service.answers import DEADLINE, Recorder, answer_of, enforcement, shadows_of, unfolded_once
from slidr.service.live import live_of
from slidr.settings import RulesSettings, ServiceSettings

CAMPAIGNS = [f"campaign {place}" for place in range(500)]


def clicks_of(*places: int, **changes: object) -> list[Click]:
    """Return clicks as the door admits them."""
    return [msgspec.convert(click(place, **changes), Click) for place in places]


def decider_of(bundle: Bundle) -> Decider:
    """Return a decider over an empty store."""
    store = EmbeddedStore(compile_catalogue(bundle.catalogue))
    return Decider(bundle, store, Pseudonymiser(SECRET), prepare_rules(RulesSettings()))


@pytest.mark.parametrize(("mode", "told"), [("enforce", True), ("observe", False)])
def test_modes_change_the_answer_alone(bundle: Bundle, mode: str, told: bool) -> None:  # noqa: FBT001 a case
    """Observed, what was decided is in the entry, and nothing is answered as invalid; enforced, both are the same."""
    clicks = [*clicks_of(*range(30)), *clicks_of(30, user_agent="Googlebot/2.1")]
    clicks += clicks_of(31, user=None, session=None, ip=None)
    decisions = decider_of(bundle).decide(clicks)
    settings = msgspec.convert({"mode": mode}, ServiceSettings)
    entries = Recorder("j", enforcement(settings)).entries(decisions, clicks, NOW)
    assert [entry.verdict for entry in entries] == decisions.verdicts
    assert [entry.reasons for entry in entries] == decisions.reasons
    assert {entry.enforced for entry in entries} == {int(told)}
    answers = [answer_of(entry) for entry in entries]
    assert {answer.enforced for answer in answers} == {told}
    invalid = [str(verdict).startswith("invalid") for verdict in decisions.verdicts]
    assert sum(invalid) > 1
    assert [answer.invalid for answer in answers] == [told and one for one in invalid]
    # What could not be measured is said in every mode: nobody is accused by it.
    assert answers[-1].verdict == "unmeasurable"
    for answer, entry, one in zip(answers, entries, invalid, strict=True):
        if one and not told:
            assert (answer.verdict, answer.reasons) == ("valid", ())
        else:
            assert (answer.verdict, answer.reasons) == (entry.verdict, entry.reasons)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_canary_holds_a_smaller_one(one: float, other: float) -> None:
    """A campaign that is enforced stays so when the share grows; 0 is none, 1 is all, and no campaign is not."""
    small, large = (
        enforcement(ServiceSettings(mode="canary", canary_share=share)) for share in (min(one, other), max(one, other))
    )
    assert {campaign for campaign in CAMPAIGNS if small(campaign)} <= {name for name in CAMPAIGNS if large(name)}
    assert not small(None)
    assert not any(map(enforcement(ServiceSettings(mode="canary", canary_share=0)), CAMPAIGNS))
    assert all(map(enforcement(ServiceSettings(mode="canary", canary_share=1)), CAMPAIGNS))


def test_a_canary_is_the_same_everywhere(bundle: Bundle) -> None:
    """Which campaigns are enforced depends on their names alone, in every process and for ever."""
    canary = enforcement(ServiceSettings(mode="canary", canary_share=0.25))
    assert [name for name in CAMPAIGNS[:12] if canary(name)] == [f"campaign {odd}" for odd in (1, 3, 5, 7, 9)]
    clicks = [one for place in range(40) for one in clicks_of(place, campaign=f"campaign {place // 2 % 2}")]
    decisions = decider_of(bundle).decide(clicks)
    entries = Recorder("j", canary).entries(decisions, clicks, NOW)
    assert [entry.enforced for entry in entries] == [0, 0, 1, 1] * 10
    answers = [answer_of(entry) for entry in entries]
    told = {(answer.enforced, answer.invalid) for answer in answers}
    assert told == {(True, True), (True, False), (False, False)}
    assert {entry.enforced for entry in entries if entry.verdict == "invalid_sophisticated"} == {0, 1}


def test_clicks_that_were_not_folded_have_places_of_their_own(bundle: Bundle) -> None:
    """They are counted down from -1, carry no row, and a click that comes twice among them is one."""
    decider, recorder = decider_of(bundle), Recorder("j", next_unfolded=-7)
    clicks = clicks_of(1, 2, 1, 3)
    decisions = unfolded_once(decider.unmeasured(clicks, DEADLINE))
    assert decisions.repeats.tolist() == [False, False, True, False]
    entries = recorder.entries(decisions, clicks, NOW)
    assert [entry.sequence for entry in entries] == [-7, -8, -9]
    assert {entry.decision_id for entry in entries} == {"j--7", "j--8", "j--9"}
    assert {(entry.verdict, entry.reasons, entry.row) for entry in entries} == {("unmeasurable", ("deadline",), b"")}
    assert [entry.score for entry in entries] == [None] * 3
    assert recorder.entries(decisions, clicks, NOW)[0].sequence == -10
    folded = decider.decide(clicks)
    assert unfolded_once(folded) is folded


def test_a_shadow_is_of_the_click_and_not_of_its_repeat(bundle: Bundle, tmp_path: Path) -> None:
    """A challenger decides each click once; its row is kept where its features are others."""
    few = make_bundle(tmp_path, catalogue=check_catalogue((Clicks("user", "1h"),)))
    again = msgspec.structs.replace(bundle, id="another")
    for rival, rows in ((few, True), (again, False)):
        store = EmbeddedStore(union_layout((bundle, rival)))
        found = deciders((bundle, rival), lambda _layout, store=store: store, Pseudonymiser(SECRET))  # type: ignore[misc]
        live = live_of(found, store)
        clicks = clicks_of(0, 1, 0, 2)
        first, second = live.decide(clicks)
        assert second is not None
        entries = Recorder("j").entries(first, clicks, NOW)
        shadows = shadows_of(first, second, entries)
        assert [shadow.sequence for shadow in shadows] == [0, 1, 2]
        alone = decider_of(rival).decide(clicks_of(0, 1, 2))
        assert [shadow.verdict for shadow in shadows] == alone.verdicts
        assert np.array([shadow.score for shadow in shadows], np.float32).tobytes() == alone.scores.tobytes()
        kept = [row.tobytes() for row in alone.rows] if rows else [None] * 3
        assert [shadow.row for shadow in shadows] == kept
        assert {(shadow.bundle, shadow.context) for shadow in shadows} == {(rival.id, found[1].context.id)}
        unfolded = live.champion.unmeasured(clicks, DEADLINE)
        assert shadows_of(unfolded, second, Recorder("j").entries(unfolded, clicks, NOW)) == []
