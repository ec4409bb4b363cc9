"""Reading: the decisions and purchases that a journal got since the last look, beside the service that writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from slidr.journal import CHUNK, Journal
from slidr.journal.file import open_file, prepare, reported
from slidr.journal.records import Context, Purchase

_COLUMNS = (
    "click_id, time, decided_at, verdict, reasons, score, slice, bundle, context, click_key, keys, sequence, cause"
)
_PART = 5 * CHUNK
"""Decisions that are held in memory at once."""
_IN_ORDER = (
    f"SELECT sequence, {_COLUMNS} FROM decisions WHERE sequence > ? AND sequence >= 0 AND sequence NOT IN"  # noqa: S608 our own names
    f" (SELECT sequence FROM apart) ORDER BY sequence LIMIT {_PART}"
)
_APART = (
    f"SELECT number, {_COLUMNS} FROM apart JOIN decisions USING (sequence) WHERE number > ?"  # noqa: S608 our own names
    f" ORDER BY number LIMIT {_PART}"
)


class Cursor(NamedTuple):
    """Up to where a journal has been read.

    A journal appends clicks in the order of their sequences, and numbers those apart that come out of it: clicks that
    were not folded, and those that another process folded.

    Attributes:
        after: greatest sequence read of those in order.
        apart: number of the last one read of those apart.
        purchase: number of the last purchase read.
    """

    after: int = -1
    apart: int = 0
    purchase: int = 0


class Part(NamedTuple):
    """Some decisions of a journal, a column each, and the cursor behind them.

    Attributes:
        columns: of `_COLUMNS` but the cause, without the decisions whose cause is not `live`.
        read: how many entries were read, those without an own decision too.
        cursor: where the next part begins.
    """

    columns: tuple[tuple[Any, ...], ...]
    read: int
    cursor: Cursor


class Reader:
    """A journal, open to be read beside the service that writes it; see `reading`.

    Args:
        path: of the journal.

    Attributes:
        id: the journal's; another journal at the same path has another one.

    Raises:
        JournalError: it is no journal, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reported(path):
            self._connection = open_file(path, "process", write=False)
        try:
            with reported(path):
                self.id = prepare(self._connection, path, write=False)
        except BaseException:
            self._connection.close()
            raise
        self._journal: Journal | None = None

    def parts(self, cursor: Cursor) -> Iterator[Part]:
        """Yield what was decided since the cursor; an entry that tells a click's place afterwards is no decision.

        Raises:
            JournalError: the journal cannot be read.
        """
        while rows := self._rows(_IN_ORDER, cursor.after):
            cursor = cursor._replace(after=rows[-1][0])
            yield _part(rows, cursor)
        while rows := self._rows(_APART, cursor.apart):
            cursor = cursor._replace(apart=rows[-1][0])
            yield _part(rows, cursor)

    def _rows(self, statement: str, bound: int) -> list[tuple[Any, ...]]:
        with reported(self.path):
            return self._connection.execute(statement, (bound,)).fetchall()

    def purchases(self, cursor: Cursor) -> Iterator[list[tuple[int, Purchase]]]:
        """Yield the purchases that were reported since the cursor, each behind its number.

        Raises:
            JournalError: the journal cannot be read.
        """
        return self._opened().purchases(cursor.purchase)

    def context(self, name: str) -> Context:
        """Return what entries have in common that name this context.

        Raises:
            JournalError: it was never declared, or the journal cannot be read.
        """
        return self._opened().context(name)

    def _opened(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self.path, write=False)
        return self._journal

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        if self._journal is not None:
            self._journal.close()


def _part(rows: list[tuple[Any, ...]], cursor: Cursor) -> Part:
    read = len(rows)
    if any(row[-1] != "live" for row in rows):
        rows = [row for row in rows if row[-1] == "live"]
    columns = tuple(zip(*rows, strict=True))[1:-1] if rows else ()
    return Part(columns, read, cursor)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Open a journal to read what is new in it.

    Raises:
        JournalError: it is no journal, or cannot be read.
    """
    reader = Reader(path)
    try:
        yield reader
    finally:
        reader.close()
