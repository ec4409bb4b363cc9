"""Rescoring end to end: decisions of a forced bad bundle are put right, down to the cent, and once."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replayed import NOW, START, billed, bundles, clicks_of, decider_of, holding, owed, plan_of, served

from slidr.audit import Audit
from slidr.bundle import Bundle
from slidr.clock import DAY, SECOND
from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.lake.settled import settled
from slidr.replay.plan import Plan, declared
from slidr.replay.rescore import rescore
from slidr.replay.review import Review, review
from slidr.replay.running import preview, publish
from slidr.settings import Settings
from slidr.tables import ADJUSTMENTS, DECISIONS, Verdict


def test_a_replay_gives_what_would_have_been_decided(tmp_path: Path) -> None:
    """Of a forced bad bundle no difference is left; adjustments are the difference in cost; a second run adds none."""
    good, bad = bundles(tmp_path)
    clicks = clicks_of(600)
    wanted = served(tmp_path / "undisturbed", clicks, [good, good])
    lake = served(tmp_path / "disturbed", clicks, [good, bad])
    before = billed(lake)
    assert holding(lake) != holding(wanted)
    plan = plan_of(lake, good)
    seen = preview(plan, rescore(lake, plan, decider_of(good)))
    assert (seen.dry, lake.exists(ADJUSTMENTS)) == (True, False)
    done = publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC")
    assert done.document()["credit"] == seen.document()["credit"]
    assert holding(lake) == holding(wanted)
    assert owed(lake) == before - billed(wanted) != 0
    versions = [lake.version(table) for table in (DECISIONS, ADJUSTMENTS)]
    assert publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC").again
    assert [lake.version(table) for table in (DECISIONS, ADJUSTMENTS)] == versions
    ids = lake.read(DECISIONS)["decision_id"].to_pylist()
    assert len(ids) == len(set(ids))


def correct(lake: Lake, audit: Audit, deciding: tuple[Bundle, Bundle], number: int, step: tuple[int, int, int]) -> None:
    """Replay a stretch by one of the bundles, or let a person decide a click."""
    kind, first, length = step
    if kind < 2:
        start, end = START + first * 60 * SECOND, START + (first + length) * 60 * SECOND
        plan = plan_of(lake, deciding[kind], id=f"r{number}", at=NOW + number, start=start, end=end)
        with suppress(ReplayError):  # nothing was decided in that stretch
            publish(lake, plan, rescore(lake, plan, decider_of(deciding[kind])), "UTC")
        return
    click = settled(lake.read(DECISIONS)).sort_by("click_id").slice(first, 1).to_pylist()[0]
    verdict = tuple(Verdict)[length % len(Verdict)]
    asked = Review(click["click_id"], click["time"].date(), verdict, NOW + number, "me", "because")
    review(lake, audit, Settings(), asked)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 30)), max_size=6))
@settings(max_examples=8, deadline=None)
def test_adjustments_telescope(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int]]) -> None:
    """Whatever is replayed over whatever, and reviewed, adjustments sum up to what was billed less what is."""
    folder = tmp_path_factory.mktemp("telescope")
    deciding = bundles(folder)
    lake, audit = served(folder / "served", clicks_of(250), [deciding[0]]), Audit(folder / "registry")
    first = billed(lake)
    for number, step in enumerate(steps):
        correct(lake, audit, deciding, number, step)
        assert (owed(lake) if lake.exists(ADJUSTMENTS) else 0) == first - billed(lake)


@pytest.mark.parametrize("step", ["corrections", "adjustments"])
def test_a_killed_replay_is_finished(tmp_path: Path, step: str) -> None:
    """Ended before or behind its corrections, a replay that is run again leaves what an undisturbed one does."""
    good, bad = bundles(tmp_path)
    lake = served(tmp_path / "served", clicks_of(200), [bad])
    before, plan = billed(lake), plan_of(lake, good)

    def killed(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC", killed)
    publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC")
    assert owed(lake) == before - billed(lake) != 0
    assert settled(lake.read(DECISIONS)).num_rows == len(set(lake.read(DECISIONS)["click_id"].to_pylist()))


def test_a_review_holds_against_replays(tmp_path: Path) -> None:
    """A person's verdict supersedes, is adjusted and recorded once, and no replay changes the click any more."""
    good, bad = bundles(tmp_path)
    lake, audit = served(tmp_path / "served", clicks_of(100), [bad]), Audit(tmp_path / "registry")
    asked = Review("click-9", datetime.fromtimestamp(START / SECOND, UTC).date(), Verdict.VALID, NOW, "me", "a mistake")
    done = review(lake, audit, Settings(), asked)
    assert done.adjustments.num_rows == (done.before != "unmeasurable" and done.before.startswith("invalid"))
    assert review(lake, audit, Settings(), asked).cause == done.cause
    assert [one.kind for one in audit.records()] == ["review"]
    plan = plan_of(lake, good)
    assert publish(lake, plan, rescore(lake, plan, decider_of(good)), "UTC").tally.reviewed == 1
    (held,) = [one for one in settled(lake.read(DECISIONS)).to_pylist() if one["click_id"] == "click-9"]
    assert (held["verdict"], held["cause"], held["reasons"]) == ("valid", done.cause, ["review"])


def test_a_replay_is_declared_once(tmp_path: Path) -> None:
    """A plan goes into the audit log; the same id for something else is refused, and old clicks are."""
    audit = Audit(tmp_path / "registry")
    plan = Plan(id="one", method="rescore", bundle="b", start=0, end=1, rows=3, at=5)
    assert declared(audit, plan, who="me", why="bad") == plan
    assert declared(audit, msgspec.structs.replace(plan, rows=4, at=9), who="me", why="bad") == plan
    with pytest.raises(ReplayError, match="bundle was 'b' and is 'c'"):
        declared(audit, msgspec.structs.replace(plan, bundle="c"), who="me", why="bad")
    with pytest.raises(ReplayError, match="cut-off"):
        review_of_old(tmp_path)


def review_of_old(folder: Path) -> None:
    """Review a click that is past the cut-off."""
    good, _ = bundles(folder)
    lake = served(folder / "served", clicks_of(20), [good])
    day = datetime.fromtimestamp(START / SECOND, UTC).date()
    review(lake, Audit(folder / "r"), Settings(), Review("click-3", day, Verdict.VALID, NOW + 90 * DAY, "me", "late"))
