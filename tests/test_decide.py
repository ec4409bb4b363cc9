"""The one decision path: threshold, slices, lists, repeats, and the same bits from every side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import small

from slidr.batch import decide_table
from slidr.bundle import Bundle, Parts, write_bundle
from slidr.clock import HOUR, MINUTE
from slidr.contest import read_champion
from slidr.decide import (
    MODEL,
    Decider,
    Decisions,
    check_serves,
    deciders,
    union_layout,
)
from slidr.errors import BundleError, RegistryError
from slidr.features.catalogue import Clicks as ClicksFeature
from slidr.features.clicks import Click, click_type, encode_clicks
from slidr.features.doubts import NO_IDENTIFIERS
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.side_by_side import SideBySide, side_by_side
from slidr.features.store import EmbeddedStore
from slidr.registry import Registry
from slidr.rules import Columns, ListRule, prepare_rules
from slidr.settings import RulesSettings
from slidr.tables import Threshold, Verdict

RULES = prepare_rules(RulesSettings())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with an untrained network."""
    return write_bundle(tmp_path_factory.mktemp("bundles"), small.parts(), created_at=0, version="0")


def decider_of(bundle: Bundle) -> Decider:
    """Return a decider over a cold store."""
    store = EmbeddedStore(compile_catalogue(bundle.catalogue))
    return Decider(bundle, store, Pseudonymiser(small.SECRET), RULES)


def with_thresholds(bundle: Bundle, *thresholds: Threshold, columns: Sequence[str] = ("device", "logged_in")) -> Bundle:
    """Return the bundle with other thresholds and slices."""
    contract = msgspec.structs.replace(bundle.contract, slice_columns=tuple(columns))
    return msgspec.structs.replace(bundle, thresholds=thresholds, contract=contract)


def click(place: int = 0, kind: type[Click] = Click, /, **fields: Any) -> Click:
    """Return a click of ada's in a browser, some of its fields replaced."""
    document = {
        "click_id": f"c{place}",
        "time": small.START.isoformat(),
        "user": "ada",
        "session": "s",
        "ip": "192.0.2.1",
        "user_agent": small.BROWSER,
        "device": "mobile",
        "logged_in": True,
    }
    return msgspec.convert(document | fields, kind)


def decide_one(bundle: Bundle, one: Click) -> Decisions:
    """Return the decision of one click over a cold store."""
    return decider_of(bundle).decide([one])


def test_only_a_greater_score_invalidates(bundle: Bundle) -> None:
    """A score equal to the threshold, in float32, is valid; one float32 above it is invalid."""
    score = float(decide_one(bundle, click()).scores[0])
    assert 0 < score < 1
    equal = decide_one(with_thresholds(bundle, small.threshold("all", score)), click())
    assert equal.verdicts == [Verdict.VALID]
    assert equal.reasons == [()]
    below = float(np.nextafter(np.float32(score), np.float32(0)))
    above = decide_one(with_thresholds(bundle, small.threshold("all", below)), click())
    assert above.verdicts == [Verdict.INVALID_SOPHISTICATED]
    assert above.reasons == [(MODEL,)]


def test_an_infinite_threshold_never_invalidates(bundle: Bundle) -> None:
    """Under +inf every click that reaches the model is valid, and under a negative one none is."""
    clicks = small.random_clicks(200, seed=1)
    for value, verdict in ((math.inf, Verdict.VALID), (-1.0, Verdict.INVALID_SOPHISTICATED)):
        found = decider_of(with_thresholds(bundle, small.threshold("all", value))).decide(clicks)
        asked = ~np.isnan(found.scores)
        assert {found.verdicts[place] for place in np.flatnonzero(asked)} == {verdict}


def test_a_slice_takes_its_nearest_ancestor(bundle: Bundle) -> None:
    """The deepest calibrated slice decides; an unseen value goes to the slice above, up to all."""
    known = with_thresholds(
        bundle,
        small.threshold("all", 0.1),
        small.threshold("device=mobile", 0.2),
        small.threshold("device=mobile/logged_in=true", 0.3),
        small.threshold("device=null", 0.4),
    )
    found = decider_of(known).decide([
        click(0),
        click(1, logged_in=False),
        click(2, logged_in=None),
        click(3, device="watch"),
        click(4, device=None),
        click(5, device="mobile/logged_in=true"),
        click(6),
    ])  # fmt: skip
    assert found.slices == [
        "device=mobile/logged_in=true", "device=mobile", "device=mobile", "all", "device=null", "all",
        "device=mobile/logged_in=true",
    ]  # fmt: skip
    np.testing.assert_array_equal(found.thresholds, np.array([0.3, 0.2, 0.2, 0.1, 0.4, 0.1, 0.3], np.float32))


def test_slices_of_further_columns(bundle: Bundle) -> None:
    """A column that is not ours can slice; true is not 1, and 1 has one name however it is written."""
    known = with_thresholds(
        bundle,
        small.threshold("all", 0.1),
        small.threshold("tier=true", 0.2),
        small.threshold("tier=1", 0.3),
        columns=["tier"],
    )
    kind = click_type(("tier",))
    clicks = [click(place, kind, tier=tier) for place, tier in enumerate([True, 1, 1.0, "1", None])]
    assert decider_of(known).decide(clicks).slices == ["tier=true", "tier=1", "tier=1", "tier=1", "all"]


def test_no_slice_columns_mean_one_threshold(bundle: Bundle) -> None:
    """Without slice columns every click stands under all."""
    found = decide_one(with_thresholds(bundle, small.threshold("all", 0.5), columns=()), click())
    assert (found.slices, found.thresholds.tolist()) == (["all"], [0.5])


def test_a_list_hit_is_general(bundle: Bundle) -> None:
    """A crawler that says so is invalid by list, names it, and is not scored; it is folded all the same."""
    decider = decider_of(bundle)
    found = decider.decide([click(0, user_agent="Googlebot/2.1"), click(1)])
    decision = found.at(0)
    assert decision.verdict is Verdict.INVALID_GENERAL
    assert decision.reasons == decision.lists == ("crawlers",)
    assert decision.score is decision.threshold is None
    assert found.at(1).verdict is not Verdict.INVALID_GENERAL
    assert found.rows[1, decider.layout.names.index("clicks_user_1m")] == 2


def test_no_identifiers_cannot_be_measured(bundle: Bundle) -> None:
    """A click without user, session and ip is unmeasurable, never silently valid; any one of them suffices."""
    nobody: dict[str, Any] = {"user": None, "session": None, "ip": None}
    decision = decide_one(bundle, click(**nobody)).at(0)
    assert (decision.verdict, decision.reasons) == (Verdict.UNMEASURABLE, (NO_IDENTIFIERS,))
    assert decision.score is decision.threshold is None
    for name, value in (("user", "ada"), ("session", "s"), ("ip", "192.0.2.1")):
        assert decide_one(bundle, click(**{**nobody, name: value})).at(0).score is not None
    listed = decide_one(bundle, click(**nobody, user_agent="Googlebot")).at(0)
    assert listed.verdict is Verdict.INVALID_GENERAL


def test_a_repeat_is_not_counted_again(bundle: Bundle) -> None:
    """A click_id seen within the hour has its original's sequence and no row; an hour later it is a new click."""
    decider = decider_of(bundle)
    first = decider.decide([click(0), click(1)])
    again = decider.decide([click(0), click(2)])
    assert (first.sequences.tolist(), first.repeats.tolist()) == ([0, 1], [False, False])
    assert (again.sequences.tolist(), again.repeats.tolist()) == ([0, 2], [True, False])
    assert not again.rows[0].any()
    assert again.at(0).score is None
    assert again.rows[1, decider.layout.names.index("clicks_user_1m")] == 3
    late = small.START.timestamp() * 1e6 + HOUR + MINUTE
    later = decider.decide([click(0, time=small.START.fromtimestamp(late / 1e6, small.START.tzinfo).isoformat())])
    assert (later.sequences.tolist(), later.repeats.tolist()) == ([3], [False])


def assert_same(one: Decisions, other: Decisions, places: slice) -> None:
    """Assert that decisions are equal to the last bit; the second are those of some places of the first."""
    for name in ("rows", "sequences", "repeats", "scores", "thresholds"):
        assert getattr(one, name)[places].tobytes() == getattr(other, name).tobytes(), name
    for name in ("click_ids", "slices", "verdicts", "reasons", "lists"):
        assert getattr(one, name)[places] == getattr(other, name), name
    assert one.batch.take(places).keys.tobytes() == other.batch.keys.tobytes()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 100))
def test_requests_and_tables_decide_alike(bundle: Bundle, seed: int, count: int, size: int) -> None:
    """Clicks as requests in batches of any size, and as one table, give the same decisions bit for bit, rows too."""
    clicks = small.random_clicks(count, seed)
    (whole,) = decide_table(decider_of(bundle), small.table_of(clicks))
    live = decider_of(bundle)
    for start in range(0, count, size):
        places = slice(start, min(start + size, count))
        assert_same(whole, live.decide(clicks[places]), places)


def test_a_decision_reads_as_its_columns(bundle: Bundle) -> None:
    """One decision is one row of the columns."""
    found = decide_one(bundle, click())
    decision = found.at(0)
    assert (decision.click_id, decision.bundle, decision.sequence) == ("c0", bundle.id, 0)
    assert (decision.slice, decision.threshold) == ("device=mobile", 0.25)
    assert decision.score == found.scores[0]


def test_no_clicks_no_decisions(bundle: Bundle) -> None:
    """An empty request is decided too."""
    assert decider_of(bundle).decide([]).verdicts == []


def test_champion_and_challenger_decide_one_fold(bundle: Bundle) -> None:
    """Deciders over views of one store decide a batch as each would alone, and the store folds it once."""
    layouts = [compile_catalogue(bundle.catalogue), compile_catalogue((ClicksFeature("device", "3h"),))]
    store = EmbeddedStore(side_by_side([*layouts, layouts[0]])[0])
    champion, _, challenger = SideBySide([*layouts, layouts[0]], store).views
    deciders = [Decider(bundle, view, Pseudonymiser(small.SECRET), RULES) for view in (champion, challenger)]
    alone = decider_of(bundle)
    for start in (0, 20):
        clicks = [click(place) for place in range(start, start + 20)]
        batch = encode_clicks(clicks, store.layout, deciders[0].pseudonymiser)
        attributes = {name: [getattr(one, name, None) for one in clicks] for name in alone.columns}
        expected = alone.decide(clicks)
        for decider in deciders:
            found = decider.decide_batch(batch, [one.click_id for one in clicks], attributes)
            np.testing.assert_array_equal(found.rows, expected.rows)
            assert (found.verdicts, found.reasons) == (expected.verdicts, expected.reasons)
    assert store.sequence == 40
    assert deciders[0].decide([click(99)]).rows.tobytes() == alone.decide([click(99)]).rows.tobytes()


def test_a_bundle_of_another_key_on_the_ring_is_served(bundle: Bundle) -> None:
    """A bundle goes on when keys rotate: its features do not depend on the key."""
    old, new = Pseudonymiser(small.SECRET), bytes(16)
    store = EmbeddedStore(compile_catalogue(bundle.catalogue))
    turned = Decider(bundle, store, Pseudonymiser(new, known=[old.fingerprint])).decide([click(), click(1)])
    assert turned.rows.tobytes() == decider_of(bundle).decide([click(), click(1)]).rows.tobytes()


def test_another_secret_key_is_refused(bundle: Bundle) -> None:
    """State and hashes of another key would silently read as strangers."""
    store = EmbeddedStore(compile_catalogue(bundle.catalogue))
    with pytest.raises(BundleError, match=r"was made with the secret key .* use the key file of the training"):
        Decider(bundle, store, Pseudonymiser(bytes(16)))


def test_a_network_of_other_features_is_refused(bundle: Bundle) -> None:
    """Network and catalogue must name the same features in the same order."""
    other = msgspec.structs.replace(bundle, catalogue=bundle.catalogue[::-1])
    with pytest.raises(BundleError, match="reads other features than the catalogue declares"):
        decider_of(other)


def test_a_bundle_without_a_root_threshold_is_refused(bundle: Bundle) -> None:
    """Unseen slices need the threshold of all."""
    with pytest.raises(BundleError, match="sets none for 'all'"):
        decider_of(with_thresholds(bundle, small.threshold("device=mobile", 0.5)))


def test_the_champion_is_fetched_and_checked(tmp_path: Path) -> None:
    """A registry without a champion says what to run; with one, its bundle comes as it was made."""
    registry = Registry(tmp_path / "registry")
    with pytest.raises(RegistryError, match="has no champion; run `slidr daily`"):
        read_champion(str(tmp_path / "registry"), tmp_path / "cache")
    parts: Parts = small.parts()
    made = write_bundle(tmp_path / "made", parts, created_at=0, version="0")
    registry.publish(tmp_path / "made" / made.id)
    registry.promote(made.id, at=1, who="tests", why="because")
    assert read_champion(str(tmp_path / "registry"), tmp_path / "cache") == made


def test_thresholds_of_other_slices_are_refused(bundle: Bundle) -> None:
    """A threshold of a slice that the clicks are not sliced by would never be taken, so the bundle is refused."""
    strange = with_thresholds(bundle, *bundle.thresholds, columns=("region",))
    if any(threshold.slice != "all" for threshold in bundle.thresholds):
        with pytest.raises(BundleError, match="clicks are sliced by region"):
            check_serves(strange)
    foreign = msgspec.structs.replace(bundle.thresholds[0], slice="region=north")
    with pytest.raises(BundleError, match=r"the slice 'region=north', and clicks are sliced by device, logged_in"):
        check_serves(with_thresholds(bundle, *bundle.thresholds, foreign))
    check_serves(bundle)


def often(columns: Columns) -> list[int]:
    """Hit the third and every later click of a user within the hour."""
    return [place for place, count in enumerate(columns["clicks_user_1h"]) if isinstance(count, float) and count > 2]


COUNTING = ListRule("often", "1", (), often, features=({"kind": "Clicks", "by": "user", "window": "1h"},))
HOUSE = ListRule(
    "house", "1", ("campaign",), lambda columns: [at for at, one in enumerate(columns["campaign"]) if one == "c2"],
    action="allow",
)  # fmt: skip
NARROW = (ClicksFeature("ip", "3h"), ClicksFeature("session", "10m"))


def contest(bundle: Bundle) -> tuple[EmbeddedStore, Decider, Decider]:
    """Return a champion and a challenger of other features, over one store, with rules of which one counts."""
    rival = msgspec.structs.replace(bundle, id="rival", catalogue=NARROW, graph=small.graph(NARROW))
    rules, opened = (*RULES, COUNTING, HOUSE), list[EmbeddedStore]()

    def opening(layout: Layout) -> EmbeddedStore:
        assert layout.catalogue == union_layout((bundle, rival), rules).catalogue
        opened.append(EmbeddedStore(layout))
        return opened[0]

    first, second = deciders((bundle, rival), opening, Pseudonymiser(small.SECRET), rules)
    return opened[0], first, second


def decide_both(first: Decider, second: Decider, clicks: Sequence[Click]) -> tuple[Decisions, Decisions]:
    """Return what a champion decides, and what its challenger would have."""
    batch = encode_clicks(clicks, first.encoding, first.pseudonymiser)
    names = dict.fromkeys((*first.columns, *second.columns))
    attributes = {name: [getattr(one, name, None) for one in clicks] for name in names}
    decided = first.decide_batch(batch, [one.click_id for one in clicks], attributes)
    return decided, second.second(decided, attributes)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_any_partition_decides_alike(bundle: Bundle, seed: int, sizes: list[int]) -> None:
    """Champion, challenger and rules that count decide a click the same, bit for bit, in whatever batches it comes."""
    clicks = small.random_clicks(sum(sizes), seed)
    store, first, second = contest(bundle)
    whole = decide_both(first, second, clicks)
    _, *parted = contest(bundle)
    start = 0
    for size in sizes:
        places = slice(start, start + size)
        for one, other in zip(whole, decide_both(parted[0], parted[1], clicks[places]), strict=True):
            assert_same(one, other, places)
        start += size
    assert store.sequence == int((~whole[0].repeats).sum())
    assert whole[0].lists == whole[1].lists


def test_a_challenger_decides_as_it_would_alone(bundle: Bundle) -> None:
    """Its rows, scores and verdicts are those of its own store; the list hits are the champion's."""
    clicks = small.random_clicks(200, seed=3)
    _, first, second = contest(bundle)
    decided, rival = decide_both(first, second, clicks)
    rules = (*RULES, HOUSE)
    champion, challenger = (
        Decider(one.bundle, EmbeddedStore(one.layout), Pseudonymiser(small.SECRET), rules).decide(clicks)
        for one in (first, second)
    )
    for found, alone in ((decided, champion), (rival, challenger)):
        assert found.rows.tobytes() == alone.rows.tobytes()
        for place in range(len(clicks)):
            if "often" not in found.lists[place]:
                assert found.at(place) == alone.at(place)
    assert any("often" in names for names in decided.lists)
    assert decided.verdicts != rival.verdicts
    assert (rival.bundle, rival.context) == ("rival", second.context.id)
    assert min(decided.seconds) > 0


def test_a_rule_counts_what_the_store_folds(bundle: Bundle) -> None:
    """The counting rule hits from the third click on, an allowed campaign is invalid by it all the same."""
    _, first, _ = contest(bundle)
    found = first.decide([click(place, campaign="c2" if place % 2 else "c1") for place in range(4)])
    assert found.lists == [(), ("house",), ("often",), ("often", "house")]
    assert found.verdicts[1:] == [Verdict.VALID, Verdict.INVALID_GENERAL, Verdict.INVALID_GENERAL]
    assert found.reasons[1:] == [(), ("often",), ("often",)]
    assert first.context.lists[-2:] == (("often", "1"), ("house", "1"))


def test_what_is_not_measured_is_not_folded(bundle: Bundle) -> None:
    """Clicks given up have a slice and a reason, no row and no score, and the store never hears of them."""
    store, first, _ = contest(bundle)
    clicks = [click(0), click(1, device=None)]
    found = first.unmeasured(clicks, "deadline")
    assert store.sequence == 0
    assert found.verdicts == [Verdict.UNMEASURABLE] * 2
    assert found.reasons == [("deadline",)] * 2
    assert found.slices == ["device=mobile", "all"]
    assert (found.sequences.tolist(), found.rows.shape) == ([-1, -1], (2, 0))
    assert found.at(0).score is found.at(0).threshold is None
    folded = first.decide(clicks)
    assert folded.repeats.tolist() == [False, False]
    assert folded.batch.keys.tobytes() == found.batch.keys.tobytes()
