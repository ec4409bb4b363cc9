"""Call: clicks that go to Redis together, the entities that they touch, and the commands that say so."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.clock import SECOND
from slidr.features.arithmetic import Whole
from slidr.features.clicks import ClickBatch
from slidr.features.kernel import kernel
from slidr.features.layout import KEY_ROW
from slidr.features.recent import MEMORY
from slidr.features.redis.agreement import Agreement
from slidr.features.redis.nodes import LIBRARY, Command, tag
from slidr.features.redis.values import Reader
from slidr.features.store import TERM

MOST = 128
"""Clicks in one call: Redis does nothing else while it adds them, for about three milliseconds."""
CLAIM_SECONDS = MEMORY // SECOND


class Terms(NamedTuple):
    """What every command to a partition says: where it goes, which data it means, and how long entities live (ms)."""

    partition: int
    epoch: str
    expected: bytes
    expiry: int


@kernel()
def _group(
    own: NDArray[np.uint64],
    of: NDArray[np.int64],
    keys: NDArray[np.uint64],
    counts: NDArray[np.uint32],
    order: NDArray[np.int64],
) -> tuple[Whole, Whole]:
    """Group clicks by key: write the group of each, -1 for the key 0, and their places, group by group.

    Returns how many groups there are, and how many clicks in them. A call has few clicks, so every group is looked at.
    """
    groups = 0
    for click in range(len(own)):
        of[click] = -1
        if own[click] != 0:
            group = 0
            while group < groups and keys[group] != own[click]:
                group += 1
            if group == groups:
                keys[group] = own[click]
                groups += 1
            of[click] = group
            counts[group] += np.uint32(1)
    place = 0
    for group in range(groups):
        for click in range(len(own)):
            if of[click] == group:
                order[place] = click
                place += 1
    return groups, place


class Entities:
    """What clicks do to the entities of one block.

    Attributes:
        reader: of the block.
        keys: keyed hash of each entity, uint64[m].
        of: the place in `keys` of each click's entity, -1 where it has none, int64[n].
        partitions: of each entity, int64[m].
    """

    def __init__(self, reader: Reader, clicks: ClickBatch, partitions: int) -> None:
        self.reader = reader
        own = clicks.keys[reader.block.layout[KEY_ROW]]
        self.of, self._order = np.empty(len(own), np.int64), np.empty(len(own), np.int64)
        found, counts = np.empty(len(own), np.uint64), np.zeros(len(own), np.uint32)
        entities, clicks_of_some = _group(own, self.of, found, counts, self._order)
        self.keys, self._counts = found[:entities], counts[:entities]
        self._order = self._order[:clicks_of_some]
        self.partitions = (self.keys % np.uint64(partitions)).astype(np.int64)
        self._entries = reader.entries(clicks)

    def chunks(self) -> list[bytes]:
        """Return what is added to each entity: the number of its clicks, and their entries."""
        return self._joined(self._entries, self._counts)

    def wanted(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return each entity's clicks with their sequences, for the repair; the offset of each is zero."""
        entries = self._entries.copy()
        entries[:, 0] = 0
        return self._joined(np.hstack([sequences.view(np.uint32).reshape(-1, 2), entries]), None)

    def _joined(self, entries: NDArray[np.uint32], counts: NDArray[np.uint32] | None) -> list[bytes]:
        size = 4 * entries.shape[1]
        data, parts, at = entries[self._order].tobytes(), [], 0
        heads = b"" if counts is None else counts.tobytes()
        for entity, count in enumerate(self._counts.tolist()):
            parts.append(heads[4 * entity : 4 * entity + 4] + data[at : at + count * size])
            at += count * size
        return parts


class Call:
    """Clicks that go to Redis together, none with the click_id of another, and what is known of them so far.

    Attributes:
        batch: the clicks.
        epoch: of the state that sequences and values are of.
        token: tells this call's claims from those of others.
        entities: what the clicks touch, block by block.
        base: the first of the sequences taken for this call; -1 as long as there are none.
        sequences: of the clicks, int64[n]; -1 as long as they are not known.
        values: what each entity held after the call, block by block; empty as long as it is not known.
        unheard: partitions whose entities have not answered.
        tried: whether the clicks may have been added already.
        claimed: whether the clicks may have been claimed without being added.
        repeats: whether the clicks are repeats, which are only read.
    """

    def __init__(self, batch: ClickBatch, readers: Sequence[Reader], partitions: int, epoch: str) -> None:
        self.batch = batch
        self.epoch = epoch
        self.token = secrets.token_hex(4)
        self.entities = [Entities(reader, batch, partitions) for reader in readers]
        self.base = -1
        self.sequences = np.full(len(batch), -1, np.int64)
        self.values: list[list[bytes]] = [[b""] * len(entities.keys) for entities in self.entities]
        self.unheard = {int(one) for entities in self.entities for one in np.unique(entities.partitions)}
        self.tried = self.claimed = self.repeats = False

    def resumed(self, sequences: NDArray[np.int64], *, repeats: bool = False) -> Call:
        """Return the call, of clicks that have sequences and may have been added already."""
        self.sequences, self.repeats = sequences, repeats
        self.tried, self.claimed = True, not repeats
        return self

    def hear(self, partition: int, values: Sequence[bytes]) -> None:
        """Take the values of a partition's entities, in the order in which the command named them."""
        at = 0
        for held, entities in zip(self.values, self.entities, strict=True):
            for place in np.flatnonzero(entities.partitions == partition).tolist():
                held[place] = values[at]
                at += 1
        self.unheard.discard(partition)

    def fold(self, terms: Terms) -> Command:
        """Number, claim and add all at once, where there is one partition."""
        partition, epoch, expected, expiry = terms
        keys = [agreement_key(partition), counter_key(partition, epoch), newest_key(partition, epoch)]
        keys += [*self._click_keys(terms, np.arange(len(self.batch))), *self._entity_keys(terms)]
        about: list[str | bytes | int] = [expected, len(self.batch), CLAIM_SECONDS, expiry, self.token, ""]
        return function("fold", keys, [*about, *self.batch.times.tolist(), *self._chunks(partition)])

    def number(self, terms: Terms) -> Command:
        """Take sequences for all clicks."""
        keys = [agreement_key(terms.partition), counter_key(terms.partition, terms.epoch)]
        return function("number", keys, [terms.expected, len(self.batch)])

    def claim(self, terms: Terms, places: NDArray[np.int64], newest: int) -> Command:
        """Claim the clicks of these places, whose home the partition is; `newest` is the newest time folded so far."""
        partition, epoch, expected, _ = terms
        keys = [agreement_key(partition), agreement_key(partition), newest_key(partition, epoch)]
        keys += self._click_keys(terms, places)
        about: list[str | bytes | int] = [expected, len(places), CLAIM_SECONDS, newest, self.token, self.base]
        return function("claim", keys, [*about, *self.batch.times[places].tolist(), *places.tolist()])

    def add(self, terms: Terms) -> Command:
        """Add the clicks to their entities."""
        keys = [agreement_key(terms.partition), *self._entity_keys(terms)]
        return function("add", keys, [terms.expected, self.base, terms.expiry, *self._chunks(terms.partition)])

    def repair(self, terms: Terms) -> Command:
        """Add the clicks to those of their entities that do not have them."""
        keys = [agreement_key(terms.partition), *self._entity_keys(terms)]
        about: list[str | bytes | int] = [terms.expected, terms.expiry]
        for one in self.entities:
            for clicks in _lying(one.wanted(self.sequences), one.partitions, terms.partition):
                about += [one.reader.entry, b"" if self.repeats else clicks]
        return function("repair", keys, about)

    def _click_keys(self, terms: Terms, places: NDArray[np.int64]) -> list[str]:
        prefix = click_key(terms.partition, terms.epoch)
        return [f"{prefix}{key:016x}" for key in self.batch.ids[places].tolist()]

    def _entity_keys(self, terms: Terms) -> list[str]:
        partition, epoch, _, _ = terms
        names: list[str] = []
        for one in self.entities:
            prefix = entity_key(partition, epoch, one.reader.block.key)
            names += [f"{prefix}{key:016x}" for key in one.keys[one.partitions == partition].tolist()]
        return names

    def _chunks(self, partition: int) -> list[bytes]:
        return [chunk for one in self.entities for chunk in _lying(one.chunks(), one.partitions, partition)]


def _lying(parts: list[bytes], partitions: NDArray[np.int64], partition: int) -> list[bytes]:
    return [parts[place] for place in np.flatnonzero(partitions == partition).tolist()]


def function(name: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Command:
    """Return the command that calls a function of the library."""
    return ("FCALL", f"{LIBRARY}_{name}", len(keys), *keys, *arguments)


def agree(partition: int, held: Agreement, wanted: Agreement) -> Command:
    """Return the command that changes a partition's agreement, and where a replica took over begins a new term."""
    keys = [agreement_key(partition)]
    if partition == 0 and wanted.run != held.run:
        keys.append(counter_key(partition, held.epoch))
    return function("agree", keys, [held.encoded(), wanted.encoded(), TERM])


def digest(value: bytes) -> str:
    """Return what tells a value from any other, as the library computes it."""
    return hashlib.sha1(value, usedforsecurity=False).hexdigest()


def agreement_key(partition: int) -> str:
    """Return the key of a partition's agreement."""
    return f"{tag(partition)}:agreement"


def entity_key(partition: int, epoch: str, block: str) -> str:
    """Return what the keys of a block's entities begin with; sixteen hexadecimal digits follow."""
    return f"{tag(partition)}:{epoch}:{block}:"


def click_key(partition: int, epoch: str) -> str:
    """Return what the keys of clicks' claims begin with; sixteen hexadecimal digits follow."""
    return f"{tag(partition)}:{epoch}:click:"


def counter_key(partition: int, epoch: str) -> str:
    """Return the key of the counter of sequences."""
    return f"{tag(partition)}:{epoch}:sequence"


def newest_key(partition: int, epoch: str) -> str:
    """Return the key of the newest time of the clicks that a partition has claimed."""
    return f"{tag(partition)}:{epoch}:newest"


def without_twins(ids: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield places of clicks, in order, so many at once that no click_id is among them twice."""
    start = 0
    while start < len(ids):
        part = ids[start : start + MOST]
        _, first = np.unique(part, return_index=True)
        if len(first) < len(part):
            again = np.setdiff1d(np.arange(len(part)), first)
            part = part[: again[0]]
        yield np.arange(start, start + len(part))
        start += len(part)
