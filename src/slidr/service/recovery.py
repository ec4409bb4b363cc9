"""Recovery: the state of a service is its last snapshot and, folded again on top, the tail of its journal.

The journal is the truth. A snapshot that does not belong to it is refused, for rows computed over another state would
look right and be wrong. A block that the snapshot lacks, since it was written by another catalogue, is folded from the
beginning of the journal, as far as the entries hold its keys; behind those that do not, it is cold.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.errors import ServiceError
from slidr.features.catalogue import Entity
from slidr.features.clicks import ClickBatch
from slidr.features.layout import KEY_ROW, Block, counted_rows
from slidr.features.store import TERM, EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.journals import Journals

_SETTLED = 100
"""Entries whose newest time bounds the times of the clicks before them, which the journal does not hold."""
_RANGES = 10
"""Ranges of missing sequences that are named; the rest are counted."""


class Recovered(NamedTuple):
    """What a recovery from the journals of several processes found.

    Attributes:
        held: clicks that the snapshot held.
        folded: clicks of the journals folded on top.
        twice: entries of a click_id journalled within an hour before, which were not folded again.
        missing: sequences from the snapshot's end to the last entry that no journal holds.
        terms: how often a new term of sequences began; what was given out last before it is not known, nor missing.
        ranges: the first of the missing, each range by its first and last sequence.
    """

    held: int
    folded: int
    twice: int
    missing: int
    terms: int
    ranges: tuple[tuple[int, int], ...]


def recover(
    store: EmbeddedStore,
    journal: Journal,
    snapshot: Path,
    *,
    fingerprint: str,
    seed: Path | None = None,
    rotated: bool = False,
) -> int:
    """Bring a fresh store to where the journal ends and return how many clicks behind the snapshot were folded again.

    Args:
        store: the store, without any click.
        journal: the journal of the service.
        snapshot: the file of the last snapshot; none is fine where the journal starts at the beginning.
        fingerprint: of the secret key.
        seed: the state of a backfill; blocks that the snapshot lacks are taken from it where it stands at the same
            click.
        rotated: whether the secret key may have come into use after the journal began; the store then starts cold
            where its hashes begin.

    Raises:
        FeatureError: the snapshot cannot be read.
        JournalError: the journal cannot be read.
        ServiceError: snapshot and journal do not belong together.
    """
    recovery = _Recovery(store, Journals([journal]), snapshot, fingerprint, rotated=rotated)
    if snapshot.exists():
        recovery.restore(seed)
    return recovery.fold_journal()


def catch_up(store: EmbeddedStore, journal: Journal, snapshot: Path, *, fingerprint: str) -> int:
    """Fold what a journal holds behind the clicks that a store has folded, and return how many clicks that were.

    Raises:
        JournalError: the journal cannot be read.
        ServiceError: store and journal do not belong together.
    """
    recovery = _Recovery(store, Journals([journal]), snapshot, fingerprint, rotated=False)
    recovery.held = recovery.stand = store.sequence
    return recovery.fold_journal()


def recover_shared(
    store: EmbeddedStore,
    journals: Journals,
    snapshot: Path,
    *,
    fingerprint: str,
    seed: Path | None = None,
    before: int | None = None,
) -> Recovered:
    """Bring a fresh store to where the journals of processes that share a store end, and tell what they lack.

    Such journals are folded past a gap: each has the others' gaps, and a process that was killed may have added clicks
    that it did not journal. The caller judges what is missing.

    Args:
        store: the store, without any click.
        journals: of all processes that share a store.
        snapshot: see `recover`.
        fingerprint: of the secret key.
        seed: see `recover`.
        before: the first entry decided then or later ends what is folded, microseconds UTC; None: all is.

    Raises:
        FeatureError: the snapshot cannot be read.
        JournalError: a journal cannot be read.
        ServiceError: snapshot and journals do not belong together, or the journals not to one store.
    """
    recovery = _SharedRecovery(store, journals, snapshot, fingerprint, rotated=False)
    if snapshot.exists():
        recovery.restore(seed)
    folded = recovery.fold_journal(before)
    found = recovery.twice, recovery.missing, recovery.terms
    return Recovered(recovery.held, folded, *found, tuple(recovery.ranges))


class _Kind(NamedTuple):
    """What entries have in common that are folded as one.

    Attributes:
        context: what decided them.
        hashed: which part of their keys is of the secret key: 0 the first, 1 the second, None neither.
        size: bytes of their keys.
        tail: whether they come after the snapshot.
    """

    context: str
    hashed: int | None
    size: int
    tail: bool


class _Recovery:
    """A recovery on its way.

    Attributes:
        held: clicks that the snapshot holds.
        lacking: the blocks that it lacks, folded from the beginning of the journal.
        stand: the sequence up to which these are folded.
        newest: the newest time of the entries seen.
    """

    def __init__(
        self, store: EmbeddedStore, journals: Journals, snapshot: Path, fingerprint: str, *, rotated: bool
    ) -> None:
        self.store, self.journals, self.snapshot, self.fingerprint = store, journals, snapshot, fingerprint
        self.rotated = rotated
        self.held, self.stand, self.newest = 0, 0, 0
        self.lacking: frozenset[str] = frozenset()
        self._secrets = {journal: journal.secrets() for journal in journals.journals}

    def restore(self, seed: Path | None) -> None:
        """Take over the snapshot, and the seed's blocks where both hold the same clicks."""
        store = self.store
        lacking = store.restore(self.snapshot, fingerprint=self.fingerprint)
        self._refuse_stranger()
        if lacking and seed is not None and seed.exists():
            lacking -= store.borrow(seed, lacking, fingerprint=self.fingerprint)
        self.held, self.lacking = store.sequence, lacking
        store.forget(lacking, 0)

    def fold_journal(self, before: int | None = None) -> int:
        """Fold the entries that are due, and return how many of them the snapshot did not hold."""
        start = 0 if self.lacking else self.held
        folded = 0
        for kept in self.journals.kept(after=start - 1, before=before):
            for kind, run in groupby(kept, lambda pair: self._kind(*pair)):
                folded += self._fold(kind, [entry for entry, _ in run])
        if self.stand < self.held:
            self.store.forget(self.lacking, self.store.newest)
        return folded

    def _kind(self, entry: Entry, journal: Journal) -> _Kind:
        secrets = self._secrets[journal]
        epoch = bisect_right(secrets, entry.sequence, key=lambda known: known[0]) - 1
        if epoch < 0:
            hashed = None if self.rotated else 0
        else:
            fingerprints = secrets[epoch][1]
            hashed = fingerprints.index(self.fingerprint) if self.fingerprint in fingerprints else None
        return _Kind(entry.context, hashed, len(entry.keys), entry.sequence >= self.held)

    def _fold(self, kind: _Kind, entries: list[Entry]) -> int:
        store = self.store
        self._close_gap(kind, entries)
        batch, known = self._batch(kind, entries)
        self.newest = max(self.newest, int(batch.times.max()))
        due = [block for block in store.layout.blocks if kind.tail or block.key in self.lacking]
        seen = {block.key for block in due if known.issuperset(_columns(block, store.layout.keys))}
        if kind.tail and kind.hashed is None:
            store.recent.skip(entries[-1].sequence + 1, self.newest)
        elif kind.tail:
            batch = self._number(batch, entries)
        store.fold_again(batch, seen)
        blind = {block.key for block in due} - seen
        if blind:
            store.forget(blind, max(self.newest, store.newest))
        self.stand = entries[-1].sequence + 1
        return len(batch) if kind.tail else 0

    def _close_gap(self, kind: _Kind, entries: list[Entry]) -> None:
        """Refuse a gap before the tail, and let blocks start cold behind one that the snapshot covers."""
        store, first = self.store, entries[0].sequence
        if kind.tail and first != store.sequence:
            if not (self.rotated and store.sequence == 0):
                raise ServiceError(
                    f"the journal {self.journals.paths} goes on at click {first}, the state of {self.snapshot} ends"
                    f" before click {store.sequence}: the snapshot is missing or too old; bring it back, or"
                    f" {_start_over(self.journals, self.snapshot)}"
                )
            store.forget(tuple(store.since), _bound(entries))
            store.recent.skip(first, _bound(entries))
        if self.lacking and first != self.stand:
            store.forget(self.lacking, store.newest if kind.tail else max(self.newest, _bound(entries)))

    def _number(self, batch: ClickBatch, entries: Sequence[Entry]) -> ClickBatch:
        """Number clicks of the tail as they were numbered, and return those to fold."""
        sequences, repeats = self.store.recent.number(batch.ids, batch.times)
        expected = _sequences(entries)
        differs = (sequences != expected) | repeats
        if differs.any():
            at = int(np.argmax(differs))
            raise ServiceError(
                f"click {expected[at]} of the journal {self.journals.paths} folds as click {sequences[at]}: the state"
                " does not belong to this journal; bring back the snapshot that does, or"
                f" {_start_over(self.journals, self.snapshot)}"
            )
        return batch

    def _batch(self, kind: _Kind, entries: Sequence[Entry]) -> tuple[ClickBatch, frozenset[Entity]]:
        """Return journalled clicks as the fold takes them, and the entities that they have keys of."""
        layout = self.store.layout
        columns = zip(*((entry.click_key, entry.time, entry.logged_in) for entry in entries), strict=True)
        ids, times, logged_in = (np.array(column, np.int64) for column in columns)
        keys = np.zeros((len(layout.keys), len(entries)), np.uint64)
        known: dict[Entity, int] = {}
        numbers = ids.view(np.uint64)
        if kind.hashed is not None:
            names = self.journals.context(kind.context).keys
            matrix = _matrix(entries, kind.size // 8)
            known = {entity: row + kind.hashed * len(names) for row, entity in enumerate(names)}
            if kind.hashed:
                numbers = np.ascontiguousarray(matrix[:, 2 * len(names)])
            for row, entity in enumerate(layout.keys):
                if entity in known:
                    keys[row] = matrix[:, known[entity]]
        return ClickBatch(numbers, times, logged_in.astype(np.int8), keys), frozenset(known)

    def _refuse_stranger(self) -> None:
        """Refuse a snapshot whose last click is another than the journal's of the same sequence."""
        place = self.store.sequence - 1
        # Below zero stand clicks that no state knows.
        last = self.journals.find(place) if place >= 0 else None
        if last is None or (kind := self._kind(*last)).hashed is None:
            return
        number = int(self._batch(kind, [last[0]])[0].ids.view(np.int64)[0])
        if self.store.recent.find(number) != place:
            raise ServiceError(
                f"the snapshot {self.snapshot} ends with click {place}, which is another click in the journal"
                f" {self.journals.paths}: they do not belong together; bring back the snapshot that does,"
                f" or {_start_over(self.journals, self.snapshot)}"
            )


class _SharedRecovery(_Recovery):
    """A recovery from journals that may lack sequences, and tell a click twice.

    Attributes:
        twice, missing, terms, ranges: see `Recovered`.
    """

    def __init__(
        self, store: EmbeddedStore, journals: Journals, snapshot: Path, fingerprint: str, *, rotated: bool
    ) -> None:
        super().__init__(store, journals, snapshot, fingerprint, rotated=rotated)
        self.twice = self.missing = self.terms = 0
        self.ranges: list[tuple[int, int]] = []

    def _close_gap(self, kind: _Kind, entries: list[Entry]) -> None:
        """Count the gaps before and within entries, behind which blocks that the snapshot lacks start cold."""
        sequences = _sequences(entries)
        following = np.append(self.store.sequence if kind.tail else self.stand, sequences[:-1] + 1)
        if (sequences < following).any():
            raise ServiceError(
                f"the journals {self.journals.paths} hold click {sequences[np.argmax(sequences < following)]} more than"
                " once: they are not of processes that share one store; name those that do"
            )
        begun = sequences // TERM * TERM > following
        following = np.maximum(following, sequences // TERM * TERM)
        gaps = np.flatnonzero(sequences > following)
        if kind.tail:
            self.terms += int(np.count_nonzero(begun))
            self.missing += int((sequences - following).sum())
            named = gaps[: max(_RANGES - len(self.ranges), 0)]
            self.ranges += zip(following[named].tolist(), (sequences[named] - 1).tolist(), strict=True)
        if self.lacking and (len(gaps) or begun.any()):
            self.store.forget(self.lacking, max(self.newest, *(entry.time for entry in entries)))

    def _number(self, batch: ClickBatch, entries: Sequence[Entry]) -> ClickBatch:
        """Number clicks as they were, and leave out those journalled twice, as where a failover lost their click_id."""
        recent, expected = self.store.recent, _sequences(entries)
        sequences, repeats = recent.number(batch.ids, batch.times)
        strange = repeats & (sequences < self.held)
        if strange.any():
            at = int(np.argmax(strange))
            raise ServiceError(
                f"click {expected[at]} of the journals {self.journals.paths} is click {sequences[at]} of the state"
                f" {self.snapshot}, which holds it already: they do not belong together; bring back the state that"
                " the journals went on from"
            )
        fresh = ~repeats
        recent.note(batch.ids[fresh], batch.times[fresh], expected[fresh])
        recent.skip(int(expected[-1]) + 1, 0)
        self.twice += int(np.count_nonzero(repeats))
        return batch.take(fresh)


def _matrix(entries: Sequence[Entry], rows: int) -> NDArray[np.uint64]:
    """Return the journalled keys, uint64[entries, rows]."""
    joined = b"".join(entry.keys for entry in entries)
    return np.frombuffer(joined, "<u8").reshape(len(entries), rows).astype(np.uint64)


def _columns(block: Block, keys: Sequence[Entity]) -> Iterable[Entity]:
    """Return the entities whose keys a block reads."""
    return (keys[row] for row in (int(block.layout[KEY_ROW]), *counted_rows(block.layout)))


def _sequences(entries: Sequence[Entry]) -> NDArray[np.int64]:
    return np.fromiter((entry.sequence for entry in entries), np.int64, len(entries))


def _bound(entries: Sequence[Entry]) -> int:
    return max(entry.time for entry in entries[:_SETTLED])


def _start_over(journals: Journals, snapshot: Path) -> str:
    """Return the way out that always works: a service without state and journal begins with the last backfill."""
    return (
        f"run `slidr backfill`, then move {snapshot} (storage.state) and {journals.paths} (storage.journal) away"
        " together, so that the service starts from the new seed"
    )
