"""What every list rule keeps to; rules are found, not listed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slidr import extensions
from slidr.features.catalogue import check_catalogue, parse_features
from slidr.features.clicks import Click
from slidr.rules import ListRule, prepare_rules
from slidr.settings import RulesSettings
from slidr.tables import CLICKS

RULES = extensions.names("slidr.rules")
# What a rule hits, and what is nearest to it and spared.
EXAMPLES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "allow": ({"ip": "203.0.113.9"}, {"ip": "203.0.114.9", "campaign": "House"}),
    "crawlers": ({"user_agent": "Googlebot/2.1"}, {"user_agent": "Mozilla/5.0 (Linux; CUBOT X19)"}),
    "data_centres": ({"ip": "::ffff:192.0.2.255"}, {"ip": "192.0.3.0"}),
    "deny": ({"user_agent": "Acme Probe/1"}, {"user_agent": "Acme probe/1", "user": "mallory2"}),
    "headers": ({"headers": {"SEC-PURPOSE": "Prefetch;prerender"}}, {"headers": {"sec-purposes": "prefetch"}}),
    "repeats": ({"impression": "i", "clicks_impression_24h": 2.0}, {"impression": "i", "clicks_impression_24h": 1.0}),
}  # fmt: skip
# Whatever a caller may hand over in the place of a value.
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.sampled_from(["\ud800", "\0", "::ffff:1.2.3", "1.2.3.4\0", "9" * 2000, "bot" * 500]),
    st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), st.one_of(st.text(max_size=5), st.none())),
    st.lists(st.text(max_size=5), max_size=2),
)


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest, switched_on: RulesSettings) -> ListRule:
    """Each rule, switched on."""
    found: ListRule = extensions.load("slidr.rules", request.param).prepare(switched_on)
    return found


def names(rule: ListRule) -> list[str]:
    """Return the columns that a rule reads, its features' included."""
    return [*rule.columns, *(feature.name for feature in parse_features(rule.features))]


def columns(rule: ListRule, *clicks: dict[str, object]) -> dict[str, list[object]]:
    """Return clicks as the columns that a rule reads."""
    return {name: [click.get(name) for click in clicks] for name in names(rule)}


def test_rules_are_found(switched_on: RulesSettings) -> None:
    """Every module of the package is a rule that decisions carry by the module's name."""
    assert RULES
    assert tuple(rule.name for rule in prepare_rules(switched_on)) == RULES


def test_a_rule_with_nothing_to_do_is_left_out() -> None:
    """Without settings, crawlers and headers are looked for; with all taken out, nothing is."""
    assert [rule.name for rule in prepare_rules(RulesSettings())] == ["crawlers", "headers"]
    built_in = dict.fromkeys(
        ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz", "From", "Signature-Agent", "X-Scanner"), ""
    )
    assert prepare_rules(RulesSettings(crawlers=(), headers=built_in)) == ()


def test_a_rule_reads_columns_of_a_click(rule: ListRule) -> None:
    """A rule reads columns that a request has, and a log too but for the headers, and features that can be folded."""
    assert rule.columns
    assert set(rule.columns) <= set(Click.__struct_fields__)
    assert set(rule.columns) <= {*CLICKS.names, "headers"}
    features = parse_features(rule.features)
    assert not features or check_catalogue(features) == features


def test_a_rule_names_its_lists(rule: ListRule) -> None:
    """A rule has a version, and each list that it reads a name, a version and its number of entries."""
    assert rule.version
    assert all(listed.name and listed.version and listed.entries > 0 for listed in rule.lists)
    dates = [listed.updated for listed in rule.lists if listed.updated is not None]
    assert rule.updated == min(dates, default=None)
    assert rule.updated is None or 1_400_000_000_000_000 < rule.updated < 4_000_000_000_000_000
    assert (rule.action == "allow") == (rule.name == "allow")


def test_a_rule_hits_what_it_should(rule: ListRule) -> None:
    """A rule hits its example and spares what is nearest to it, alone and among others."""
    hit, spared = EXAMPLES[rule.name]
    assert rule.hits(columns(rule, hit)) == [0]
    assert rule.hits(columns(rule, spared)) == []
    assert rule.hits(columns(rule, spared, hit, {}, hit, spared)) == [1, 3]


def test_a_rule_knows_nothing_of_nulls(rule: ListRule) -> None:
    """A null is not on any list, and no clicks have no hits."""
    assert rule.hits(columns(rule, {}, {})) == []
    assert rule.hits(columns(rule)) == []


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_rule_never_raises(rule: ListRule, data: st.DataObject) -> None:
    """Whatever stands in the columns, a rule gives places of the clicks, in order, the same ones again."""
    count = data.draw(st.integers(0, 4))
    drawn = {name: data.draw(st.lists(STRANGE, min_size=count, max_size=count)) for name in names(rule)}
    hits = rule.hits(drawn)
    assert hits == sorted(set(hits))
    assert set(hits) <= set(range(count))
    assert rule.hits(drawn) == hits
    alone = [place for place in range(count) if rule.hits({name: [drawn[name][place]] for name in drawn})]
    assert alone == hits


def test_a_rule_has_one_version_a_list(rule: ListRule, switched_on: RulesSettings) -> None:
    """Prepared again, a rule reads the same lists."""
    again: ListRule = extensions.load("slidr.rules", rule.name).prepare(switched_on)
    assert again._replace(hits=rule.hits) == rule


def test_rules_leave_the_settings_alone(switched_on: RulesSettings) -> None:
    """Settings are the same after the rules were prepared."""
    before = msgspec.json.encode(switched_on)
    prepare_rules(switched_on)
    assert msgspec.json.encode(switched_on) == before
