"""Data centres: networks in files of two forms, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import pytest

from slidr.errors import SettingsError
from slidr.rules import ListRule, data_centres
from slidr.settings import RulesSettings


def prepared(*paths: Path) -> ListRule:
    """Return the rule that reads these lists."""
    rule = data_centres.prepare(RulesSettings(data_centres=tuple(map(str, paths))))
    assert rule is not None
    return rule


def hits(rule: ListRule, *addresses: object) -> list[int]:
    """Return the places of the addresses on the lists."""
    return rule.hits({"ip": list(addresses)})


def test_without_a_list_the_rule_is_off() -> None:
    """No list comes with slidr."""
    assert data_centres.prepare(RulesSettings()) is None


def test_lists_of_both_forms_stand_side_by_side(tmp_path: Path) -> None:
    """Networks and ranges, IPv4 and IPv6, are one set of addresses; each list keeps its version and size."""
    (tmp_path / "cidr.txt").write_text("# ours\n192.0.2.0/24\n2001:db8::/32 # v6\n203.0.113.9\n")
    (tmp_path / "ipcat.csv").write_text('198.51.100.0,198.51.100.127,"Some, Inc.",http://example.org/\n')
    rule = prepared(tmp_path / "cidr.txt", tmp_path / "ipcat.csv")
    listed = ("192.0.2.0", "192.0.2.255", "2001:DB8::9", "203.0.113.9", "198.51.100.127", "::ffff:198.51.100.1")
    spared = ("192.0.3.0", "192.0.1.255", "2001:db9::", "203.0.113.10", "198.51.100.128", "opaque-7", "1" * 46, None, 7)
    assert hits(rule, *listed, *spared) == list(range(len(listed)))
    assert [one.entries for one in rule.lists] == [3, 1]
    assert rule.version not in {prepared(tmp_path / "cidr.txt").version, prepared(tmp_path / "ipcat.csv").version}


def test_one_wrong_line_refuses_the_list(tmp_path: Path) -> None:
    """A line that is left out would be a network that is not found: the list is refused, and the line is shown."""
    path = tmp_path / "cidr.txt"
    path.write_text("".join(f"10.{part}.0.0/16\n" for part in range(200)) + "10.200.0.0/8\n10.201.0.0/16\n")
    with pytest.raises(
        SettingsError,
        match=r"rules.data_centres: .*/cidr.txt: line 201, '10.200.0.0/8', is an address within a network; write"
        r" 10.0.0.0/8, or 10.200.0.0 alone",
    ):
        prepared(path)


def test_the_published_lists(data: Path) -> None:
    """The lists as they are published are read whole, and hold what the networks of a known provider are."""
    lists = data / "lists"
    rule = prepared(lists / "datacenter_ipv4.txt", lists / "datacenter_ipv6.txt", lists / "ipcat_datacenters.csv")
    assert [one.entries for one in rule.lists] == [42_566, 8_752, 3_429]
    assert hits(rule, "3.0.0.1", "3.1.255.255", "2001:310::1", "192.168.0.1", "2001:db8::1") == [0, 1, 2]
