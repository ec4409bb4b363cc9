"""Journals of processes that share a store, read as one: their entries in the order of the fold."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from glob import escape
from itertools import islice, takewhile
from pathlib import Path

from slidr.errors import JournalError
from slidr.journal import CHUNK, Context, Entry, Journal

Kept = tuple[Entry, Journal]
"""An entry, and the journal that holds it."""


def worker_journal(path: Path, number: int) -> Path:
    """Return the journal of a worker, beside that of a service with one process.

    >>> print(worker_journal(Path("journal.sqlite"), 2))
    journal.2.sqlite
    """
    return path.with_suffix(f".{number}{path.suffix}")


def journals_at(path: Path) -> tuple[Path, ...]:
    """Return the journals that are there: of one process, and of workers that serve beside each other, or have."""
    numbered = {}
    for found in path.parent.glob(f"{escape(path.stem)}.*{escape(path.suffix)}"):
        number = found.name.removeprefix(f"{path.stem}.").removesuffix(path.suffix)
        if number.isdigit():
            numbered[int(number)] = found
    return (*((path,) if path.exists() else ()), *(numbered[number] for number in sorted(numbered)))


class Journals:
    """Journals whose sequences are of one fold.

    Args:
        journals: at least one, open to be read.

    Attributes:
        journals: the same.

    Raises:
        JournalError: two of them are the same one.
    """

    def __init__(self, journals: Sequence[Journal]) -> None:
        self.journals = tuple(journals)
        known: dict[str, Journal] = {}
        for journal in journals:
            if (first := known.setdefault(journal.id, journal)) is not journal:
                raise JournalError(f"{first.path} and {journal.path} are the same journal; name it once")

    @property
    def paths(self) -> str:
        """The files, for a message."""
        return ", ".join(str(journal.path) for journal in self.journals)

    @property
    def last_sequence(self) -> int:
        """The greatest sequence, or -1 where there are no entries."""
        return max(journal.last_sequence for journal in self.journals)

    def kept(self, after: int = -1, before: int | None = None) -> Iterator[list[Kept]]:
        """Yield the entries whose sequence is greater than `after`, each with its journal, in order, in chunks.

        A click that came to two processes in the same moment may have been decided by both: it is one click of the
        fold, and the first journal's entry stands for it.

        Args:
            after: a sequence.
            before: the first entry that was decided then or later ends it, microseconds UTC; None: all.

        Raises:
            JournalError: a journal cannot be read.
        """
        merged = heapq.merge(
            *(_entries(journal, after) for journal in self.journals), key=lambda pair: pair[0].sequence
        )
        once = _once(merged)
        if before is not None:
            once = takewhile(lambda pair: pair[0].decided_at < before, once)
        while chunk := list(islice(once, CHUNK)):
            yield chunk

    def find(self, sequence: int) -> Kept | None:
        """Return the entry of a sequence, or None.

        Raises:
            JournalError: a journal cannot be read.
        """
        for journal in self.journals:
            if (found := journal.find([sequence]).get(sequence)) is not None:
                return found, journal
        return None

    def context(self, name: str) -> Context:
        """Return what the entries that name a context have in common.

        Raises:
            JournalError: no journal has entries of it.
        """
        for journal in self.journals[:-1]:
            try:
                return journal.context(name)
            except JournalError:
                continue
        return self.journals[-1].context(name)


def _entries(journal: Journal, after: int) -> Iterator[Kept]:
    for chunk in journal.entries(after):
        for entry in chunk:
            yield entry, journal


def _once(merged: Iterable[Kept]) -> Iterator[Kept]:
    """Leave out entries of a click that another process has decided too."""
    before: Entry | None = None
    for entry, journal in merged:
        twin = before is not None and (before.sequence, before.click_key) == (entry.sequence, entry.click_key)
        if not (twin and before is not None and before.decision_id != entry.decision_id):
            yield entry, journal
            before = entry
