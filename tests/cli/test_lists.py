"""The lists command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.cli.conftest import Run

LINE = '{ip} - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 171717 "-" "{agent}"\n'


def test_the_lists_of_the_defaults(slidr: Run) -> None:
    """Without a settings file the lists that come with slidr are shown, and which rules are off."""
    said = slidr("lists")
    assert said.code == 0
    assert "crawler-user-agents" in said.out
    assert "off: allow, data_centres, deny, repeats" in said.out


def settings(folder: Path) -> Path:
    """Write a settings file, a log and lists, one of them old, and return the settings file."""
    (folder / "networks.txt").write_text("192.0.2.0/24\n")
    (folder / "more.txt").write_text("198.51.100.0/24\n192.0.2.0/25\n")
    (folder / "allow.csv").write_text("ip,203.0.113.1\n")
    os.utime(folder / "more.txt", (1_600_000_000, 1_600_000_000))
    agents = {"192.0.2.1": "Googlebot", "192.0.2.200": "Mozilla", "198.51.100.1": "Mozilla", "203.0.113.1": "Mozilla"}
    (folder / "access.log").write_text("".join(LINE.format(ip=ip, agent=agent) for ip, agent in agents.items()))
    path = folder / "slidr.toml"
    path.write_text(
        '[clicks]\nsource = "weblog"\npath = "access.log"\n[rules]\ncrawlers = ["words"]\n'
        'data_centres = ["networks.txt", "more.txt"]\nallow = ["allow.csv"]\n'
    )
    return path


def test_an_old_list_is_stale(slidr: Run, tmp_path: Path) -> None:
    """Each list stands with version, entries and age; one beyond the age of the settings is stale."""
    document = slidr("lists", "--settings", settings(tmp_path), "--json").document
    shown = {Path(one["list"]).name: one for rule in document["rules"] for one in rule["lists"]}
    assert (shown["more.txt"]["entries"], shown["more.txt"]["stale"]) == (2, True)
    assert shown["more.txt"]["updated"] == "2020-09-13T12:26:40+00:00"
    assert (shown["networks.txt"]["stale"], shown["words"]["age_days"]) == (False, None)
    assert {rule["rule"]: rule["action"] for rule in document["rules"]}["allow"] == "allow"
    assert "hits" not in document


def test_hits_on_a_log(slidr: Run, tmp_path: Path) -> None:
    """The clicks of each rule and of each list alone are counted; those that are allowed are not invalid."""
    path = settings(tmp_path)
    hits = slidr("lists", "--settings", path, "--hits", "--json").document["hits"]
    assert hits["rules"] == {"allow": 1, "crawlers": 1, "data_centres": 3, "headers": 0}
    assert (hits["clicks"], hits["invalid"], hits["rejected"]) == (4, 3, 0)
    alone = {one["list"]: one["clicks"] for one in hits["lists"] if one["rule"] == "data_centres"}
    assert alone == {"networks.txt": 2, "more.txt": 2, "together": 3}
    other = tmp_path / "other.log"
    other.write_text(LINE.format(ip="192.0.2.1", agent="curl/8"))
    said = slidr("lists", "--log", other, "--source", "weblog")
    assert said.code == 0
    assert "other.log: 1 clicks" in said.out


def test_a_list_that_cannot_be_used_is_one_line(slidr: Run, tmp_path: Path) -> None:
    """The command checks the lists before a service reads them."""
    path = settings(tmp_path)
    (tmp_path / "more.txt").write_text("198.51.100.0/24\n198.51.100.0/33\n")
    said = slidr("lists", "--settings", path)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "rules.data_centres: " in said.err
    assert "more.txt: line 2, '198.51.100.0/33', has a prefix" in said.err


def test_the_counts_on_a_real_log(slidr: Run, tmp_path: Path, data: Path) -> None:
    """On the shared web log the published lists find what they are known to find."""
    lists = data / "lists"
    path = tmp_path / "slidr.toml"
    path.write_text(
        f'[rules]\ncrawlers = ["crawler-user-agents", "words", "{lists / "COUNTER_Robots_list.json"}"]\n'
        f'data_centres = ["{lists / "datacenter_ipv4.txt"}", "{lists / "ipcat_datacenters.csv"}"]\n'
    )
    log = data / "weblog" / "apache_2015-05.log.gz"
    hits = slidr("lists", "--settings", path, "--log", log, "--source", "weblog", "--json").document["hits"]
    assert (hits["clicks"], hits["rejected"]) == (9_999, 1)
    counts = {one["list"]: one["clicks"] for one in hits["lists"]}
    assert counts["COUNTER_Robots_list.json"] == 2_051
    assert counts["crawler-user-agents"] == pytest.approx(1_955, abs=60)
    assert (counts["datacenter_ipv4.txt"], counts["ipcat_datacenters.csv"]) == (2_558, 1_472)
    assert max(hits["rules"].values()) < hits["invalid"] < sum(hits["rules"].values())
