"""A block's state: the records of one entity kind as flat arrays, the index that finds them, and their eviction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from slidr.features.batch_fold import AHEAD, PLACES, find, fold_blocks, locate
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import (
    DENSE,
    DENSE_WORDS,
    EVICTED,
    FREE_DENSE,
    FREE_TABLES,
    LIVE,
    ROOM,
    TABLE_WORDS,
    TABLES,
    USED,
    State,
    free_distinct,
)
from slidr.features.evicted import leave_mark, make_marks
from slidr.features.kernel import kernel
from slidr.features.layout import HORIZON, SKETCH_WORDS, SKETCHES, STRIDE, Block, sketches_at
from slidr.features.memory import Records, touch_array, zeros
from slidr.features.prefetch import natural, prefetch

MOST_ENTITIES = 10_000_000
"""Records of one block at most, where nothing else is said."""
_AHEAD_WORDS = 1 << 21
"""Words of a kind, 8 MB, whose pages are at hand before they are needed: more than the fastest log fills in a tick."""


@kernel(nogil=True)
def _compact(
    state: State,
    longs: NDArray[np.int64],
    index: NDArray[np.int64],
    layout: NDArray[np.int64],
    gone: NDArray[np.bool_],
    marks: NDArray[np.uint32],
    keys: NDArray[np.int64],
) -> None:
    """Drop the records that are `gone`, close the gaps, and leave a mark of each where there is a table of marks.

    `longs` are the records as int64, and `keys` has room for the key of each.
    """
    words, _tables, _cells, free, used = state
    stride, live = layout[STRIDE], used[LIVE]
    mask = len(index) // 2 - 1
    for slot in range(0, len(index), 2):
        if index[slot] != 0:
            keys[index[slot + 1]] = index[slot]
    index[:] = 0
    used[LIVE] = 0
    sketches = sketches_at(layout)
    for record in range(live):
        if record + AHEAD < live:
            prefetch(index, 2 * (keys[record + AHEAD] & mask))
        base = record * stride
        if gone[record]:
            if len(marks):
                leave_mark(marks, keys[record], longs[base // 2], layout[HORIZON])
            for sketch in range(layout[SKETCHES]):
                free_distinct(words, base + sketches + sketch * SKETCH_WORDS, free, used)
        else:
            kept = natural(find(index, np.uint64(keys[record]), used) * stride)
            if kept != base:
                for word in range(stride):
                    words[kept + word] = words[natural(base + word)]
    words[used[LIVE] * stride : live * stride] = np.uint32(0)


@kernel(nogil=True)
def _reindex(old: NDArray[np.int64], new: NDArray[np.int64]) -> None:
    mask = len(new) // 2 - 1
    for at in range(0, len(old), 2):
        if old[at] != 0:
            slot = old[at] & mask
            while new[2 * slot] != 0:
                slot = (slot + 1) & mask
            new[2 * slot] = old[at]
            new[2 * slot + 1] = old[at + 1]


class BlockState:
    """The state of one block: records, an index from key to record, and pools for distinct counts.

    Args:
        block: the block.
        entities: records that memory is set aside for at the start; it grows as needed.
        most: records at most. Beyond them the entities whose newest click is oldest are evicted, an eighth at once,
            and the rows of one that comes back within its horizon are flagged for a horizon.
        huge: whether the system may use huge pages.

    Attributes:
        places: where the arrays are, for the fold; int64[1, PLACES], see `placed`.
    """

    def __init__(self, block: Block, entities: int, most: int = MOST_ENTITIES, *, huge: bool = True) -> None:
        self.block = block
        self._huge = huge
        self.most = max(most, 1)
        self._stride = int(block.layout[STRIDE])
        self._sketches = int(block.layout[SKETCHES])
        self._horizon = int(block.layout[HORIZON])
        room = min(max(entities, 1), self.most)
        self.used = np.zeros(USED, np.int64)
        self._records = Records(room * self._stride, huge=huge)
        self.index = zeros(2 * _power_of_two(2 * room), huge=huge)
        pooled = 64 if self._sketches else 0
        self._tables = Records(pooled * TABLE_WORDS, huge=huge)
        self._cells = Records(pooled * DENSE_WORDS // 2, huge=huge)
        self.free = np.zeros((2, pooled), np.int32)
        self.marks = np.zeros(0, np.uint32)
        self._near = np.zeros(AHEAD, np.int64)
        self._at_hand: NDArray[np.int64] | None = None
        self.places = np.zeros((1, PLACES), np.int64)
        self._locate()

    @property
    def tables(self) -> NDArray[np.uint32]:
        """The tables of the distinct counts; another array once they have grown."""
        return self._tables.words

    @property
    def cells(self) -> NDArray[np.uint16]:
        """The dense cells of the distinct counts; another array once they have grown."""
        return self._cells.words.view(np.uint16)

    @property
    def words(self) -> NDArray[np.uint32]:
        """The records, one behind the other; another array once they have grown."""
        return self._records.words

    @property
    def bytes(self) -> int:
        """Bytes of state in use: records, their share of the index, distinct counts, and marks of evicted keys."""
        live = int(self.used[LIVE])
        tables = int(self.used[TABLES] - self.used[FREE_TABLES]) * TABLE_WORDS * 4
        dense = int(self.used[DENSE] - self.used[FREE_DENSE]) * DENSE_WORDS * 2
        index = min(self.index.nbytes, 48 * live)
        return live * self._stride * 4 + index + tables + dense + self.marks.nbytes

    @property
    def evicted(self) -> int:
        """How many entities were evicted at the cap; those idle for two horizons are not counted."""
        return int(self.used[EVICTED])

    def fold(self, clicks: ClickBatch, rows: NDArray[np.float32], soundness: NDArray[np.uint8] | None = None) -> None:
        """Fold a batch and write the block's columns of its rows.

        Args:
            clicks: the clicks.
            rows: float32[n, features], written in place.
            soundness: of each row, uint8[n]; raised to STATE_EVICTED where the entity had been evicted while its state
                was still of use.
        """
        if soundness is None:
            soundness = np.zeros(len(clicks), np.uint8)
        fold_into((self,), self.places, clicks, rows, soundness[np.newaxis])

    def make_room(self, time: int) -> None:
        """Make room for a click of this time: grow, drop what reads as new anyway, or evict the oldest."""
        if self._grow_pools():
            return
        newest = self._newest()
        # Neither a few clicks with a time far ahead nor a clock set back may make others look idle: the present is
        # the click's own time, or, where that is earlier, the time that the newest hundredth of the entities has seen.
        rank = (len(newest) - 1) * 99 // 100
        present = min(time, int(np.partition(newest, rank)[rank]))
        # An entity idle for the horizon reads as new; twice that leaves room for late clicks.
        since = present - 2 * self._horizon
        room = len(newest)
        if 4 * int(np.count_nonzero(newest < since)) > room:
            self.evict(since)
        elif room < self.most:
            del newest
            self._grow(min(_power_of_two(room + 1), self.most))
        else:
            self._evict_oldest(newest, max(self.most // 8, 1))

    def _grow(self, room: int) -> None:
        self._records.grow(room * self._stride)
        # At once: what follows may find no memory, and the records are not where they were.
        self._locate()
        if 3 * room > len(self.index):
            index = zeros(2 * _power_of_two(3 * room // 2), huge=self._huge)
            _reindex(self.index, index)
            self.index = index
            self._locate()

    def evict(self, since: int) -> None:
        """Drop the entities whose newest click is before `since`, in microseconds; none is counted or flagged."""
        self._drop(self._newest() < since, np.zeros(0, np.uint32))

    def _evict_oldest(self, newest: NDArray[np.int64], count: int) -> None:
        if not len(self.marks):
            self.marks = make_marks(self.most)
            self._locate()
        limit = np.partition(newest, count - 1)[count - 1]
        gone = newest < limit
        # Of those as old as the limit, the first ones.
        gone[np.flatnonzero(newest == limit)[: count - int(np.count_nonzero(gone))]] = True
        self._drop(gone, self.marks)
        self.used[EVICTED] += count

    def _drop(self, gone: NDArray[np.bool_], marks: NDArray[np.uint32]) -> None:
        state = (self.words, self.tables, self.cells, self.free, self.used)
        keys = np.empty(int(self.used[LIVE]), np.int64)
        _compact(state, self._records.longs, self.index, self.block.layout, gone, marks, keys)

    def _newest(self) -> NDArray[np.int64]:
        """Return the time of each record's newest click."""
        return self._records.longs[:: self._stride // 2][: self.used[LIVE]]

    def _grow_pools(self, spare: int = 0) -> bool:
        """Double the pools that may not do for one click and some words more; returns whether there were any."""
        used = self.used
        tables = int(used[TABLES] - used[FREE_TABLES]) * TABLE_WORDS + self._sketches * TABLE_WORDS
        cells = (int(used[DENSE] - used[FREE_DENSE]) * DENSE_WORDS + self._sketches * DENSE_WORDS) // 2
        grown = False
        for pool, wanted in ((self._tables, tables), (self._cells, cells)):
            if wanted + spare > len(pool.words):
                pool.grow(2 * max(len(pool.words), wanted + spare))
                self._locate()
                grown = True
        if grown:
            slots = max(len(self.tables) // TABLE_WORDS, len(self.cells) // DENSE_WORDS, self.free.shape[1])
            free = np.zeros((2, slots), np.int32)
            free[:, : self.free.shape[1]] = self.free
            self.free = free
            self._locate()
        return grown

    def grow_ahead(self) -> None:
        """Make room for the distinct counts of the next entities, so that it can be touched before it is needed."""
        if self._sketches:
            self._grow_pools(_AHEAD_WORDS // 4)

    def touch_ahead(self) -> Iterator[None]:
        """Have pages at hand for the state of the next entities; between two pieces clicks may be folded."""
        used = self.used
        yield from self._records.touch(int(used[LIVE]) * self._stride + _AHEAD_WORDS)
        yield from self._tables.touch(int(used[TABLES]) * TABLE_WORDS + _AHEAD_WORDS)
        yield from self._cells.touch(int(used[DENSE]) * DENSE_WORDS // 2 + _AHEAD_WORDS)
        if (index := self.index) is not self._at_hand:
            yield from touch_array(index)
            self._at_hand = index

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays that hold the state, trimmed to what is used."""
        # How much room there was decides when idle entities are dropped next.
        self.used[ROOM] = len(self.words) // self._stride
        return {
            "words": self.words[: int(self.used[LIVE]) * self._stride],
            "index": self.index,
            "tables": self.tables[: int(self.used[TABLES]) * TABLE_WORDS],
            "cells": self.cells[: int(self.used[DENSE]) * DENSE_WORDS],
            "free": self.free,
            "used": self.used,
            "marks": self.marks,
        }

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Take over arrays that `arrays` returned."""
        words = arrays["words"]
        self._records = Records(len(words), huge=self._huge)
        self.words[:] = words
        self._tables = Records(len(arrays["tables"]), huge=self._huge)
        self._cells = Records(len(arrays["cells"]) // 2, huge=self._huge)
        self.tables[:], self.cells[:] = arrays["tables"], arrays["cells"]
        self.index = zeros(len(arrays["index"]), huge=self._huge)
        self.index[:] = arrays["index"]
        for name in ("free", "used", "marks"):
            setattr(self, name, np.array(arrays[name]))
        self._grow(max(min(int(self.used[ROOM]), self.most), int(self.used[LIVE]), 1))
        if self.used[LIVE] > self.most:
            self._evict_oldest(self._newest(), int(self.used[LIVE]) - self.most)
        if self._sketches:
            self._grow_pools()

    def _locate(self) -> None:
        """Tell the fold where the arrays are, whenever one was replaced."""
        state = (self.words, self.tables, self.cells, self.free, self.used)
        self.places[0] = locate(state, self.index, self.marks, self._near, self.block.layout)


def placed(blocks: Sequence[BlockState]) -> NDArray[np.int64]:
    """Return where the arrays of blocks are, int64[blocks, PLACES]; from now on they keep it up to date."""
    places = np.concatenate([block.places for block in blocks] or [np.zeros((0, PLACES), np.int64)])
    for number, block in enumerate(blocks):
        block.places = places[number : number + 1]
    return places


def fold_into(
    blocks: Sequence[BlockState],
    places: NDArray[np.int64],
    clicks: ClickBatch,
    rows: NDArray[np.float32],
    soundness: NDArray[np.uint8],
    first: int = 0,
) -> None:
    """Fold a batch into blocks, and write their columns of its rows.

    Args:
        blocks: one after the other.
        places: of the blocks, see `placed`.
        clicks: the clicks.
        rows: float32[n, features], written in place.
        soundness: uint8[blocks, first + n or more]; raised where an entity had been evicted.
        first: column of the soundness that is the first click's.
    """
    batch, block, click = (clicks.times, clicks.keys, rows), 0, 0
    while True:
        block, click = fold_blocks(places, batch, soundness, first, block, click)
        if block == len(blocks):
            return
        blocks[block].make_room(int(clicks.times[click]))


def _power_of_two(least: int) -> int:
    return 1 << max(10, (least - 1).bit_length())
