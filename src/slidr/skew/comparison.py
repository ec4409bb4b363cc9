"""Comparison: journalled rows beside those of a reference, bit by bit, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice, takewhile

import numpy as np
from numpy.typing import NDArray

from slidr.features.keys import Pseudonymiser
from slidr.features.recent import RecentClicks
from slidr.journal import Entry, Journal
from slidr.journals import Journals
from slidr.skew.reference import Reference, keys_of, times_of
from slidr.skew.tally import Skew, Tally

_CHUNK = 32_768
"""Clicks compared at once."""
_BEFORE_ALL = -(1 << 63)


def compare(
    journals: Sequence[Journal],
    reference: Reference,
    pseudonymiser: Pseudonymiser,
    span: tuple[int | None, int | None] = (None, None),
    *,
    examples: int = 3,
    progress: Callable[[int], None] | None = None,
) -> Skew:
    """Compare the rows of journals with those of a reference, bit by bit; memory is that of a chunk of clicks.

    Args:
        journals: open to be read; several share one order of sequences, as processes do that share a store.
        reference: what the rows should be.
        pseudonymiser: has the secret key of the settings.
        span: compare clicks with start <= time < end, microseconds UTC; None for no bound.
        examples: worst clicks to keep for each feature.
        progress: called with the number of entries after each chunk.

    Raises:
        JournalError: a journal cannot be read, or holds no click of the span and of this secret key.
        FeatureError: no feature stands on both sides, or the clicks cannot be folded again.
    """
    tally = Tally(reference.names, examples)
    recent = RecentClicks()
    read = Journals(journals)
    for entries in _merged(read):
        for (context, _), group in groupby(entries, lambda entry: (entry.context, len(entry.keys))):
            part, names = list(group), read.context(context)
            wanted, ids = _within(part, span), pseudonymiser.texts([entry.click_id for entry in part])
            ours = keys_of(part).view(np.uint64) == ids
            known, expected = reference.rows(part, wanted, ids, names)
            tally.sort_out(part, wanted, ours, _repeats(recent, part))
            tally.add(part, known, expected, names)
        if progress is not None:
            progress(len(entries))
    return tally.result(reference.others())


def _merged(journals: Journals) -> Iterator[list[Entry]]:
    """Yield the entries of all journals in the order of their sequences, up to the last one there is now."""
    last = journals.last_sequence
    entries = (entry for chunk in journals.kept(_BEFORE_ALL) for entry, _ in chunk)
    merged = takewhile(lambda entry: entry.sequence <= last, entries)
    while chunk := list(islice(merged, _CHUNK)):
        yield chunk


def _within(entries: Sequence[Entry], span: tuple[int | None, int | None]) -> NDArray[np.bool_]:
    times = times_of(entries)
    start, end = span
    within: NDArray[np.bool_] = np.ones(len(entries), np.bool_)
    if start is not None:
        within &= times >= start
    if end is not None:
        within &= times < end
    return within


def _repeats(recent: RecentClicks, entries: Sequence[Entry]) -> NDArray[np.bool_]:
    """Return which entries are of a click that has an entry already, as after a failover that lost its click_id."""
    return recent.number(keys_of(entries).view(np.uint64), times_of(entries))[1]
