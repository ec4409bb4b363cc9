from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from slidr.lake.settled import settled

CAUSES = ("live", "late", "replay:r", "review:v")
ROW = st.tuples(st.integers(0, 4), st.integers(0, 3), st.none() | st.integers(0, 11), st.sampled_from(CAUSES))


def decisions(*rows: tuple[str, str, int, str | None, str]) -> pa.Table:
    """Return decisions as (decision_id, click_id, decided_at, supersedes, cause)."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = [pa.string(), pa.string(), pa.int64(), pa.string(), pa.string()]
    names = ["decision_id", "click_id", "decided_at", "supersedes", "cause"]
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)})


def test_no_decisions_settle_to_none() -> None:
    """An empty day stays empty, with its columns."""
    assert settled(decisions()).num_rows == 0


def test_a_correction_holds_and_what_it_corrects_does_not() -> None:
    """What another decision supersedes is gone, down a chain of corrections."""
    table = decisions(
        ("a-1", "one", 1, None, "live"),
        ("a-2", "two", 2, None, "live"),
        ("r-1", "one", 9, "a-1", "replay:r"),
        ("s-1", "one", 12, "r-1", "review:s"),
    )
    assert settled(table)["decision_id"].to_pylist() == ["a-2", "s-1"]


def test_a_correction_goes_before_an_answer_that_comes_later() -> None:
    """A repeat that another process answers afterwards does not undo a correction."""
    table = decisions(
        ("a-1", "one", 1, None, "live"), ("r-1", "one", 9, "a-1", "replay:r"), ("b-1", "one", 20, None, "live")
    )
    assert settled(table)["decision_id"].to_pylist() == ["r-1"]


def test_an_answer_goes_before_an_entry_of_its_place() -> None:
    """What a click was told holds, not the later entry that only says where it stands in the fold."""
    table = decisions(("a--1", "one", 1, None, "live"), ("a-7", "one", 2, None, "late"))
    assert settled(table)["decision_id"].to_pylist() == ["a--1"]


def test_of_two_overlapping_replays_the_newer_one_holds() -> None:
    """Two corrections of the same decision leave the newer; of the same moment, always the same one."""
    table = decisions(
        ("a-1", "one", 1, None, "live"), ("s-1", "one", 9, "a-1", "replay:s"), ("r-1", "one", 8, "a-1", "replay:r")
    )
    assert settled(table)["decision_id"].to_pylist() == ["s-1"]


@given(st.lists(ROW, max_size=12))
def test_one_decision_holds_whatever_the_order(rows: list[tuple[int, int, int | None, str]]) -> None:
    """Each click with a decision that stands has one, the same in any order, and settling again changes nothing."""
    table = decisions(
        *(
            (f"d{place}", f"c{click}", at, None if over is None or over >= place else f"d{over}", cause)
            for place, (click, at, over, cause) in enumerate(rows)
        )
    )
    once = settled(table)
    assert len(set(once["click_id"].to_pylist())) == once.num_rows
    gone = set(table["supersedes"].to_pylist())
    standing = [row for row in table.to_pylist() if row["decision_id"] not in gone]
    assert {row["click_id"] for row in standing} == set(once["click_id"].to_pylist())
    reversed_rows = table.take(pa.array(range(table.num_rows - 1, -1, -1), pa.int64()))
    assert set(settled(reversed_rows)["decision_id"].to_pylist()) == set(once["decision_id"].to_pylist())
    assert settled(once).equals(once)
