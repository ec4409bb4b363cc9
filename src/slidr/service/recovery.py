"""Recovery: the state of a service is its last snapshot and, folded again on top, the tail of its journal.

The journal is the truth. A snapshot that does not belong to it is refused, for rows computed over another state would
look right and be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from slidr.errors import ServiceError
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal


def recover(store: EmbeddedStore, journal: Journal, snapshot: Path, *, fingerprint: str) -> int:
    """Bring a fresh store to where the journal ends and return how many clicks were folded again.

    Args:
        store: the store, without any click.
        journal: the journal of the service.
        snapshot: the file of the last snapshot; none is fine where the journal starts at the beginning.
        fingerprint: of the secret key.

    Raises:
        FeatureError: the snapshot cannot be read.
        JournalError: the journal cannot be read.
        ServiceError: snapshot and journal do not belong together.
    """
    if snapshot.exists():
        store.restore(snapshot, fingerprint=fingerprint)
        _refuse_stranger(store, journal, snapshot)
    folded = 0
    for entries in journal.entries(after=store.sequence - 1):
        if entries[0].sequence != store.sequence:
            raise ServiceError(
                f"the journal {journal.path} goes on at click {entries[0].sequence}, the state of {snapshot} ends"
                f" before click {store.sequence}: the snapshot is missing or too old; bring it back, or"
                f" {_start_over(journal, snapshot)}"
            )
        for _, group in groupby(entries, lambda entry: entry.bundle):
            _refold(store, list(group), journal, snapshot)
        folded += len(entries)
    return folded


def _refold(store: EmbeddedStore, entries: Sequence[Entry], journal: Journal, snapshot: Path) -> None:
    again = store.fold(_batch(entries, store.layout, journal, snapshot))
    expected = np.fromiter((entry.sequence for entry in entries), np.int64, len(entries))
    differs = (again.sequences != expected) | again.repeats
    if differs.any():
        at = int(np.argmax(differs))
        raise ServiceError(
            f"click {expected[at]} of the journal {journal.path} folds as click {again.sequences[at]}: the state does"
            f" not belong to this journal; bring back the snapshot that does, or {_start_over(journal, snapshot)}"
        )


def _batch(entries: Sequence[Entry], layout: Layout, journal: Journal, snapshot: Path) -> ClickBatch:
    """Return journalled clicks of one bundle as the fold takes them."""
    names = journal.bundle(entries[0].bundle)
    known = {entity: row for row, entity in enumerate(names.keys)}
    missing = [entity for entity in layout.keys if entity not in known]
    if missing:
        counted = ", ".join("+".join(entity) for entity in missing)
        raise ServiceError(
            f"the journal's clicks of bundle {entries[0].bundle} have no key of {counted}, which the bundle to serve"
            f" counts by; {_start_over(journal, snapshot)}"
        )
    matrix = np.frombuffer(b"".join(entry.keys for entry in entries), "<u8").reshape(len(entries), len(names.keys))
    wanted = [known[entity] for entity in layout.keys]
    columns = zip(*((entry.click_key, entry.time, entry.logged_in) for entry in entries), strict=True)
    ids, times, logged_in = (np.array(column, np.int64) for column in columns)
    keys = np.ascontiguousarray(matrix[:, wanted].T.astype(np.uint64))
    return ClickBatch(ids.view(np.uint64), times, logged_in.astype(np.int8), keys)


def _refuse_stranger(store: EmbeddedStore, journal: Journal, snapshot: Path) -> None:
    """Refuse a snapshot whose last click is another than the journal's of the same sequence."""
    last = journal.find([store.sequence - 1]).get(store.sequence - 1)
    if last is not None and store.recent.find(last.click_key) != last.sequence:
        raise ServiceError(
            f"the snapshot {snapshot} ends with click {last.sequence}, which is another click in the journal"
            f" {journal.path}: they do not belong together; bring back the snapshot that does,"
            f" or {_start_over(journal, snapshot)}"
        )


def _start_over(journal: Journal, snapshot: Path) -> str:
    """Return the way out that always works: a service without state and journal begins with the last backfill."""
    return (
        f"run `slidr backfill`, then move {snapshot} (storage.state) and {journal.path} (storage.journal) away"
        " together, so that the service starts from the new seed"
    )
