"""Journals of processes that share a store, read as one: their entries in the order of the fold."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

from slidr.errors import JournalError
from slidr.journal import CHUNK, Context, Entry, Journal

Kept = tuple[Entry, Journal]
"""An entry, and the journal that holds it."""


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

    def kept(self, after: int = -1) -> Iterator[list[Kept]]:
        """Yield the entries whose sequence is greater than `after`, each with its journal, in order, in chunks.

        Raises:
            JournalError: a journal cannot be read.
        """
        merged = heapq.merge(
            *(_entries(journal, after) for journal in self.journals), key=lambda pair: pair[0].sequence
        )
        while chunk := list(islice(merged, CHUNK)):
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
