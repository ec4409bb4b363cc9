"""The order of appending, and what leaves a journal once it is shipped."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.test_journal import entry, shadow

from slidr.errors import JournalError
from slidr.journal import Journal, Purchase, Shipped
from slidr.journal.told import beside, tell_shipped, told_shipped

ALL = Shipped(10**9, 10**9)
LATER = 2**62
GROUPS = st.lists(st.integers(-50, 200), min_size=1, max_size=30, unique=True).flatmap(
    lambda drawn: st.lists(st.integers(1, 5), min_size=len(drawn), max_size=len(drawn)).map(
        lambda sizes: [drawn[start : start + size] for start, size in _cut(len(drawn), sizes)]
    )
)


def _cut(count: int, sizes: list[int]) -> list[tuple[int, int]]:
    start, cuts = 0, []
    for size in sizes:
        if start < count:
            cuts.append((start, size))
            start += size
    return cuts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal is."""
    return tmp_path / "j.sqlite"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(groups=GROUPS)
def test_reading_on_finds_every_entry_once(groups: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever sequences come in whatever order, two cursors that read after each group see each entry once."""
    found, order, number = [], -1, 0
    with Journal(tmp_path_factory.mktemp("journal") / "j.sqlite") as journal:
        for group in groups:
            journal.append([entry(sequence) for sequence in group])
            for one in journal.in_order(order, 100):
                order = one.sequence
                found.append(one.sequence)
            apart = journal.apart(number, 100)
            found += [one.sequence for _, one in apart]
            number = max([number, *(place for place, _ in apart)])
            assert journal.in_order(order, 100) == []
    assert sorted(found) == sorted(sequence for group in groups for sequence in group)


def test_an_old_entry_leaves_once_it_is_shipped_and_held(path: Path) -> None:
    """Only what is shipped, held by the snapshot and old goes; the snapshot's last click and the last entry stay."""
    with Journal(path) as journal:
        journal.append([entry(number) for number in range(10)], [shadow(number) for number in range(10)])
        shorten = journal.shorten
        assert shorten(Shipped(), held=10, before=LATER, most=100) == 0
        assert shorten(ALL, held=0, before=LATER, most=100) == 0
        assert shorten(ALL, held=10, before=0, most=100) == 0
        assert shorten(Shipped(3, 0), held=10, before=LATER, most=2) == 2
        assert shorten(Shipped(3, 0), held=10, before=LATER, most=100) == 2
        assert shorten(ALL, held=6, before=LATER, most=100) == 1
        assert [one.sequence for one in next(journal.entries())] == [5, 6, 7, 8, 9]
        assert set(journal.shadows(range(10))) == {5, 6, 7, 8, 9}
        assert shorten(ALL, held=100, before=LATER, most=100) == 4
        assert journal.last_sequence == 9
        assert journal.shortened == Shipped(8, 0)


def test_entries_apart_leave_by_their_own_number_and_are_never_named_again(path: Path) -> None:
    """What was not folded leaves once shipped, and its sequence below zero, so its id, is not given out again."""
    with Journal(path) as journal:
        journal.append([entry(0), entry(2), entry(3)])
        journal.append([entry(-1), entry(-2), entry(1)])
        assert journal.shorten(Shipped(-1, 2), held=100, before=LATER, most=100) == 2
        assert journal.next_unfolded == -3
        assert journal.shorten(Shipped(3, 2), held=100, before=LATER, most=100) == 2
        assert journal.find([1]), "an adopted entry is not shipped with those around it"
        assert journal.shorten(Shipped(3, 3), held=100, before=LATER, most=100) == 1
        assert journal.apart(0, 10) == []
    with Journal(path) as journal:
        assert journal.next_unfolded == -3
        journal.append([entry(-3)])
        assert [number for number, _ in journal.apart(3, 10)] == [4]


def test_purchases_leave_once_they_are_in_the_lake(path: Path) -> None:
    """Only collected and old ones go, the oldest first; numbers are not given out again, an id of one gone is new."""
    bought = [Purchase(f"p{place}", place, None, None, 5, "EUR", place) for place in range(10)]
    with Journal(path) as journal:
        journal.report(bought)
        (read,) = journal.purchases()
        numbers = [number for number, _ in read]
        shorten = partial(journal.shorten, Shipped(), held=0)
        assert shorten(before=LATER, most=100) == 0
        assert shorten(before=2, most=100, collected=numbers[4]) == 2
        assert shorten(before=LATER, most=2, collected=numbers[4]) == 2
        assert journal.shortened_purchases == numbers[3]
        assert shorten(before=LATER, most=100, collected=10**9) == 6
        assert journal.last_purchase >= numbers[-1]
    with Journal(path) as journal:
        assert journal.report(bought[:1]) == [True]
        (((number, _),),) = journal.purchases()
        assert number > numbers[-1]


def test_a_journal_of_the_second_schema_is_brought_up(path: Path) -> None:
    """Entries that were not folded stand apart, in the order of their appending, and the others in theirs."""
    with Journal(path) as journal:
        journal.append([entry(0), entry(1), entry(-1), entry(-2)])
    old = sqlite3.connect(path)
    old.executescript("DROP TABLE apart; PRAGMA user_version=2;")
    old.close()
    with pytest.raises(JournalError, match="has schema 2; start the service on it once, which brings it to 3"):
        Journal(path, write=False)
    with Journal(path) as journal:
        assert [(number, one.sequence) for number, one in journal.apart(0, 10)] == [(1, -1), (2, -2)]
        assert [one.sequence for one in journal.in_order(-1, 10)] == [0, 1]
        journal.append([entry(2), entry(-3)])
        assert [number for number, _ in journal.apart(2, 10)] == [3]


def test_what_is_told_of_a_journal_is_believed_only_as_it_was_written(path: Path) -> None:
    """A file that tells of another journal, was changed, or is cut short is an error that says to delete it."""
    assert told_shipped(path, "one") == Shipped()
    tell_shipped(path, "one", Shipped(5, 2))
    assert told_shipped(path, "one") == Shipped(5, 2)
    with pytest.raises(JournalError, match="tells of journal one"):
        told_shipped(path, "two")
    text = beside(path, "shipped").read_text()
    for changed in (text.replace("5", "9999", 1), text[:20], "[]", "", '{"check": 1}'):
        beside(path, "shipped").write_text(changed)
        with pytest.raises(JournalError, match="is not as `slidr ship` wrote it; delete it"):
            told_shipped(path, "one")
