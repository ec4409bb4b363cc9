"""Crawlers that say so: the package's list, words, text lists, the COUNTER list, and lists that cannot be used."""

from __future__ import annotations

import gzip
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import SettingsError
from slidr.rules import ListRule, crawlers
from slidr.settings import RulesSettings

PACKAGE = "crawler-user-agents"
PEOPLE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19 Build/PPR1) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
)
ROBOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Baiduspider+(+http://www.baidu.com/search/spider.htm)",
)


def prepared(*names: str | Path) -> ListRule:
    """Return the rule that reads these lists, or those of the defaults."""
    settings = RulesSettings(crawlers=tuple(map(str, names))) if names else RulesSettings()
    rule = crawlers.prepare(settings)
    assert rule is not None
    return rule


def hits(rule: ListRule, *agents: str | None) -> list[int]:
    """Return the places of the user agents on the list."""
    return rule.hits({"user_agent": list(agents)})


def package() -> list[dict[str, object]]:
    """Return the entries of the packaged list."""
    entries: list[dict[str, object]] = json.loads((files("crawleruseragents") / "crawler-user-agents.json").read_text())
    return entries


def test_the_default_lists() -> None:
    """Robots that say so are found, known or not; browsers, a make of telephone and nulls are not."""
    robots = (*ROBOTS, "curl/8.5", "Mozilla/5.0 (compatible; NobodyKnowsThisBot/2.1; +https://prices.example/bot)")
    assert hits(prepared(), *PEOPLE, None, "", *robots) == [5, 6, 7, 8, 9]


def test_the_package_is_searched_as_it_is_written() -> None:
    """The search finds the examples of the package's own entries, and exactly what its patterns one by one find."""
    rule = prepared(PACKAGE)
    entries = package()
    examples = [str(agent) for entry in entries for agent in entry["instances"]]  # type: ignore[attr-defined]
    cut = [agent[:512] for agent in examples]
    together = re.compile("|".join(f"(?:{entry['pattern']})" for entry in entries))
    expected = [place for place, agent in enumerate(cut) if together.search(agent)]
    assert hits(rule, *examples) == expected
    assert len(expected) > 0.99 * len(examples) > 2000


def test_the_package_is_as_old_as_its_newest_pattern() -> None:
    """Installing the package does not make its list young."""
    rule = prepared(PACKAGE)
    assert rule.updated is not None
    newest = max(str(entry.get("addition_date", "")) for entry in package())
    assert rule.updated % 86_400_000_000 == 0
    assert newest.startswith("20")
    assert rule.lists[0].entries == len(package())
    assert prepared("words").updated is None


@given(st.lists(st.text("abcB.", min_size=1, max_size=4), min_size=1, max_size=12), st.text("abcB.", max_size=12))
def test_words_together_find_what_they_find_alone(words: list[str], agent: str) -> None:
    """A tree of words finds a text if and only if one of the words stands in it, with the case or without."""
    alone = any(word in agent for word in words)
    lower = any(word.lower() in agent.lower() for word in words)
    assert (crawlers._word_search(set(words), re.NOFLAG)(agent) is not None) == alone
    assert (crawlers._word_search(set(words), re.IGNORECASE)(agent) is not None) == lower


def test_a_text_list(tmp_path: Path) -> None:
    """One expression a line, in any case; empty lines and comments are not expressions."""
    path = tmp_path / "list.txt"
    path.write_text("# our own\n\n^acme-(checker|probe)\n  weather  \n", encoding="utf-8")
    assert hits(prepared(path), "Acme-Probe/1", "not acme-probe", "Weather 2", "Googlebot") == [0, 2]


def test_lists_stand_side_by_side(tmp_path: Path) -> None:
    """Several lists find what one of them finds; a text that is longer than any user agent is looked at in part."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{name}\n")
    rule = prepared(PACKAGE, tmp_path / "one", tmp_path / "two")
    assert hits(rule, "one", "TWO", "three", ROBOTS[0], "x" * 10_000_000 + "one") == [0, 1, 3]
    assert [listed.entries for listed in rule.lists][1:] == [1, 1]
    assert crawlers.prepare(RulesSettings(crawlers=())) is None


def test_lists_have_versions(tmp_path: Path) -> None:
    """Another list is another version, the same list the same one, and the order of the lists matters."""
    for name, text in (("a", "bot\n"), ("b", "bot\n"), ("c", "bots\n")):
        (tmp_path / name).write_text(text)
    versions = [prepared(tmp_path / name).version for name in "abc"]
    assert versions[0] == versions[1] != versions[2]
    assert prepared().version not in versions
    assert prepared(PACKAGE).version != prepared(PACKAGE, "words").version != prepared("words").version


def test_the_counter_list(data: Path) -> None:
    """The COUNTER robots list as published finds the robots and spares the browsers."""
    rule = prepared(data / "lists" / "COUNTER_Robots_list.json")
    assert hits(rule, *PEOPLE[:2], *ROBOTS) == [2, 3, 4]
    assert rule.lists[0].entries == 327


def agents_of_the_log(data: Path) -> list[tuple[str, str]]:
    """Return the path and the user agent of each request of the shared web log."""
    line = re.compile(r'.*?"(?:\S+ (\S+)[^"]*)".*"([^"]*)"$')
    with gzip.open(data / "weblog" / "apache_2015-05.log.gz", "rt", encoding="utf-8", errors="replace") as lines:
        found = [match.groups() for match in map(line.match, lines) if match]
    return [(path or "", agent) for path, agent in found if agent != "-"]


def test_the_defaults_find_the_self_declared_crawlers_of_a_real_log(data: Path) -> None:
    """Of 10,000 real requests, those are found whose sender calls itself a robot or gives a page on itself.

    The criterion is not of any list: the words bot, crawl, spider, slurp, or an address after a plus sign, as crawlers
    give the page that explains them. Two programs that are no crawlers give an address too: a library that reads feeds,
    and a client of servers' configurations.
    """
    log = agents_of_the_log(data)
    declares = re.compile(r"bot|crawl|spider|slurp|\+ ?https?://", re.IGNORECASE)
    declared = [agent for _, agent in log if declares.search(agent)]
    assert 1900 < len(declared) < 2050
    found = set(hits(prepared(), *declared))
    missed = {agent.partition("/")[0] for place, agent in enumerate(declared) if place not in found}
    assert missed == {"UniversalFeedParser", "Chef Client", "Mozilla"}
    crawling = [agent for agent in declared if not agent.startswith(("UniversalFeedParser", "Chef Client"))]
    assert len(hits(prepared(), *crawling)) >= len(crawling) - 2
    assert 1900 < len(hits(prepared(), *(agent for _, agent in log))) < 2050


def test_who_reads_robots_txt_is_found(data: Path) -> None:
    """Of those who fetched robots.txt, which only robots need, all are found but a few that pose as browsers."""
    log = agents_of_the_log(data)
    readers = sorted({agent for path, agent in log if path == "/robots.txt"})
    assert len(readers) > 25
    found = set(hits(prepared(), *readers))
    missed = [agent for place, agent in enumerate(readers) if place not in found]
    posing = [agent for agent in missed if "Gecko" in agent or "MSIE" in agent]
    assert len(missed) - len(posing) <= 1
    assert "Ezooms" in next(agent for agent in missed if agent not in posing)


def test_the_counter_list_on_a_real_log(data: Path) -> None:
    """Of the 10,000 requests of a real web log, about a fifth come from robots that say so."""
    agents = [agent for _, agent in agents_of_the_log(data)]
    found = len(hits(prepared(data / "lists" / "COUNTER_Robots_list.json"), *agents))
    assert 1900 < found < 2300


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("bad[", "unterminated"),
        ("a)|(b", "unbalanced"),
        ("(?i)bot", "global flags"),
        ("*", "nothing to repeat"),
        ("(bot)?", "matches every user agent"),
        (".", "matches every user agent"),
    ],
)
def test_a_broken_pattern_is_named(tmp_path: Path, pattern: str, message: str) -> None:
    """A pattern that is not a regular expression, or not one among others, or finds all, is refused with its line."""
    path = tmp_path / "list.txt"
    path.write_text(f"# ours\nbot\n{pattern}\n")
    with pytest.raises(SettingsError, match=rf"rules.crawlers: .*list.txt: line 3, .*{message}"):
        prepared(path)
    entries = tmp_path / "list.json"
    entries.write_text(json.dumps([{"pattern": "bot"}, {"pattern": pattern}]))
    with pytest.raises(SettingsError, match=rf"rules.crawlers: .*list.json: pattern 2, .*{message}"):
        prepared(entries)


def test_all_broken_lines_are_counted(tmp_path: Path) -> None:
    """The message shows the first line at fault and says how many more there are."""
    path = tmp_path / "list.txt"
    path.write_text("bot\nbad[\nspider\n*\n(\n")
    with pytest.raises(SettingsError, match=r"line 2, 'bad\[', .*; 2 more lines cannot be read either"):
        prepared(path)


def test_two_patterns_that_name_one_group_are_refused(tmp_path: Path) -> None:
    """Patterns that cannot stand side by side are refused as any other broken list."""
    path = tmp_path / "list.txt"
    path.write_text("(?P<kind>bot)\n(?P<kind>spider)\n")
    with pytest.raises(SettingsError, match="redefinition of group name 'kind'"):
        prepared(path)


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    """A list without patterns, or with an empty one, is a mistake."""
    empty, blank = tmp_path / "list.txt", tmp_path / "list.json"
    empty.write_text("# nothing\n")
    with pytest.raises(SettingsError, match=r"list.txt: the list is empty"):
        prepared(empty)
    blank.write_text(json.dumps([{"pattern": "bot"}, {"pattern": ""}]))
    with pytest.raises(SettingsError, match="pattern 2, '', matches every user agent"):
        prepared(blank)
    blank.write_text("[]")
    with pytest.raises(SettingsError, match=r"list.json: the list is empty"):
        prepared(blank)


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"regex": "bot"}]', '[{"pattern": 1}]', "not json", "[", "null"])
def test_a_json_list_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    """JSON that is not an array of objects with `pattern` is refused with the file named."""
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"rules.crawlers: .*list\.json: .*`pattern`"):
        prepared(path)
