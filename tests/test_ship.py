"""Shipping: every decision lands in the lake exactly once, whenever a shipper dies and however many ship."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
from tests.test_journal import CONTEXT, entry, shadow

from slidr import ship as shipping
from slidr.clock import DAY, HOUR, ManualClock
from slidr.errors import JournalError, TableError
from slidr.journal import Entry, Journal, Shipped
from slidr.journal.told import told_shipped
from slidr.lake.delta import Lake
from slidr.ship import Done, ship, shipped_of
from slidr.tables import CONTEXTS, DECISIONS, ROWS, SHADOWS

NOW = 1_767_225_600_000_000 + 30 * DAY


class KilledError(Exception):
    """Ends a shipper where a signal would."""


def killed_at(place: int) -> Callable[[str], None]:
    """Return what ends a shipper before its step of this number, counted from zero."""
    left = [place]

    def step(_name: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError

    return step


def fill(journal: Journal, *, first: int = 0, count: int = 30) -> None:
    """Append entries in order, some of them with a challenger's, and some out of order."""
    journal.declare(CONTEXT)
    for start in range(first, first + count, 10):
        shadows = [shadow(place, b"row") for place in range(start, start + 10, 4)]
        journal.append([made(journal, place) for place in range(start + 1, start + 10)], shadows[1:])
        apart = [made(journal, journal.next_unfolded - more) for more in range(2)]
        journal.append([*apart, made(journal, start)], [shadows[0]])


def made(journal: Journal, sequence: int) -> Entry:
    """Return an entry as the service names it."""
    return entry(sequence)._replace(decision_id=f"{journal.id}-{sequence:x}", row=b"" if sequence < 0 else b"1234")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[list[Journal]]:
    """Journals of two processes, open to be read."""
    paths = [tmp_path / "j.0.sqlite", tmp_path / "j.1.sqlite"]
    for path in paths:
        with Journal(path) as journal:
            fill(journal)
    with ExitStack() as stack:
        yield [stack.enter_context(Journal(path, write=False)) for path in paths]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of few entries, so that a journal is several."""
    monkeypatch.setattr(shipping, "RANGE", 7)


def shipped(lake: Lake, journals: list[Journal], **how: object) -> Done:
    """Ship with the clock of these tests."""
    return ship(lake, journals, clock=ManualClock(NOW), keep=25 * HOUR, **how)  # type: ignore[arg-type]


def expect(lake: Lake, journals: list[Journal]) -> None:
    """Check that the lake holds every entry of the journals once, with its row and its challenger's decision."""
    entries = [one for journal in journals for one in [*journal.in_order(-1, 10**6), *journal.unfolded(0)]]
    entries += [one for journal in journals for _, one in journal.apart(0, 10**6) if one.sequence >= 0]
    decided = lake.read(DECISIONS)
    assert sorted(decided["decision_id"].to_pylist()) == sorted(one.decision_id for one in entries)
    rows = lake.read(ROWS)
    assert sorted(rows["decision_id"].to_pylist()) == sorted(one.decision_id for one in entries)
    wanted = [(journal.id, place) for journal in journals for place in journal.shadows(range(10**4))]
    shadows = lake.read(SHADOWS)
    assert sorted(zip(shadows["journal"].to_pylist(), shadows["sequence"].to_pylist(), strict=True)) == sorted(wanted)
    assert lake.read(CONTEXTS)["context"].to_pylist() == [CONTEXT.id]


@pytest.mark.usefixtures("small")
def test_every_entry_lands_once_with_all_it_says(lake: Lake, journals: list[Journal]) -> None:
    """Two journals land whole, a second shipping finds nothing, and what is appended later follows."""
    done = shipped(lake, journals)
    assert done.entries == 72
    expect(lake, journals)
    kept = next(journals[0].entries())[3]
    (found,) = (row for row in lake.read(DECISIONS).to_pylist() if row["decision_id"] == kept.decision_id)
    for name in ("click_id", "verdict", "slice", "bundle", "cause", "context", "campaign", "cost", "score", "sequence"):
        assert found[name] == getattr(kept, name)
    assert (found["journal"], found["enforced"], found["supersedes"]) == (journals[0].id, True, None)
    (row,) = (row for row in lake.read(ROWS).to_pylist() if row["decision_id"] == kept.decision_id)
    assert (row["keys"], row["row"], row["click_key"]) == (kept.keys, kept.row, kept.click_key)
    unfolded = [row for row in lake.read(ROWS).to_pylist() if row["sequence"] < 0]
    assert {row["row"] for row in unfolded} == {b""}
    versions = [lake.version(table) for table in (DECISIONS, ROWS, SHADOWS)]
    again = shipped(lake, journals)
    assert (again.entries, again.latest) == (0, None)
    assert [lake.version(table) for table in (DECISIONS, ROWS, SHADOWS)] == versions
    with Journal(journals[1].path) as more:
        fill(more, first=30, count=10)
    assert shipped(lake, journals).entries == 12
    expect(lake, journals)


def test_a_shipper_killed_between_any_two_steps_leaves_nothing_twice(
    tmp_path: Path, journals: list[Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before each of its steps in turn, while the journal grows, the next shipping makes it whole."""
    monkeypatch.setattr(shipping, "RANGE", 20)
    del journals[1]
    steps: list[str] = []
    ship(Lake(str(tmp_path / "whole")), journals, clock=ManualClock(NOW), keep=HOUR, step=steps.append)
    assert steps == [*(["contexts", "shadows", "rows", "decisions"] * 3), "tell j.0.sqlite"]
    for place in range(len(steps)):
        lake = Lake(str(tmp_path / f"lake-{place}"))
        with pytest.raises(KilledError):
            shipped(lake, journals, step=killed_at(place))
        if place % 5 == 0:
            with Journal(journals[0].path) as more:
                fill(more, first=more.last_sequence + 1, count=10)
        shipped(lake, journals)
        expect(lake, journals)


def test_a_range_grown_since_a_crash_is_not_written_again(lake: Lake, journals: list[Journal]) -> None:
    """Rows that landed without their decisions are skipped where the next range is longer than the one that died."""
    with pytest.raises(KilledError):
        shipped(lake, journals, step=killed_at(3))
    assert lake.exists(ROWS)
    assert not lake.exists(DECISIONS)
    with Journal(journals[0].path) as more:
        fill(more, first=30, count=20)
    shipped(lake, journals)
    expect(lake, journals)


@pytest.mark.usefixtures("small")
def test_shippers_at_once_ship_everything_once(lake: Lake, journals: list[Journal]) -> None:
    """Three shippers that start together, on empty tables, share the ranges and repeat none."""
    start, done = Barrier(3), []

    def run() -> None:
        with ExitStack() as stack:
            own = [stack.enter_context(Journal(journal.path, write=False)) for journal in journals]
            start.wait()
            done.append(shipped(lake, own).entries)

    threads = [Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 72
    assert len(done) == 3
    assert lake.read(CONTEXTS)["context"].to_pylist() == [CONTEXT.id]
    assert len(set(lake.read(DECISIONS)["decision_id"].to_pylist())) == lake.read(DECISIONS).num_rows == 72
    assert len(set(lake.read(ROWS)["decision_id"].to_pylist())) == lake.read(ROWS).num_rows == 72


def test_clicks_of_many_days_land_on_their_days(tmp_path: Path, lake: Lake) -> None:
    """One range over five days, and over the night in which clocks are put forward, lies on UTC days."""
    night = 1_774_738_800_000_000  # 2026-03-29 00:00 in Berlin, which is 23:00 UTC of the 28th
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.declare(CONTEXT)
        times = [*(night + hour * HOUR for hour in range(4)), *(night + day * DAY for day in range(1, 5))]
        journal.append([made(journal, place)._replace(time=time) for place, time in enumerate(times)])
        shipped(lake, [journal])
    assert [str(day) for day in lake.days(DECISIONS)] == [f"2026-{day}" for day in ("03-28", *_DAYS)]
    assert lake.version(DECISIONS) == 1
    days = {str(day): content.rows for day, content in lake.contents(DECISIONS).items()}
    assert days == {"2026-03-28": 1, "2026-03-29": 4, "2026-03-30": 1, "2026-03-31": 1, "2026-04-01": 1}


_DAYS = ("03-29", "03-30", "03-31", "04-01")


def test_a_full_disk_loses_nothing(lake: Lake, journals: list[Journal]) -> None:
    """Where the lake cannot be written the journal stays whole and unshipped, and the next shipping does it all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(TableError, match="File too large"):
            shipped(lake, journals)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shipped_of(lake, journals[0].id) == Shipped()
    shipped(lake, journals)
    expect(lake, journals)


def test_a_journal_is_shortened_only_after_its_commit(tmp_path: Path, lake: Lake) -> None:
    """Without a service `ship` shortens it up to the snapshot; with one it says up to where the lake has it."""
    path, state = tmp_path / "j.sqlite", tmp_path / "state.npz"
    with Journal(path) as journal:
        fill(journal, count=30)
        np.savez(state, numbers=np.array([0, 21, 0]))
        (held,) = shipped(lake, [journal], state=state).journals
        assert held.removed is None
        assert told_shipped(path, journal.id) == held.shipped == Shipped(29, 9)
    with Journal(path, write=False) as journal:
        with pytest.raises(KilledError):
            shipped(lake, [journal], state=state, step=killed_at(0))
        assert len(next(journal.entries())) == 30
        (done,) = shipped(lake, [journal], state=state).journals
        assert done.removed == 20 + 6
        assert [one.sequence for one in next(journal.entries())] == list(range(20, 30))
        assert journal.unfolded(0) == []
    assert lake.read(DECISIONS).num_rows == 36


def test_young_entries_stay(tmp_path: Path, lake: Lake) -> None:
    """Repeats and look-ups need the last hours, so what is younger than that is shipped and stays."""
    path, state = tmp_path / "j.sqlite", tmp_path / "state.npz"
    np.savez(state, numbers=np.array([0, 30, 0]))
    with Journal(path) as journal:
        fill(journal)
    with Journal(path, write=False) as journal:
        clock = ManualClock(entry(0).decided_at + 25 * HOUR)
        (done,) = ship(lake, [journal], clock=clock, keep=25 * HOUR, state=state).journals
        assert done.removed == 3 * 2, "those with a sequence below zero were decided before the first one"


def test_a_journal_that_lacks_what_the_lake_lacks_is_refused(tmp_path: Path, lake: Lake) -> None:
    """A part that was removed after it was shipped elsewhere is a gap here, and told as one."""
    path, state = tmp_path / "j.sqlite", tmp_path / "state.npz"
    np.savez(state, numbers=np.array([0, 30, 0]))
    with Journal(path) as journal:
        fill(journal)
    with Journal(path, write=False) as journal:
        shipped(lake, [journal], state=state)
        with pytest.raises(JournalError, match=r"was shortened up to number 29 of .* has it up to 0 alone"):
            shipped(Lake(str(tmp_path / "another")), [journal])


def test_an_older_copy_of_a_journal_is_refused(tmp_path: Path, lake: Lake) -> None:
    """What a service adds to a journal brought back from a copy would pass for shipped, so it is told."""
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        fill(journal, count=10)
    shutil.copyfile(path, tmp_path / "old.sqlite")
    with Journal(path) as journal:
        fill(journal, first=10, count=10)
        shipped(lake, [journal])
    with (
        Journal(tmp_path / "old.sqlite", write=False) as old,
        pytest.raises(JournalError, match=r"ends at click 9, and .* up to click 19: this is an older copy"),
    ):
        shipped(lake, [old])
    with (
        Journal(path, write=False) as one,
        Journal(path, write=False) as two,
        pytest.raises(JournalError, match="are the same journal"),
    ):
        shipped(lake, [one, two])
