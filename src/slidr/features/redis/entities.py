"""Entities: what the clicks of a call touch, block by block, and what is added to the value of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import short_key
from slidr.features.kernel import kernel
from slidr.features.layout import KEY_ROW, Block, counted_rows

ENTRY = 3
"""Words of a click before its counted values: offset and time (two)."""
Groups: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Where each block's entities begin, where each entity's clicks do, those clicks' places, each click's entity."""


class Rows:
    """The rows of the key matrix that blocks read.

    Attributes:
        own: of each block's entity, int64[blocks].
        counted: of the values that it counts, int64[blocks, most], -1 where it counts fewer.
        entries: bytes of a click in a chunk of each block.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        counted = [counted_rows(block.layout) for block in blocks]
        self.own = np.array([block.layout[KEY_ROW] for block in blocks], np.int64)
        self.counted = np.full((len(blocks), max(map(len, counted), default=0)), -1, np.int64)
        for block, rows in enumerate(counted):
            self.counted[block, : len(rows)] = rows
        self.entries = [4 * (ENTRY + len(rows)) for rows in counted]


@kernel()
def _group(keys: NDArray[np.uint64], own: NDArray[np.int64], found: NDArray[np.uint64], groups: Groups) -> None:
    """Group clicks by entity, block by block; a call has few clicks, so every group is looked at."""
    firsts, members, order, of = groups
    clicks, entities = keys.shape[1], 0
    for block in range(len(own)):
        firsts[block] = entities
        for click in range(clicks):
            key = keys[own[block], click]
            entity: Whole = firsts[block] if key != 0 else -1
            while 0 <= entity < entities and found[entity] != key:
                entity += 1
            if entity == entities:
                found[entity] = key
                members[entity + 1] = 0
                entities += 1
            of[block * clicks + click] = entity
            if entity >= 0:
                members[entity + 1] += 1
    firsts[len(own)] = entities
    members[0] = 0
    for entity in range(entities):
        members[entity + 1] += members[entity]
    clicks_of_some = members[entities]
    for place in range(len(of) - 1, -1, -1):
        # From the last click on, `members` moves from each entity's end to its beginning.
        if of[place] >= 0:
            members[of[place] + 1] -= 1
            order[members[of[place] + 1]] = place % clicks
    for entity in range(entities):
        members[entity] = members[entity + 1]
    members[entities] = clicks_of_some


@kernel()
def _write_entries(
    clicks: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]],
    counted: NDArray[np.int64],
    groups: Groups,
    words: NDArray[np.uint32],
    ends: NDArray[np.int64],
) -> None:
    """Write what is added to each entity, and where it ends.

    That is the number of its clicks and an entry for each, whose offset is its place in the call; where sequences are
    given, each click has its own before its entry, the offset is zero, and there is no number.
    """
    times, keys, sequences = clicks
    firsts, members, order, _of = groups
    at = 0
    for block in range(len(firsts) - 1):
        for entity in range(firsts[block], firsts[block + 1]):
            if not len(sequences):
                words[at] = np.uint32(members[entity + 1] - members[entity])
                at += 1
            for member in range(members[entity], members[entity + 1]):
                click = order[member]
                offset = click
                if len(sequences):
                    words[at] = np.uint32(sequences[click] & 0xFFFFFFFF)
                    words[at + 1] = np.uint32(sequences[click] >> 32)
                    at += 2
                    offset = 0
                words[at] = np.uint32(offset)
                words[at + 1] = np.uint32(times[click] & 0xFFFFFFFF)
                words[at + 2] = np.uint32(times[click] >> 32)
                at += ENTRY
                for row in counted[block]:
                    if row >= 0:
                        words[at] = short_key(keys[row, click])
                        at += 1
            ends[entity + 1] = at


class Entities:
    """What clicks do to the entities of all blocks.

    Attributes:
        keys: keyed hash of each entity, block by block, uint64[m].
        homes: its partition, int64[m].
        groups: see `Groups`; of a click without the entity it is -1.
    """

    def __init__(self, rows: Rows, clicks: ClickBatch, partitions: int) -> None:
        self.rows, self._clicks = rows, clicks
        most = len(rows.own) * len(clicks)
        room = np.empty(3 * most + len(rows.own) + 2, np.int64)
        firsts, rest = room[: len(rows.own) + 1], room[len(rows.own) + 1 :]
        members, order, of = rest[: most + 1], rest[most + 1 : 2 * most + 1], rest[2 * most + 1 :]
        found = np.empty(most, np.uint64)
        _group(clicks.keys, rows.own, found, (firsts, members, order, of))
        entities = int(firsts[-1])
        self.groups: Groups = firsts, members, order, of
        self.keys = found[:entities]
        self.homes = (self.keys % np.uint64(partitions)).astype(np.int64)

    @property
    def of(self) -> NDArray[np.int64]:
        """Each click's entity in each block, int64[blocks, n]."""
        return self.groups[3].reshape(len(self.rows.own), -1)

    def __len__(self) -> int:
        """The number of entities."""
        return len(self.keys)

    def blocks(self) -> list[int]:
        """Return the number of each entity's block."""
        return np.repeat(np.arange(len(self.rows.own)), np.diff(self.groups[0])).tolist()

    def chunks(self) -> list[bytes]:
        """Return what is added to each entity: the number of its clicks, and their entries."""
        return self._written(np.empty(0, np.int64))

    def wanted(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return each entity's clicks with their sequences, for the repair; the offset of each is zero."""
        return self._written(sequences)

    def _written(self, sequences: NDArray[np.int64]) -> list[bytes]:
        clicks, counted = self._clicks, self.rows.counted
        words = np.empty(len(self.groups[2]) * (2 + ENTRY + counted.shape[1]), np.uint32)
        ends = np.zeros(len(self) + 1, np.int64)
        _write_entries((clicks.times, clicks.keys, sequences), counted, self.groups, words, ends)
        data = words[: ends[-1]].tobytes()
        return [data[start:end] for start, end in pairwise((4 * ends).tolist())]
