"""What every list rule keeps to; rules are found, not listed."""

from __future__ import annotations

import pytest

from slidr import extensions
from slidr.features.clicks import Click
from slidr.rules import ListRule, prepare_rules
from slidr.settings import RulesSettings
from slidr.tables import CLICKS

RULES = extensions.names("slidr.rules")


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> ListRule:
    """Each rule with the settings' defaults."""
    found: ListRule = extensions.load("slidr.rules", request.param).prepare(RulesSettings())
    return found


def test_rules_are_found() -> None:
    """Every module of the package is a rule that decisions carry by the module's name."""
    assert RULES
    assert tuple(rule.name for rule in prepare_rules(RulesSettings())) == RULES


def test_a_rule_reads_columns_of_a_click(rule: ListRule) -> None:
    """A rule reads columns that a request and a log both have, and names the list that it reads."""
    assert rule.columns
    assert set(rule.columns) <= set(CLICKS.names) & set(Click.__struct_fields__)
    assert rule.version


def test_a_rule_knows_nothing_of_nulls(rule: ListRule) -> None:
    """A null is not on any list, and no clicks have no hits."""
    assert rule.hits({column: [None, None] for column in rule.columns}) == []
    assert rule.hits({column: [] for column in rule.columns}) == []


def test_a_rule_has_one_version_a_list(rule: ListRule) -> None:
    """Prepared again, a rule reads the same list."""
    again: ListRule = extensions.load("slidr.rules", rule.name).prepare(RulesSettings())
    assert (again.name, again.version, again.columns) == (rule.name, rule.version, rule.columns)
