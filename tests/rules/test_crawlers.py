"""Crawlers that say so: the built-in list, text lists, the COUNTER list, and lists that cannot be used."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from slidr.errors import SettingsError
from slidr.rules import ListRule, crawlers
from slidr.settings import RulesSettings

PEOPLE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
)
ROBOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Baiduspider+(+http://www.baidu.com/search/spider.htm)",
)


def prepared(path: Path | None = None) -> ListRule:
    """Return the rule that reads a list, or the built-in one."""
    return crawlers.prepare(RulesSettings(crawlers="" if path is None else str(path)))


def hits(rule: ListRule, *agents: str | None) -> list[int]:
    """Return the places of the user agents on the list."""
    return rule.hits({"user_agent": list(agents)})


def test_the_built_in_list() -> None:
    """Robots that say so are found, whatever their case; browsers and nulls are not."""
    rule = prepared()
    assert hits(rule, *PEOPLE, *ROBOTS, None, "CURL/8.5", "") == [2, 3, 4, 6]


def test_a_text_list(tmp_path: Path) -> None:
    """One expression a line; empty lines and comments are not expressions."""
    path = tmp_path / "list.txt"
    path.write_text("# our own\n\n^acme-(checker|probe)\n  weather  \n", encoding="utf-8")
    assert hits(prepared(path), "Acme-Probe/1", "not acme-probe", "Weather 2", "Googlebot") == [0, 2]


def test_lists_have_versions(tmp_path: Path) -> None:
    """Another list is another version, the same list the same one."""
    for name, text in (("a", "bot\n"), ("b", "bot\n"), ("c", "bots\n")):
        (tmp_path / name).write_text(text)
    versions = [prepared(tmp_path / name).version for name in "abc"]
    assert versions[0] == versions[1] != versions[2]
    assert prepared().version not in versions


def test_the_counter_list(data: Path) -> None:
    """The COUNTER robots list as published finds the robots and spares the browsers."""
    rule = prepared(data / "lists" / "COUNTER_Robots_list.json")
    assert hits(rule, *PEOPLE, *ROBOTS) == [2, 3, 4]


def test_the_counter_list_on_a_real_log(data: Path) -> None:
    """Of the 10,000 requests of a real web log, about a fifth come from robots that say so."""
    with gzip.open(data / "weblog" / "apache_2015-05.log.gz", "rt", encoding="utf-8", errors="replace") as lines:
        agents = [line.rsplit('"', 2)[1] for line in lines if line.count('"') >= 6]
    found = len(hits(prepared(data / "lists" / "COUNTER_Robots_list.json"), *agents))
    assert 1500 < found < 3500


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("bad[", "unterminated"), ("a)|(b", "unbalanced"), ("(?i)bot", "global flags"), ("*", "nothing to repeat")],
)
def test_a_broken_pattern_is_named(tmp_path: Path, pattern: str, message: str) -> None:
    """A pattern that is not a regular expression, or not one among others, is refused with its number."""
    path = tmp_path / "list.txt"
    path.write_text(f"bot\n{pattern}\n")
    with pytest.raises(SettingsError, match=f"pattern 2, .*, is not one: .*{message}"):
        prepared(path)


def test_two_patterns_that_name_one_group_are_refused(tmp_path: Path) -> None:
    """Patterns that cannot stand side by side are refused as any other broken list."""
    path = tmp_path / "list.txt"
    path.write_text("(?P<kind>bot)\n(?P<kind>spider)\n")
    with pytest.raises(SettingsError, match="redefinition of group name 'kind'"):
        prepared(path)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    """A list without patterns, or with an empty one, would match everybody."""
    empty, blank = tmp_path / "list.txt", tmp_path / "list.json"
    empty.write_text("# nothing\n")
    with pytest.raises(SettingsError, match="holds no pattern"):
        prepared(empty)
    blank.write_text(json.dumps([{"pattern": "bot"}, {"pattern": ""}]))
    with pytest.raises(SettingsError, match="pattern 2 is empty"):
        prepared(blank)


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"regex": "bot"}]', "not json", "[", "null"])
def test_a_json_list_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    """JSON that is not an array of objects with `pattern` is refused with the file named."""
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"list\.json"):
        prepared(path)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    """A list that is not there is refused with its path."""
    with pytest.raises(SettingsError, match=r"nowhere\.txt' cannot be read: .*No such file"):
        prepared(tmp_path / "nowhere.txt")


def test_a_list_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused with the file named."""
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"list\.txt' cannot be read"):
        prepared(path)
