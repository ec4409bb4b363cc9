"""Corrections and records by their commands: replay, review, history, backup and restore of what a service decided."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow.compute as pc
import pytest
from tests import small
from tests.cli.conftest import Run
from tests.receiving import receiving
from tests.replayed import KEY, bundles, clicks_of

from slidr.bundle import Bundle
from slidr.clock import HOUR, SECOND, SystemClock
from slidr.decide import deciders, union_layout
from slidr.features.clicks import Click
from slidr.features.keys import KeyRing, Secret
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.registry import Registry
from slidr.rules import prepare_rules
from slidr.service.answers import DEADLINE, Recorder
from slidr.settings import RulesSettings
from slidr.tables import CLICKS, DECISIONS

RULES = prepare_rules(RulesSettings())
DAY = datetime.now(UTC).date() - timedelta(days=2)
SPAN = ("--from", DAY.isoformat(), "--until", (DAY + timedelta(days=1)).isoformat())


@pytest.fixture
def past(tmp_path: Path) -> tuple[Bundle, Bundle]:
    """A project whose service decided a day: first by a good bundle, for a while not at all, and then by a bad one."""
    good, bad = bundles(tmp_path)
    registry, now = Registry(tmp_path / "registry", secret=KeyRing((Secret(small.SECRET, 0),))), SystemClock().now()
    for bundle, hours in ((good, 90), (bad, 50)):
        registry.publish(tmp_path / "bundles" / bundle.id)
        registry.promote(bundle.id, at=now - hours * HOUR, who="tests", why="because")
    (tmp_path / "slidr.key").write_text(small.SECRET.hex() + "\n")
    (tmp_path / "slidr.toml").write_text("")
    store = EmbeddedStore(union_layout((good, bad), RULES))
    both = deciders((good, bad), lambda _layout: store, KEY, RULES)
    later = datetime(DAY.year, DAY.month, DAY.day, 1, tzinfo=UTC) - small.START
    clicks = [msgspec.structs.replace(one, time=one.time + later) for one in clicks_of(240)]
    Lake(str(tmp_path / "lake")).write(CLICKS, small.table_of(clicks))
    with Journal(tmp_path / "journal.sqlite") as journal:
        recorder = Recorder("j")
        for decider in both:
            journal.declare(decider.context)
        for number in range(0, len(clicks), 40):
            part = clicks[number : number + 40]
            decided = both[number >= 120].decide(part) if number != 80 else both[0].unmeasured(part, DEADLINE)
            journal.append(recorder.entries(decided, part, moment(part[-1])))
    return good, bad


def moment(click: Click) -> int:
    """Return the time of a click in microseconds."""
    return int(click.time.timestamp()) * SECOND


@pytest.mark.usefixtures("past")
def test_a_replay_settles_what_was_decided_wrongly(slidr: Run, tmp_path: Path, past: tuple[Bundle, Bundle]) -> None:
    """Looked at first and then done, it corrects every click once, and a click's history tells of it."""
    good, _ = past
    at = ("--settings", tmp_path / "slidr.toml")
    asked = ("replay", *SPAN, "--method", "recompute", "--bundle", good.id, *at)
    seen = slidr(*asked, "--dry-run", "--json").document
    assert (seen["dry_run"], seen["verdicts"]["before"]["unmeasurable"] > 10, seen["left"]) == (True, True, 0)
    assert "give it with --why" in slidr(*asked).err
    done = slidr(*asked, "--why", "a bad bundle, and Redis was down", "--json").document
    assert {key: done[key] for key in ("verdicts", "credit")} == {key: seen[key] for key in ("verdicts", "credit")}
    assert f"replay {done['replay']} is complete already" in slidr(*asked, "--why", "again").out
    held = Lake(str(tmp_path / "lake")).read(DECISIONS)
    corrected = held.filter(pc.equal(held["cause"], f"replay:{done['replay']}"))["click_id"]
    assert len(corrected) == len(set(corrected.to_pylist())) == done["corrected"]
    told = slidr("history", corrected[0].as_py(), "--day", DAY, *at, "--json").document
    assert [one["cause"] for one in told["decisions"]] == ["live", f"replay:{done['replay']}"]
    assert slidr("audit", "verify", *at).code == 0


@pytest.mark.usefixtures("past")
def test_a_rescore_in_words(slidr: Run, tmp_path: Path, past: tuple[Bundle, Bundle]) -> None:
    """It says what became of whom, what is owed, and which clicks it cannot decide."""
    good, bad = past
    at = ("--settings", tmp_path / "slidr.toml")
    said = slidr("replay", *SPAN, "--bundle", good.id, "--why", "a bad bundle", *at)
    assert (said.code, "unmeasurable clicks are left" in said.out, "EUR" in said.out) == (0, True, True)
    assert f"bundle {good.id}" in said.out
    again = slidr("replay", *SPAN, "--id", "one", "--why", "a bad bundle", *at, "--json").document
    assert again["bundle"] == bad.id
    other = slidr("replay", *SPAN, "--id", "one", "--slice", "device=mobile", "--why", "other", *at)
    assert (other.code, "replay one was declared otherwise: slice was 'all'" in other.err) == (1, True)


@pytest.mark.usefixtures("past")
def test_what_cannot_be_replayed_is_refused(slidr: Run, tmp_path: Path) -> None:
    """A span without decisions, one that is past the cut-off, a bundle that is gone: each names what to do."""
    at = ("--settings", tmp_path / "slidr.toml", "--why", "because")
    none = slidr("replay", "--from", DAY - timedelta(days=3), "--until", DAY - timedelta(days=2), *at)
    assert (none.code, "no rows of clicks from" in none.err) == (1, True)
    old = slidr("replay", "--from", DAY - timedelta(days=60), "--until", DAY + timedelta(days=1), *at)
    assert (old.code, "past the cut-off" in old.err) == (1, True)
    gone = slidr("replay", *SPAN, "--bundle", "0" * 16, *at)
    assert (gone.code, "0" * 16 in gone.err) == (1, True)
    backwards = slidr("replay", "--from", DAY, "--until", DAY, *at)
    assert (backwards.code, "ends before it begins" in backwards.err) == (1, True)


@pytest.mark.usefixtures("past")
def test_a_webhook_is_told(
    slidr: Run, tmp_path: Path, past: tuple[Bundle, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every superseding decision is posted to the address of the environment."""
    at = ("--settings", tmp_path / "slidr.toml", "--why", "a bad bundle", "--json")
    with receiving([]) as (address, taken):
        monkeypatch.setenv("SLIDR_REPLAY_WEBHOOK", address)
        done = slidr("replay", *SPAN, "--bundle", past[0].id, *at).document
    assert done["told"] == done["corrected"] == sum(len(json.loads(one.body)["data"]["decisions"]) for one in taken)


@pytest.mark.usefixtures("past")
def test_a_person_decides_for_good(slidr: Run, tmp_path: Path) -> None:
    """A review supersedes, is the same when it is given twice, and one of a click that is not there is refused."""
    at = ("--settings", tmp_path / "slidr.toml")
    assert slidr("ship", *at).code == 0
    asked = ("review", "click-150", "--day", DAY, "--verdict", "valid", "--why", "the customer called", *at)
    done = slidr(*asked, "--json").document
    assert (done["after"], slidr(*asked, "--json").document["cause"]) == ("valid", done["cause"])
    held = slidr("history", "click-150", "--day", DAY, *at, "--json").document["decisions"][-1]
    assert (held["cause"], held["verdict"]) == (done["cause"], "valid")
    missing = slidr("review", "nobody", "--day", DAY, "--verdict", "valid", "--why", "none", *at)
    assert (missing.code, "no decision of click 'nobody'" in missing.err) == (1, True)


@pytest.mark.usefixtures("past")
def test_a_backup_is_put_back(slidr: Run, tmp_path: Path) -> None:
    """What is restored into an empty place holds the same decisions; a damaged backup is refused by the file's name."""
    at = ("--settings", tmp_path / "slidr.toml")
    assert slidr("ship", *at).code == 0
    assert slidr("backup", tmp_path / "kept", *at).code == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "slidr.toml").write_text("")
    (other / "slidr.key").write_text(small.SECRET.hex() + "\n")
    there = ("--settings", other / "slidr.toml")
    assert slidr("restore", tmp_path / "kept", *there).code == 0
    asked = ("history", "click-10", "--day", DAY)
    assert slidr(*asked, *there, "--json").document["decisions"] == slidr(*asked, *at, "--json").document["decisions"]
    victim = next(path for path in sorted((tmp_path / "kept").rglob("*.parquet")))
    victim.write_bytes(victim.read_bytes()[:-1])
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "slidr.toml").write_text("")
    said = slidr("restore", tmp_path / "kept", "--settings", tmp_path / "third" / "slidr.toml")
    assert (said.code, victim.name in said.err) == (1, True)
