"""The journal: every decision of one service process, written before it is answered.

One SQLite file in WAL mode. A group of decisions is one transaction, so a decision is either there with its row,
its keys and its place in the fold, or was never acknowledged. With `durability="process"` (synchronous=NORMAL) an
acknowledged decision survives a kill of the process at any moment, and a power cut may lose the last moments; with
`"power"` (synchronous=FULL) it survives that too, at five times the cost of a commit.

Only the primary key is indexed. An index by click_id would land on a random page for every click: measured, it
tripled the cost of a group of eight decisions and quintupled that of 64.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from slidr.errors import JournalError
from slidr.journal.erasing import erase
from slidr.journal.file import APPLICATION, SCHEMA, lock, move_log, open_file, prepare, reported
from slidr.journal.records import Context, Entry, Purchase, Shadow, codes, decode_context, words
from slidr.journal.shortening import Shipped, shorten, shorten_purchases, shortened, shortened_purchases

__all__ = ["APPLICATION", "CHUNK", "SCHEMA", "Context", "Entry", "Journal", "Purchase", "Shadow", "Shipped"]

CHUNK = 10_000
"""Entries that a read holds in memory at once."""
_LOOKUPS = 500


def _insert(table: str, kind: type[NamedTuple], how: str = "INSERT") -> str:
    names, marks = ", ".join(kind._fields), ", ".join("?" for _ in kind._fields)
    return f"{how} INTO {table} ({names}) VALUES ({marks})"


_INSERT, _INSERT_SHADOW = _insert("decisions", Entry), _insert("shadows", Shadow)
_INSERT_PURCHASE = _insert("purchases", Purchase, "INSERT OR IGNORE")
_SELECT = f"SELECT {', '.join(Entry._fields)} FROM decisions"  # noqa: S608 our own names
_SELECT_SHADOW = f"SELECT {', '.join(Shadow._fields)} FROM shadows"  # noqa: S608 our own names


class Journal:
    """Append-only record of decisions, in order of their sequence.

    Args:
        path: the SQLite file; made where missing, unless `write` is False.
        durability: what an acknowledged entry survives: the end of the "process", or of the "power" too.
        write: False opens an existing journal to read, beside the service that writes it.

    Attributes:
        path: the file.
        id: identifies the journal; decision ids begin with it.
        waiting: entries appended since the last checkpoint began.
        log_bytes: what the write-ahead log held at the last checkpoint; it grows until a commit follows one that had
            nothing left to move.

    Raises:
        JournalError: the file is in use by another service, cannot be written, is no journal, or has a newer schema.
    """

    def __init__(self, path: Path, *, durability: Literal["process", "power"] = "process", write: bool = True) -> None:
        self.path = path
        self.waiting = 0
        self.log_bytes = 0
        self._lock: int | None = lock(path) if write else None
        try:
            with reported(path):
                self._connection = open_file(path, durability, write=write)
        except JournalError:
            self._unlock()
            raise
        try:
            with reported(path):
                self.id = prepare(self._connection, path, write=write)
            self._newest = self.last_sequence
        except JournalError:
            self.close()
            raise

    def append(self, entries: Sequence[Entry], shadows: Sequence[Shadow] = ()) -> None:
        """Write entries, and what a challenger would have decided of them, in one transaction: all of them, or none.

        Raises:
            JournalError: they cannot be written, for a reason that the message names.
        """
        newest = self._newest
        if len(entries) == 1 and not shadows and entries[0].sequence > newest:
            # A statement of its own is a transaction, and half the calls.
            with reported(self.path):
                self._connection.execute(_INSERT, _stored(entries[0]))
            self._newest = entries[0].sequence
        else:
            sequences = [entry.sequence for entry in entries]
            with self._transaction():
                self._connection.executemany(_INSERT, [_stored(entry) for entry in entries])
                if sequences and min(sequences) <= newest:
                    apart = [(sequence,) for sequence in sequences if sequence <= newest]
                    self._connection.executemany("INSERT INTO apart (sequence) VALUES (?)", apart)
                if shadows:
                    stored = [(*shadow[:4], words(shadow.reasons), *shadow[5:]) for shadow in shadows]
                    self._connection.executemany(_INSERT_SHADOW, stored)
            self._newest = max([newest, *sequences])
        self.waiting += len(entries)

    def report(self, purchases: Sequence[Purchase]) -> list[bool]:
        """Write purchases in one transaction; returns which of them are new, for one is written once.

        Raises:
            JournalError: they cannot be written, for a reason that the message names.
        """
        with self._transaction():
            new = [self._connection.execute(_INSERT_PURCHASE, purchase).rowcount > 0 for purchase in purchases]
        self.waiting += sum(new)
        return new

    def purchases(self, after: int = 0) -> Iterator[list[tuple[int, Purchase]]]:
        """Yield the purchases whose number is greater than `after`, each behind its number, in order, in chunks.

        Raises:
            JournalError: the journal cannot be read.
        """
        select = f"SELECT number, {', '.join(Purchase._fields)} FROM purchases WHERE number > ?"  # noqa: S608 our own names
        while True:
            with reported(self.path):
                found = self._connection.execute(f"{select} ORDER BY number LIMIT {CHUNK}", (after,)).fetchall()
            if not found:
                return
            yield [(number, Purchase._make(rest)) for number, *rest in found]
            after = found[-1][0]

    def declare(self, context: Context) -> str:
        """Write down what entries have in common, and return what they name it by; once is enough, twice is no harm.

        Raises:
            JournalError: it cannot be written.
        """
        with reported(self.path):
            self._connection.execute("INSERT OR IGNORE INTO contexts VALUES (?, ?)", (context.id, context.encoded()))
        return context.id

    def context(self, name: str) -> Context:
        """Return what the entries that name it have in common.

        Raises:
            JournalError: it was never declared here.
        """
        with reported(self.path):
            found = self._connection.execute("SELECT document FROM contexts WHERE context = ?", (name,)).fetchone()
        if found is None:
            raise JournalError(f"{self.path} has no entries of context {name!r}")
        return decode_context(found[0])

    def secrets(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return from which sequences on the entries' keys are hashed with which secret keys, by their fingerprints.

        Raises:
            JournalError: the journal cannot be read.
        """
        with reported(self.path):
            found = self._connection.execute("SELECT value FROM meta WHERE key = 'secrets'").fetchone()
        return [(first, tuple(names)) for first, names in json.loads(found[0])] if found else []

    def declare_secrets(self, fingerprints: tuple[str, ...]) -> None:
        """Write down which secret keys hash the entries from the next one on; does nothing where they do so already.

        Raises:
            JournalError: it cannot be written.
        """
        known, following = self.secrets(), self.last_sequence + 1
        if known and known[-1][1] == fingerprints:
            return
        written = json.dumps([*(entry for entry in known if entry[0] < following), (following, fingerprints)])
        with reported(self.path):
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('secrets', ?)", (written,))

    def entries(self, after: int = -1) -> Iterator[list[Entry]]:
        """Yield the entries whose sequence is greater than `after`, in order, in chunks; none that was not folded.

        Raises:
            JournalError: the journal cannot be read.
        """
        while chunk := self._read(f"{_SELECT} WHERE sequence > ? ORDER BY sequence LIMIT {CHUNK}", (after,)):
            yield chunk
            after = chunk[-1].sequence

    def in_order(self, after: int, most: int) -> list[Entry]:
        """Return the first entries that were appended in the order of their sequences, behind `after`.

        With those `apart` they are all; what is appended later to either is behind what was there before.

        Raises:
            JournalError: the journal cannot be read.
        """
        which = "sequence > ? AND sequence >= 0 AND sequence NOT IN (SELECT sequence FROM apart)"
        return self._read(f"{_SELECT} WHERE {which} ORDER BY sequence LIMIT ?", (after, most))

    def apart(self, after: int, most: int) -> list[tuple[int, Entry]]:
        """Return the first entries, each behind its number, that were appended out of order under a number > `after`.

        Raises:
            JournalError: the journal cannot be read.
        """
        with reported(self.path):
            found = self._connection.execute(
                f"SELECT number, {', '.join(Entry._fields)} FROM apart JOIN decisions USING (sequence)"  # noqa: S608 our own names
                " WHERE number > ? ORDER BY number LIMIT ?",
                (after, most),
            )
            return [(number, _loaded(tuple(stored))) for number, *stored in found]

    def shorten(self, shipped: Shipped, *, held: int, before: int, most: int, collected: int = 0) -> int:
        """Remove old entries that are in the lake and in a snapshot, and old purchases, at once; returns how many.

        The pages that become free are used again, so the file stops growing. What was removed is remembered: sequences
        below zero are not given out again.

        Args:
            shipped: up to where the lake has the entries.
            held: clicks that a snapshot holds; the last of them stays, since it tells that both belong together.
            before: entries decided and purchases reported from then on stay, microseconds UTC.
            most: of them to remove at once.
            collected: number up to which purchases are in the lake.

        Raises:
            JournalError: the journal cannot be written.
        """
        with self._transaction():
            removed = shorten(self._connection, shipped, min(held - 2, self._newest - 1), before, most) if held else 0
            return removed + shorten_purchases(self._connection, collected, before, most - removed)

    def erase(self, hashes: AbstractSet[int]) -> tuple[int, int]:
        """Forget an account, and overwrite what the file held of it; see `erasing.erase`.

        Raises:
            JournalError: the journal cannot be written.
        """
        with reported(self.path):
            self._connection.execute("PRAGMA secure_delete = ON")
        with self._transaction():
            found = erase(self._connection, hashes)
        with reported(self.path):
            if any(found):
                # What was changed lies in the log too, and in pages that are free.
                self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return found

    @property
    def shortened(self) -> Shipped:
        """Up to where entries were removed."""
        with reported(self.path):
            return shortened(self._connection).upto

    @property
    def shortened_purchases(self) -> int:
        """Up to which number purchases were removed."""
        with reported(self.path):
            return shortened_purchases(self._connection)

    def unfolded(self, since: int) -> list[Entry]:
        """Return the entries of clicks that were not folded and decided from a time on, oldest first.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._read(f"{_SELECT} WHERE sequence < 0 AND decided_at >= ? ORDER BY sequence DESC", (since,))

    def find(self, sequences: Iterable[int]) -> dict[int, Entry]:
        """Return the entries with these sequences; those that are not there are left out.

        Raises:
            JournalError: the journal cannot be read.
        """
        wanted, found = list(sequences), {}
        for start in range(0, len(wanted), _LOOKUPS):
            part = wanted[start : start + _LOOKUPS]
            marks = ", ".join("?" for _ in part)
            found.update(
                {entry.sequence: entry for entry in self._read(f"{_SELECT} WHERE sequence IN ({marks})", part)}
            )
        return found

    def history(self, click_id: str) -> list[Entry]:
        """Return all entries of a click, oldest first; reads the whole journal, for click_id is not indexed.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._read(f"{_SELECT} WHERE click_id = ? ORDER BY decided_at, sequence", (click_id,))

    def shadows(self, sequences: Iterable[int]) -> dict[int, Shadow]:
        """Return what a challenger would have decided of the entries with these sequences, where one was asked.

        Raises:
            JournalError: the journal cannot be read.
        """
        found = {}
        with reported(self.path):
            for sequence in sequences:
                for stored in self._connection.execute(f"{_SELECT_SHADOW} WHERE sequence = ?", (sequence,)):
                    found[sequence] = Shadow._make((*stored[:4], codes(stored[4]), *stored[5:]))
        return found

    def shadowed(self, first: int, last: int) -> set[int]:
        """Return the sequences between two, both included, that a challenger was asked for.

        Raises:
            JournalError: the journal cannot be read.
        """
        with reported(self.path):
            found = self._connection.execute(
                "SELECT sequence FROM shadows WHERE sequence BETWEEN ? AND ?", (first, last)
            )
            return {sequence for (sequence,) in found}

    @property
    def last_sequence(self) -> int:
        """The greatest sequence, or -1 where no click of an entry was folded."""
        with reported(self.path):
            last = self._value("SELECT max(sequence) FROM decisions")
        return -1 if last is None else max(int(last), -1)

    @property
    def last_purchase(self) -> int:
        """The number of the last purchase that was reported; 0 before the first."""
        with reported(self.path):
            return int(self._value("SELECT max(seq) FROM sqlite_sequence WHERE name = 'purchases'") or 0)

    @property
    def next_unfolded(self) -> int:
        """The sequence that the next click gets that was not folded; below zero."""
        with reported(self.path):
            first = self._value("SELECT min(sequence) FROM decisions")
            return min(int(first or 0), shortened(self._connection).lowest, 0) - 1

    def checkpoint(self, move: Callable[[Path], int] | None = None) -> None:
        """Move the write-ahead log into the database and sync both.

        Args:
            move: moves a journal's log and returns its bytes; it may be done elsewhere, and this called by another
                thread. None does it with the connection that appends, which is soonest done if there is little.

        Raises:
            JournalError: the disk is full or reports an error.
        """
        appended = self.waiting
        self.log_bytes = move_log(self.path, self._connection) if move is None else move(self.path)
        self.waiting -= appended

    def close(self) -> None:
        """Close the file; what was appended stays."""
        with suppress(sqlite3.Error):
            self._connection.close()
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _value(self, statement: str) -> Any:
        return self._connection.execute(statement).fetchone()[0]

    def _read(self, statement: str, values: Sequence[int | str]) -> list[Entry]:
        with reported(self.path):
            return [_loaded(stored) for stored in self._connection.execute(statement, values)]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with reported(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise


def _stored(entry: Entry) -> tuple[object, ...]:
    return (*entry[:6], words(entry.reasons), words(entry.lists), *entry[8:])


def _loaded(stored: tuple[Any, ...]) -> Entry:
    return Entry._make((*stored[:6], codes(stored[6]), codes(stored[7]), *stored[8:]))
