from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slidr.errors import JournalError
from slidr.journal import CHUNK, Context, Entry, Journal, Purchase, Shadow
from slidr.journal.file import move_log

CONTEXT = Context("b1", (("user",), ("ip", "user_agent")), ("clicks_user_1m", "hour_sin"), (("crawlers", "v1"),), "0.1")


def entry(sequence: int, click_id: str | None = None, score: float | None = 0.25) -> Entry:
    """Return a decision of a click."""
    return Entry(
        sequence=sequence,
        decision_id=f"journal-{sequence:x}",
        click_id=click_id or f"click-{sequence}",
        time=1_767_225_600_000_000 + sequence,
        decided_at=1_767_225_600_000_500 + sequence,
        verdict="valid",
        reasons=("model",) if sequence % 2 else (),
        lists=(),
        score=score,
        threshold=None if score is None else 0.5,
        slice="device=mobile",
        bundle="b1",
        cause="live",
        context=CONTEXT.id,
        enforced=1,
        click_key=-sequence - 1,
        logged_in=-1,
        keys=np.array([sequence % 2**64, 2**64 - 1], np.uint64).tobytes(),
        row=np.array([0.1, sequence], np.float32).tobytes(),
        campaign="c",
        cost=2**63 - 1,
    )


FIRST_SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE bundles (bundle TEXT PRIMARY KEY, keys TEXT NOT NULL, features TEXT NOT NULL) STRICT;
CREATE TABLE decisions (sequence INTEGER PRIMARY KEY, decision_id TEXT NOT NULL, click_id TEXT NOT NULL,
    time INTEGER NOT NULL, decided_at INTEGER NOT NULL, verdict TEXT NOT NULL, reasons TEXT NOT NULL,
    lists TEXT NOT NULL, score REAL, threshold REAL, slice TEXT NOT NULL, bundle TEXT NOT NULL, cause TEXT NOT NULL,
    click_key INTEGER NOT NULL, logged_in INTEGER NOT NULL, keys BLOB NOT NULL, row BLOB NOT NULL, campaign TEXT,
    advertiser TEXT, cost INTEGER, currency TEXT) STRICT;
INSERT INTO meta VALUES ('id', '0123456789ab'), ('secrets', '[[0, ["fingerprint"]]]');
INSERT INTO bundles VALUES ('b0', '[["user"], ["ip"]]', '["f", "g"]'), ('b1', '[["user"], ["ip"]]', '["f", "g"]');
PRAGMA application_id=1936483442;
PRAGMA user_version=1;
"""
FLOATS = st.none() | st.floats(width=32, allow_nan=False)
ENTRIES = st.builds(
    Entry,
    sequence=st.just(0),
    decision_id=st.text(min_size=1),
    click_id=st.text(min_size=1),
    time=st.integers(-(2**63), 2**63 - 1),
    decided_at=st.integers(-(2**63), 2**63 - 1),
    verdict=st.sampled_from(["valid", "unmeasurable"]),
    reasons=st.lists(st.text()).map(tuple),
    lists=st.lists(st.text()).map(tuple),
    score=FLOATS,
    threshold=FLOATS,
    slice=st.text(),
    bundle=st.text(),
    cause=st.text(),
    context=st.text(),
    enforced=st.sampled_from([0, 1]),
    click_key=st.integers(-(2**63), 2**63 - 1),
    logged_in=st.sampled_from([-1, 0, 1]),
    keys=st.binary(),
    row=st.binary(),
    campaign=st.none() | st.text(),
    advertiser=st.none() | st.text(),
    cost=st.none() | st.integers(0, 2**63 - 1),
    currency=st.none() | st.text(),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(ENTRIES, max_size=5))
def test_what_is_appended_is_read_back_exactly(drawn: list[Entry], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any entries come back equal, in order, whichever way they are read."""
    entries = [found._replace(sequence=place) for place, found in enumerate(drawn)]
    with Journal(tmp_path_factory.mktemp("journal") / "j.sqlite") as journal:
        journal.append(entries)
        assert [found for chunk in journal.entries() for found in chunk] == entries
        assert journal.find(range(len(entries))) == {found.sequence: found for found in entries}
        assert journal.last_sequence == len(entries) - 1
        for found in entries:
            assert found in journal.history(found.click_id)


def test_a_journal_keeps_what_it_holds_when_opened_again(tmp_path: Path) -> None:
    """Identity, entries and bundles survive a close."""
    with Journal(tmp_path / "new" / "j.sqlite") as journal:
        assert journal.declare(CONTEXT) == journal.declare(CONTEXT) == CONTEXT.id
        journal.append([entry(7), entry(8)])
        identity = journal.id
    with Journal(tmp_path / "new" / "j.sqlite") as journal:
        assert journal.id == identity
        assert journal.context(CONTEXT.id) == CONTEXT
        assert [found.sequence for found in next(journal.entries(after=7))] == [8]


def test_reads_come_in_chunks(tmp_path: Path) -> None:
    """A long journal is read in chunks that together hold every entry once, in order."""
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(place) for place in range(CHUNK + 5)])
        chunks = list(journal.entries())
        assert [len(chunk) for chunk in chunks] == [CHUNK, 5]
        assert [found.sequence for chunk in chunks for found in chunk] == list(range(CHUNK + 5))
        assert len(journal.find(range(0, CHUNK, 7))) == len(range(0, CHUNK, 7))


def test_the_history_of_a_click_is_found(tmp_path: Path) -> None:
    """A click decided twice has both decisions, oldest first, an unknown one none."""
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(0, "twice"), entry(1, "once"), entry(2, "twice")])
        assert [found.sequence for found in journal.history("twice")] == [0, 2]
        assert journal.history("never") == []
        assert journal.find([5]) == {}


def test_a_group_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """When one entry of a group cannot be written, none is, and the journal takes the next group."""
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(0)])
        with pytest.raises(JournalError, match="does not belong to this journal"):
            journal.append([entry(1), entry(0)])
        assert journal.last_sequence == 0
        journal.append([entry(1)])
        assert journal.last_sequence == 1


def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    """Asking what the bytes of an unknown context mean is an error that names it."""
    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(JournalError, match="no entries of context 'c9'"):
        journal.context("c9")


def test_an_empty_journal_has_no_last_sequence(tmp_path: Path) -> None:
    """Without entries the last sequence is -1, so that reading after it reads all."""
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.last_sequence == -1
        assert list(journal.entries()) == []


def test_a_second_service_is_refused(tmp_path: Path) -> None:
    """Two services cannot write one journal; a reader beside the writer sees what was committed."""
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(0)])
        with pytest.raises(JournalError, match="in use by another service"):
            Journal(tmp_path / "j.sqlite")
        with Journal(tmp_path / "j.sqlite", write=False) as reader:
            assert reader.last_sequence == 0
            with pytest.raises(JournalError, match="read-only"):
                reader.append([entry(1)])
    Journal(tmp_path / "j.sqlite").close()


def test_a_locked_journal_says_who_to_stop(tmp_path: Path) -> None:
    """While another process holds the write lock, nothing is written and the message says what to do."""
    with Journal(tmp_path / "j.sqlite") as journal:
        other = sqlite3.connect(tmp_path / "j.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"j\.sqlite: another process is writing to it"):
            journal.append([entry(0)])
        other.execute("ROLLBACK")
        other.close()
        journal.append([entry(0)])
        assert journal.last_sequence == 0


def test_a_full_disk_is_named_and_survived(tmp_path: Path) -> None:
    """A group that does not fit on the disk is not written, and the journal works once there is room."""
    with Journal(tmp_path / "j.sqlite") as journal:
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(JournalError, match="disk is full"):
            journal.append([entry(place) for place in range(1000)])
        journal._connection.execute("PRAGMA max_page_count=1000000")
        assert journal.last_sequence == -1
        journal.append([entry(0)])


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    """Neither text, nor another program's database, nor a newer schema, nor a missing file passes for a journal."""
    (tmp_path / "text").write_bytes(b"this is not a database, however long it is" * 100)
    with pytest.raises(JournalError, match="not a SQLite database"):
        Journal(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE things (name TEXT)")
    other.close()
    with pytest.raises(JournalError, match="no journal of slidr"):
        Journal(tmp_path / "other")
    Journal(tmp_path / "newer").close()
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version=4")
    newer.close()
    with pytest.raises(JournalError, match="has schema 4; this slidr reads up to 3"):
        Journal(tmp_path / "newer")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "missing", write=False)
    with pytest.raises(JournalError, match="lock file cannot be made"):
        Journal(tmp_path / "text" / "j.sqlite")


def test_a_refused_journal_is_not_left_locked(tmp_path: Path) -> None:
    """After a failed start the same path can be opened once the fault is mended."""
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(JournalError):
        Journal(path)
    path.unlink()
    Journal(path).close()


def test_a_checkpoint_empties_the_log_for_the_next_group(tmp_path: Path) -> None:
    """After a whole checkpoint the write-ahead log is written from its start again, and nothing is lost."""
    with Journal(tmp_path / "j.sqlite", durability="power") as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        journal.append([entry(place) for place in range(5000)])
        assert journal.waiting == 5000
        journal.checkpoint(move_log)
        assert journal.waiting == 0
        length = journal.log_bytes
        assert length > 500_000
        assert (tmp_path / "j.sqlite").stat().st_size > 500_000
        journal.append([entry(5000)])
        assert (journal.waiting, journal.last_sequence) == (1, 5000)
        journal.checkpoint()
        assert journal.log_bytes < length / 100
    with Journal(tmp_path / "j.sqlite") as journal:
        assert sum(map(len, journal.entries())) == 5001


def shadow(sequence: int, row: bytes | None = None) -> Shadow:
    """Return what a challenger would have decided of a click."""
    return Shadow(sequence, "c2", "b2", "valid", ("model",) if sequence else (), 0.5, None, "all", row)


def test_shadows_stand_with_their_entries(tmp_path: Path) -> None:
    """They are written in the same transaction, all or none, and come back as they were."""
    shadows = [shadow(0), shadow(2, b"row")]
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append([entry(place) for place in range(3)], shadows)
        assert journal.shadows(range(5)) == {0: shadows[0], 2: shadows[1]}
        with pytest.raises(JournalError, match="an entry with this sequence is there already"):
            journal.append([entry(3), entry(4)], [shadow(3), shadow(2)])
        assert journal.last_sequence == 2
        assert journal.shadows([3]) == {}


def test_purchases_are_written_once(tmp_path: Path) -> None:
    """A purchase_id that comes again, in its group or later, is not new; they are read on from any number."""
    bought = [Purchase(f"p{place}", place, -place, None, 5, "EUR", 9) for place in range(4)]
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.report([bought[0], bought[1], bought[0]._replace(value=6)]) == [True, True, False]
        assert journal.report([]) == []
        assert journal.waiting == 2
        assert journal.report([bought[1], *bought[2:]]) == [False, True, True]
        read = [pair for chunk in journal.purchases() for pair in chunk]
        assert [purchase for _, purchase in read] == bought
        assert [purchase for chunk in journal.purchases(read[1][0]) for _, purchase in chunk] == bought[2:]
        assert list(journal.purchases(read[-1][0])) == []


def test_clicks_that_were_not_folded_stand_apart(tmp_path: Path) -> None:
    """Their sequences are below zero and never in the fold; they are found by time, and numbered on after a restart."""
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        assert (journal.next_unfolded, journal.last_sequence) == (-1, -1)
        journal.append([entry(7), *(entry(at)._replace(sequence=-at, decided_at=at) for at in (1, 2, 3))])
    with Journal(path) as journal:
        assert (journal.next_unfolded, journal.last_sequence) == (-4, 7)
        assert [one.sequence for chunk in journal.entries() for one in chunk] == [7]
        assert [one.sequence for one in journal.unfolded(2)] == [-2, -3]
        assert [one.sequence for one in journal.history("click-2")] == [-2]


def test_a_journal_of_the_first_schema_is_brought_up(tmp_path: Path) -> None:
    """The file that the service of schema 1 left is read as if it had been written by this one, and goes on."""
    path = tmp_path / "j.sqlite"
    old = sqlite3.connect(path)
    old.executescript(FIRST_SCHEMA)
    kept = [field for field in Entry._fields if field not in ("context", "enforced")]
    for number in range(6):
        fields = entry(number)._replace(bundle=f"b{number % 2}")._asdict()
        fields |= {"reasons": json.dumps(fields["reasons"]), "lists": json.dumps(fields["lists"])}
        old.execute(
            f"INSERT INTO decisions ({', '.join(kept)}) VALUES ({', '.join('?' for _ in kept)})",  # noqa: S608 our own
            [fields[name] for name in kept],
        )
    old.commit()
    old.close()
    with pytest.raises(JournalError, match="has schema 1; start the service on it once, which brings it to 3"):
        Journal(path, write=False)
    contexts = {name: Context(name, (("user",), ("ip",)), ("f", "g")) for name in ("b0", "b1")}
    for _ in range(2):
        with Journal(path) as journal:
            assert journal.id == "0123456789ab"
            assert journal.secrets() == [(0, ("fingerprint",))]
            (found,) = journal.entries()
            assert [one._replace(context="", bundle="b1") for one in found[:6]] == [
                entry(number)._replace(context="") for number in range(6)
            ]
            for one in found[:6]:
                assert journal.context(one.context) == contexts[one.bundle]
            journal.append([entry(journal.last_sequence + 1)], [shadow(journal.last_sequence + 1)])
    with Journal(path, write=False) as journal:
        assert journal.last_sequence == 7
        assert set(journal.shadows(range(9))) == {6, 7}
