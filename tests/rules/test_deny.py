"""Lists of columns and values: what each column means, and what is no such list."""

from __future__ import annotations

from pathlib import Path

import pytest

from slidr.errors import SettingsError
from slidr.rules import ListRule, allow, deny, prepare_rules
from slidr.settings import RulesSettings


def prepared(tmp_path: Path, *texts: str) -> ListRule:
    """Return the rule that reads lists with these texts."""
    paths = [tmp_path / f"{place}.csv" for place in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    rule = deny.prepare(RulesSettings(deny=tuple(map(str, paths))))
    assert rule is not None
    return rule


def hits(rule: ListRule, **columns: list[object]) -> list[int]:
    """Return the places that the rule hits; columns that are not given are null."""
    count = len(next(iter(columns.values())))
    return rule.hits({name: columns.get(name, [None] * count) for name in rule.columns})


def test_only_listed_columns_are_read(tmp_path: Path) -> None:
    """A click is hit by any of the values, and columns that no list names are not looked at."""
    rule = prepared(tmp_path, "column,value\nuser,mallory\n# why\ncampaign,c-9\n", "user,oscar\n")
    assert set(rule.columns) == {"user", "campaign"}
    users, campaigns = ["mallory", "oscar", "ann", None, "mallory"], ["c-1", None, "c-9", "c-9", "c-9"]
    assert hits(rule, user=list(users), campaign=list(campaigns)) == [0, 1, 2, 3, 4]
    assert hits(rule, user=["Mallory", "mallory ", ""]) == []
    assert [listed.entries for listed in rule.lists] == [2, 1]


def test_addresses_are_networks(tmp_path: Path) -> None:
    """An address is meant however it is written, and a network is all that lies in it."""
    rule = prepared(tmp_path, 'ip,192.0.2.0/24\nip,2001:db8::1\nip,"198.51.100.1,198.51.100.9"\n')
    listed = ["192.0.2.9", "::FFFF:192.0.2.9", "2001:DB8:0::1", "198.51.100.5"]
    assert hits(rule, ip=[*listed, "192.0.3.1", "x", None, "2001:db8::2"]) == [0, 1, 2, 3]


def test_a_star_stands_for_any_text_in_a_user_agent(tmp_path: Path) -> None:
    """Other signs are themselves, and a user agent without a star is meant whole."""
    rule = prepared(tmp_path, 'user_agent,Probe*\nuser_agent,"Exact/1.0 (a, b)"\nuser_agent,*in.ner*\n')
    agents = ["Probe", "Probe/2\nx", "a Probe", "Exact/1.0 (a, b)", "Exact/1.0 (a, b) c", "my in.ner x", "my inxner x"]
    assert hits(rule, user_agent=list(agents)) == [0, 1, 3, 5]
    assert hits(prepared(tmp_path, "user,a*\n"), user=["a*", "ab"]) == [0]


def test_values_may_hold_anything_but_lines(tmp_path: Path) -> None:
    """Quotes keep commas, blanks inside stay, and words of any language are values."""
    rule = prepared(tmp_path, 'user,"a,b"\nuser, c d \nuser,Zoë\nuser,"say ""hi"""\n')
    assert hits(rule, user=["a,b", "c d", "Zoë", 'say "hi"', "a"]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("mallory", "is no `column,value`"),
        ("user,a,b", "is no `column,value`, such as ip,192.0.2.0/24; write a value that has a comma"),
        ('user,"a', "is no `column,value`"),
        ("usr,mallory", "names no column that a list can have: did you mean 'user'"),
        ("cost,7", "names no column that a list can have: known: advertiser, campaign"),
        ("user,", "names every click"),
        ("user_agent,**", "names every click"),
        ("ip,10.0.0.256", "is no network"),
        ("ip,10.0.0.1/8", "is an address within a network"),
        ("ip,0.0.0.0/0", "is every address there is"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    """A line that says nothing, or more than can be meant, is refused with the list and the line."""
    with pytest.raises(SettingsError, match=rf"rules.deny: .*/0.csv: line 2, .*{reason}"):
        prepared(tmp_path, f"user,mallory\n{line}\n")


def test_a_list_with_a_header_alone_is_empty(tmp_path: Path) -> None:
    """A header names no click."""
    with pytest.raises(SettingsError, match="the list is empty but for its header"):
        prepared(tmp_path, "column,value\n")


def test_allowed_clicks_are_named_by_lists_of_the_same_form(tmp_path: Path) -> None:
    """The rule that allows reads what the rule that denies reads, and says what a hit is."""
    path = tmp_path / "allow.csv"
    path.write_text("ip,192.0.2.0/24\n")
    rule = allow.prepare(RulesSettings(allow=(str(path),)))
    assert rule is not None
    assert (rule.name, rule.action, hits(rule, ip=["192.0.2.1", "192.0.3.1"])) == ("allow", "allow", [0])
    path.write_text("x\n")
    with pytest.raises(SettingsError, match=r"rules.allow: .*line 1"):
        allow.prepare(RulesSettings(allow=(str(path),)))


def test_a_click_can_be_allowed_and_denied(switched_on: RulesSettings) -> None:
    """Both rules hit it; which wins is the decision's matter, and there deny beats allow."""
    rules = {rule.name: rule for rule in prepare_rules(switched_on)}
    click: dict[str, list[object]] = {"user": ["mallory"], "campaign": ["house"]}
    assert hits(rules["allow"], **click) == hits(rules["deny"], **click) == [0]
    assert (rules["allow"].action, rules["deny"].action) == ("allow", "invalid")
