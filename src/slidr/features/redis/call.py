"""Call: clicks that go to Redis together, the entities that they touch, and the commands that say so."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.clock import SECOND
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Block
from slidr.features.recent import MEMORY
from slidr.features.redis.agreement import Agreement
from slidr.features.redis.beginnings import Beginnings
from slidr.features.redis.entities import Entities, Rows
from slidr.features.redis.nodes import LIBRARY, Command, tag
from slidr.features.store import TERM

MOST = 128
"""Clicks in one call: Redis does nothing else while it adds them, for about three milliseconds."""
CLAIM_SECONDS = MEMORY // SECOND


class Terms(NamedTuple):
    """What every command to a partition says: where it goes, which data it means, and how long entities live (ms).

    `beginnings` are what is known of the values there.
    """

    partition: int
    epoch: str
    expected: bytes
    expiry: int
    beginnings: Beginnings


class Call:
    """Clicks that go to Redis together, none with the click_id of another, and what is known of them so far.

    Attributes:
        batch: the clicks.
        epoch: of the state that sequences and values are of.
        token: tells this call's claims from those of others.
        entities: what the clicks touch.
        names: the key of each entity.
        base: the first of the sequences taken for this call; -1 as long as there are none.
        sequences: of the clicks, int64[n]; -1 as long as they are not known.
        values: what each entity held after the call; empty as long as it is not known.
        unheard: partitions whose entities have not answered.
        tried: whether the clicks may have been added already.
        claimed: whether the clicks may have been claimed without being added.
        repeats: whether the clicks are repeats, which are only read.
    """

    def __init__(self, batch: ClickBatch, blocks: Sequence[Block], rows: Rows, partitions: int, epoch: str) -> None:
        self.batch = batch
        self.epoch = epoch
        self.token = secrets.token_hex(4)
        self.entities = Entities(rows, batch, partitions)
        self.base = -1
        self.sequences = np.full(len(batch), -1, np.int64)
        self.values = [b""] * len(self.entities)
        self._homes = self.entities.homes.tolist()
        self.unheard = set(self._homes)
        begins = [[entity_key(home, epoch, block.key) for home in range(partitions)] for block in blocks]
        places = zip(self.entities.blocks(), self._homes, _digits(self.entities.keys), strict=True)
        self.names = [begins[block][home] + digits for block, home, digits in places]
        self.tried = self.claimed = self.repeats = False

    def resumed(self, sequences: NDArray[np.int64], *, repeats: bool = False) -> Call:
        """Return the call, of clicks that have sequences and may have been added already."""
        self.sequences, self.repeats = sequences, repeats
        self.tried, self.claimed = True, not repeats
        return self

    def hear(self, terms: Terms, answers: Sequence[bytes | list[bytes]]) -> None:
        """Take the values of a partition's entities, in the order in which the command named them."""
        values = terms.beginnings.whole(self._part(self.names, terms.partition), answers)
        for place, value in zip(self._lying(terms.partition), values, strict=True):
            self.values[place] = value
        self.unheard.discard(terms.partition)

    def fold(self, terms: Terms) -> Command:
        """Number, claim and add all at once, where there is one partition."""
        partition, epoch, expected, expiry, _ = terms
        keys = [agreement_key(partition), counter_key(partition, epoch), newest_key(partition, epoch)]
        keys += self._click_keys(terms, np.arange(len(self.batch)))
        about: list[str | bytes | int] = [expected, len(self.batch), CLAIM_SECONDS, expiry, self.token, ""]
        return self._adding("fold", keys, [*about, *self.batch.times.tolist()], terms)

    def number(self, terms: Terms) -> Command:
        """Take sequences for all clicks."""
        keys = [agreement_key(terms.partition), counter_key(terms.partition, terms.epoch)]
        return function("number", keys, [terms.expected, len(self.batch)])

    def claim(self, terms: Terms, places: NDArray[np.int64], newest: int) -> Command:
        """Claim the clicks of these places, whose home the partition is; `newest` is the newest time folded so far."""
        partition, epoch, expected, _, _ = terms
        keys = [agreement_key(partition), agreement_key(partition), newest_key(partition, epoch)]
        keys += self._click_keys(terms, places)
        about: list[str | bytes | int] = [expected, len(places), CLAIM_SECONDS, newest, self.token, self.base]
        return function("claim", keys, [*about, *self.batch.times[places].tolist(), *places.tolist()])

    def add(self, terms: Terms) -> Command:
        """Add the clicks to their entities."""
        partition, _, expected, expiry, _ = terms
        return self._adding("add", [agreement_key(partition)], [expected, self.base, expiry], terms)

    def repair(self, terms: Terms) -> Command:
        """Add the clicks to those of their entities that do not have them."""
        partition, _, expected, expiry, _ = terms
        about: list[str | bytes | int] = [expected, expiry]
        blocks, entries = self.entities.blocks(), self.entities.rows.entries
        wanted = self.entities.wanted(self.sequences)
        for place in self._lying(partition):
            about += [entries[blocks[place]], b"" if self.repeats else wanted[place]]
        return function("repair", [agreement_key(partition), *self._part(self.names, partition)], about)

    def _adding(self, name: str, keys: list[str], arguments: list[str | bytes | int], terms: Terms) -> Command:
        """Return the command that adds the clicks to the partition's entities, behind other keys and arguments."""
        names = self._part(self.names, terms.partition)
        chunks = self._part(self.entities.chunks(), terms.partition)
        return function(name, [*keys, *names], [*arguments, *chunks, *terms.beginnings.described(names)])

    def _click_keys(self, terms: Terms, places: NDArray[np.int64]) -> list[str]:
        prefix = click_key(terms.partition, terms.epoch)
        return [prefix + digits for digits in _digits(self.batch.ids[places])]

    def _lying(self, partition: int) -> list[int]:
        return [place for place, home in enumerate(self._homes) if home == partition]

    def _part(self, of_entities: list[Any], partition: int) -> list[Any]:
        return [of_entities[place] for place in self._lying(partition)]


def _digits(keys: NDArray[np.uint64]) -> list[str]:
    """Return the sixteen hexadecimal digits of each key."""
    digits = keys.astype(">u8").tobytes().hex()
    return [digits[at : at + 16] for at in range(0, len(digits), 16)]


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
