"""Recomputing end to end: whatever was not folded when it should have been, nothing of it is left to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import small
from tests.replayed import KEY, NOW, START, billed, bundles, clicks_of, holding, owed, plan_of

from slidr.bundle import Bundle
from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.decide import Decider, deciders, union_layout
from slidr.errors import ReplayError
from slidr.features.clicks import Click
from slidr.features.snapshot import write_snapshot
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.lake.delta import Lake
from slidr.lake.upkeep import compact
from slidr.replay.plan import Plan
from slidr.replay.recompute import Begun, begin, recompute
from slidr.replay.running import Outcome, publish
from slidr.rules import prepare_rules
from slidr.service.answers import DEADLINE, Recorder
from slidr.settings import RulesSettings
from slidr.ship import ship
from slidr.tables import CLICKS, ROWS

RULES = prepare_rules(RulesSettings())
BATCH = 7


class Incident(NamedTuple):
    """What happens to batches, by their number: not decided in time, or in time but too late for who asked."""

    lost: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()


def deciding(bundle: Bundle) -> tuple[Decider, EmbeddedStore]:
    """Return a decider with the list rules of a service, and its store."""
    store = EmbeddedStore(union_layout((bundle,), RULES))
    return deciders((bundle,), lambda _layout: store, KEY, RULES)[0], store


def serve(folder: Path, clicks: Sequence[Click], bundle: Bundle, incident: Incident, kept: int = -1) -> Lake:
    """Return the lake of a service to which this happened; the state before batch `kept` is in `state.npz`."""
    lake, (decider, store) = Lake(str(folder / "lake")), deciding(bundle)
    lake.write(CLICKS, small.table_of(clicks))
    with Journal(folder / "journal.sqlite") as journal:
        journal.declare(decider.context)
        recorder = Recorder("j")
        for number, first in enumerate(range(0, len(clicks), BATCH)):
            part, at = list(clicks[first : first + BATCH]), NOW - DAY + number * SECOND
            if number == kept:
                write_snapshot(folder / "state.npz", store.state(KEY.fingerprint))
            journal.append(_entries(recorder, decider, part, at, incident, number))
            if number % 9 == 0:
                ship(lake, [journal], clock=ManualClock(NOW), keep=25 * HOUR)
        ship(lake, [journal], clock=ManualClock(NOW), keep=25 * HOUR)
    # Sorted by click_id, nothing but the journal's own numbers tells the order.
    compact(lake, small.START.date() + timedelta(days=5))
    return lake


def _entries(
    recorder: Recorder, decider: Decider, part: list[Click], at: int, incident: Incident, number: int
) -> list[Entry]:
    if number in incident.lost:
        return recorder.entries(decider.unmeasured(part, DEADLINE), part, at)
    if number in incident.late:
        answered = recorder.entries(decider.unmeasured(part, DEADLINE), part, at)
        return answered + recorder.late(decider.decide(part), part, at + SECOND // 2)
    return recorder.entries(decider.decide(part), part, at)


def replayed(lake: Lake, bundle: Bundle, plan: Plan, states: Sequence[Path] = ()) -> tuple[Begun, Outcome]:
    """Recompute and publish."""
    decider, store = deciding(bundle)
    begun = begin(lake, plan, states, KEY.fingerprint, decider.layout.horizon)
    return begun, publish(lake, plan, recompute(lake, plan, decider, store, begun), "UTC")


def all_of(lake: Lake, bundle: Bundle, **more: object) -> Plan:
    """Return the plan of a recomputation over everything."""
    return plan_of(lake, bundle, method="recompute", **more)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that decides."""
    return bundles(tmp_path_factory.mktemp("bundles"))[0]


class Undisturbed:
    """A service to which nothing ever happened: who decided, and what holds; hypothesis prints none of it."""

    def __init__(self, bundle: Bundle, held: list[tuple[object, ...]]) -> None:
        self.bundle, self.held = bundle, held


@pytest.fixture(scope="module")
def undisturbed(good: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What holds where nothing ever happened."""
    lake = serve(tmp_path_factory.mktemp("undisturbed"), clicks_of(300), good, Incident())
    return Undisturbed(good, holding(lake))


@given(
    lost=st.frozensets(st.integers(0, 42), max_size=20),
    late=st.frozensets(st.integers(0, 42), max_size=6),
    kept=st.integers(-1, 42),
)
@settings(max_examples=8, deadline=None)
def test_nothing_of_an_incident_is_left(
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed: Undisturbed,
    lost: frozenset[int],
    late: frozenset[int],
    kept: int,
) -> None:
    """Whichever clicks were not measured, decisions end as if all had been, and adjustments are the difference."""
    folder, good = tmp_path_factory.mktemp("past"), undisturbed.bundle
    lake = serve(folder, clicks_of(300), good, Incident(lost, late - lost), kept)
    before = billed(lake)
    _, outcome = replayed(lake, good, all_of(lake, good), [folder / "state.npz"])
    assert outcome.tally.left == 0
    assert holding(lake) == undisturbed.held
    assert owed(lake) == before - billed(lake)


def test_it_begins_with_a_state_from_before_the_incident(
    tmp_path: Path, good: Bundle, undisturbed: Undisturbed
) -> None:
    """Of the states that are kept the newest is taken that knows none of the clicks; a damaged one is passed over."""
    clicks, incident = clicks_of(300), Incident(frozenset(range(30, 36)))
    lake = serve(tmp_path / "old", clicks, good, incident, kept=3)
    serve(tmp_path / "new", clicks, good, incident, kept=25)
    serve(tmp_path / "after", clicks, good, incident, kept=38)
    (tmp_path / "damaged.npz").write_bytes(b"no state")
    states = [tmp_path / name / "state.npz" for name in ("old", "new", "after")]
    start = int(clicks[30 * BATCH].time.timestamp()) * SECOND
    begun, _ = replayed(lake, good, all_of(lake, good, start=start), [tmp_path / "damaged.npz", *states])
    assert begun.state == states[1]
    assert holding(lake) == undisturbed.held


def test_without_a_state_rows_are_cold_for_a_horizon(tmp_path: Path, good: Bundle) -> None:
    """Where journals do not reach back, nothing is decided that is not known: such clicks keep what was decided."""
    lake = serve(tmp_path, clicks_of(200), good, Incident(frozenset({20, 21})))
    remove(lake, 0, 50)
    before = holding(lake)
    begun, outcome = replayed(lake, good, all_of(lake, good, incomplete=True))
    assert begun.state is None
    assert outcome.tally.left > 0
    assert holding(lake) == before


def remove(lake: Lake, first: int, last: int) -> None:
    """Take rows of clicks out of the lake."""
    rows = lake.read(ROWS)
    kept = rows.filter(
        pc.invert(pc.and_(pc.greater_equal(rows["sequence"], first), pc.less_equal(rows["sequence"], last)))
    )
    lost = rows.num_rows - kept.num_rows
    table = DeltaTable(lake.address(ROWS))
    assert table.delete(f"sequence >= {first} and sequence <= {last}")["num_deleted_rows"] == lost


def test_a_missing_part_of_a_journal_is_told(tmp_path: Path, good: Bundle) -> None:
    """Neither method goes over what is there as if it were all, unless it is told to."""
    lake = serve(tmp_path, clicks_of(200), good, Incident(frozenset({20})))
    remove(lake, 100, 109)
    with pytest.raises(ReplayError, match="10 clicks that were folded are missing, places 100 to 109 of the fold"):
        replayed(lake, good, all_of(lake, good))
    _, outcome = replayed(lake, good, all_of(lake, good, id="two", incomplete=True))
    assert outcome.tally.corrected > 0


def test_a_span_without_rows_is_refused(tmp_path: Path, good: Bundle) -> None:
    """Where nothing was decided there is nothing to replay, and the error says so."""
    lake = serve(tmp_path, clicks_of(50), good, Incident())
    with pytest.raises(ReplayError, match="no rows of clicks from"):
        replayed(lake, good, all_of(lake, good, start=START + 30 * DAY, end=START + 31 * DAY))
