"""Bundles, rollback, diff and audit by their commands."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Run
from tests.service.making import SECRET, make_bundle

from slidr.bundle import Bundle
from slidr.clock import HOUR, SystemClock
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.keys import KeyRing, Secret
from slidr.registry import Registry

OLD = check_catalogue((Clicks("user", "1h"), Clicks("session", "1h")))
NEW = check_catalogue((Clicks("user", "1h"), Clicks("ip", "10m")))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Bundle, Bundle, Bundle]:
    """Three bundles: a stable one, the champion of an hour, and a candidate."""
    folder = tmp_path / "made"
    bundles = (
        make_bundle(folder, catalogue=OLD),
        make_bundle(folder, catalogue=NEW, seed=8),
        make_bundle(folder, catalogue=OLD, seed=9),
    )
    registry, now = Registry(tmp_path / "registry", secret=KeyRing((Secret(SECRET, 0),))), SystemClock().now()
    for bundle in bundles:
        registry.publish(folder / bundle.id)
    for bundle, hours in zip(bundles, (48, 1), strict=False):
        registry.promote(bundle.id, at=now - hours * HOUR, who="tests", why="because")
    (tmp_path / "slidr.key").write_text(SECRET.hex() + "\n")
    (tmp_path / "slidr.toml").write_text("")
    return bundles


def test_roles_and_a_rollback(slidr: Run, tmp_path: Path, made: tuple[Bundle, Bundle, Bundle]) -> None:
    """The list says where a rollback would go; it goes there, once, and what it left is promoted only on purpose."""
    stable, champion, candidate = (bundle.id for bundle in made)
    at = ("--settings", tmp_path / "slidr.toml")
    listed = {one["bundle"]: one for one in slidr("bundles", *at, "--json").document["bundles"]}
    roles = {bundle: one["role"] for bundle, one in listed.items()}
    assert roles == {stable: "stable", champion: "champion", candidate: "candidate"}
    assert [bundle for bundle, one in listed.items() if one["rollback_target"]] == [stable]
    assert "a rollback goes here" in slidr("bundles", *at).out
    assert slidr("rollback", *at).code == 2
    said = slidr("rollback", *at, "--why", "it marks everything")
    assert said.out == f"champion 3: {stable}, instead of {champion}\n"
    again = slidr("rollback", *at, "--why", "once more")
    assert again.code == 1
    assert "no bundle is stable" in again.err
    back = slidr("promote", champion, *at, "--why", "retry")
    assert back.code == 1
    assert "was rolled back in entry 3" in back.err
    assert slidr("promote", champion, *at, "--why", "it was right", "--again", "--json").document["number"] == 4
    assert slidr("rollback", *at, "--why", "bad", "--to", candidate).err.count("never was champion") == 1


def test_a_difference(slidr: Run, tmp_path: Path, made: tuple[Bundle, Bundle, Bundle]) -> None:
    """Features, weights, thresholds, data and metrics of two bundles, for people and for machines."""
    first, second, third = (bundle.id for bundle in made)
    at = ("--settings", tmp_path / "slidr.toml")
    document = slidr("diff", first, second, *at, "--json").document
    assert document["features"] == {
        "added": ["clicks_ip_10m"],
        "removed": ["clicks_session_1h"],
        "cold": ["ip"],
    }
    assert document["weights"]["same"] is False
    assert document["weights"]["distance"] > 0
    assert document["thresholds"] == []
    text = slidr("diff", first, second, *at).out
    assert "+ clicks_ip_10m" in text
    assert "- clicks_session_1h" in text
    assert f"its state is cold where only {first} serves: ip" in text
    same = slidr("diff", first, first, *at, "--json").document
    assert same["weights"] == {"same": True, "parameters": [same["weights"]["parameters"][0]] * 2, "distance": 0.0}
    assert slidr("diff", first, third, *at, "--json").document["features"]["added"] == []
    assert "has no bundle" in slidr("diff", first, "nothing", *at).err


def test_the_audit_log(slidr: Run, tmp_path: Path, made: tuple[Bundle, Bundle, Bundle]) -> None:
    """It is listed and verified; what was changed is named, and fails the command; the head that was kept helps."""
    at = ("--settings", tmp_path / "slidr.toml")
    slidr("challenge", made[2].id, *at, "--why", "to see")
    records = slidr("audit", "list", *at, "--json").document["records"]
    assert [one["kind"] for one in records] == ["promote", "promote", "challenge"]
    assert slidr("audit", "list", *at, "--kind", "challenge", "--json").document["records"] == records[2:]
    assert slidr("audit", "list", *at, "--last", "1", "--json").document["records"] == records[2:]
    assert "to see" in slidr("audit", "list", *at).out
    found = slidr("audit", "verify", *at, "--json").document
    assert (found["records"], found["sealed"], found["faults"]) == (3, 3, [])
    assert slidr("audit", "verify", *at, "--head", found["head"]).code == 0
    assert slidr("audit", "record", *at).out == "0 records added\n"
    last = tmp_path / "registry" / "audit" / "00000003.json"
    held = last.read_bytes()
    last.write_bytes(msgspec.json.encode(msgspec.json.decode(held) | {"who": "nobody"}))
    said = slidr("audit", "verify", *at)
    assert said.code == 1
    assert "record 3: it was changed: its seal does not fit" in said.out
    last.unlink()
    assert slidr("audit", "verify", *at).code == 0
    said = slidr("audit", "verify", *at, "--head", found["head"])
    assert "record 3: it was removed: the head that was kept names it" in said.out
    assert said.code == 1


def test_the_audit_log_of_the_settings_here(slidr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word it lists the log of the settings file at hand."""
    (tmp_path / "slidr.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert "number" in slidr("audit").out
