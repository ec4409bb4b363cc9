"""A block's state: the records of one entity kind as flat arrays, the index that finds them, and their eviction."""

from __future__ import annotations

from typing import TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.features.clicks import ClickBatch
from slidr.features.distinct import (
    DENSE,
    DENSE_WORDS,
    FREE_DENSE,
    FREE_TABLES,
    LIVE,
    TABLE_WORDS,
    TABLES,
    free_distinct,
)
from slidr.features.fold import find, fold_block
from slidr.features.layout import HORIZON, SKETCH_WORDS, SKETCHES, STRIDE, Block, sketches_at

_Item = TypeVar("_Item", bound=np.generic)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _compact(
    state: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]],
    longs: NDArray[np.int64],
    index: NDArray[np.int64],
    layout: NDArray[np.int64],
    since: int,
) -> None:
    """Drop the records whose newest click is before `since` and close the gaps."""
    words, _tables, _cells, free, used = state
    stride, live = layout[STRIDE], used[LIVE]
    keys = np.zeros(live, np.int64)
    for slot in range(0, len(index), 2):
        if index[slot] != 0:
            keys[index[slot + 1]] = index[slot]
    index[:] = 0
    used[LIVE] = 0
    sketches = sketches_at(layout)
    for record in range(live):
        base = record * stride
        if longs[base // 2] < since:
            for sketch in range(layout[SKETCHES]):
                free_distinct(words, base + sketches + sketch * SKETCH_WORDS, free, used)
        else:
            kept = find(index, np.uint64(keys[record]), used) * stride
            if kept != base:
                words[kept : kept + stride] = words[base : base + stride]
    words[used[LIVE] * stride : live * stride] = np.uint32(0)


@numba.njit(cache=True, error_model="numpy", nogil=True)
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
    """The state of one block: records, an index from key to record, and pools for distinct counts."""

    def __init__(self, block: Block, entities: int) -> None:
        self.block = block
        self._stride = int(block.layout[STRIDE])
        self._sketches = int(block.layout[SKETCHES])
        self.used = np.zeros(6, np.int64)
        self.words = np.zeros(entities * self._stride, np.uint32)
        self.index = np.zeros(2 * _power_of_two(2 * entities), np.int64)
        pooled = 64 if self._sketches else 0
        self.tables = np.zeros(pooled * TABLE_WORDS, np.uint32)
        self.cells = np.zeros(pooled * DENSE_WORDS, np.uint16)
        self.free = np.zeros((2, pooled), np.int32)
        self.latest = 0

    @property
    def bytes(self) -> int:
        """Bytes of state in use: records, their share of the index, and distinct counts."""
        live = int(self.used[LIVE])
        tables = int(self.used[TABLES] - self.used[FREE_TABLES]) * TABLE_WORDS * 4
        dense = int(self.used[DENSE] - self.used[FREE_DENSE]) * DENSE_WORDS * 2
        return live * self._stride * 4 + min(self.index.nbytes, 48 * live) + tables + dense

    def fold(self, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
        """Fold a batch and write the block's columns of its rows."""
        self._make_room(len(clicks))
        done = 0
        while True:
            state = (self.words, self.tables, self.cells, self.free, self.used)
            views = (self.words.view(np.float32), self.words.view(np.int64), self.index)
            done = fold_block(state, views, self.block.layout, clicks.times, clicks.keys, rows, done)
            if done == len(clicks):
                break
            self._grow_pools()
        self.latest = max(self.latest, int(clicks.times.max(initial=0)))

    def _make_room(self, clicks: int) -> None:
        if self._fits(clicks):
            return
        # An entity idle for the horizon reads as new anyway; twice that leaves room for late clicks.
        since = self.latest - 2 * int(self.block.layout[HORIZON])
        newest = self.words.view(np.int64)[:: self._stride // 2][: self.used[LIVE]]
        if 4 * int(np.count_nonzero(newest < since)) > len(newest):
            self.evict(since)
        if self._fits(clicks):
            return
        records = _power_of_two(int(self.used[LIVE]) + clicks)
        words = np.zeros(records * self._stride, np.uint32)
        held = int(self.used[LIVE]) * self._stride
        words[:held] = self.words[:held]
        self.words = words
        index = np.zeros(2 * _power_of_two(3 * records // 2), np.int64)
        _reindex(self.index, index)
        self.index = index

    def evict(self, since: int) -> None:
        """Drop the entities whose newest click is before `since`, in microseconds."""
        state = (self.words, self.tables, self.cells, self.free, self.used)
        _compact(state, self.words.view(np.int64), self.index, self.block.layout, since)

    def _fits(self, clicks: int) -> bool:
        needed = int(self.used[LIVE]) + clicks
        return needed * self._stride <= len(self.words) and 3 * needed <= len(self.index)

    def _grow_pools(self) -> None:
        self.tables = _grown(self.tables, int(self.used[TABLES]) * TABLE_WORDS, self._sketches * TABLE_WORDS)
        self.cells = _grown(self.cells, int(self.used[DENSE]) * DENSE_WORDS, self._sketches * DENSE_WORDS)
        slots = max(len(self.tables) // TABLE_WORDS, len(self.cells) // DENSE_WORDS, self.free.shape[1])
        free = np.zeros((2, slots), np.int32)
        free[:, : self.free.shape[1]] = self.free
        self.free = free

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays that hold the state, trimmed to what is used."""
        return {
            "words": self.words[: int(self.used[LIVE]) * self._stride],
            "index": self.index,
            "tables": self.tables[: int(self.used[TABLES]) * TABLE_WORDS],
            "cells": self.cells[: int(self.used[DENSE]) * DENSE_WORDS],
            "free": self.free,
            "used": self.used,
        }

    def restore(self, arrays: dict[str, NDArray[np.generic]], latest: int) -> None:
        """Take over arrays that `arrays` returned."""
        for name in ("words", "index", "tables", "cells", "free", "used"):
            setattr(self, name, np.array(arrays[name]))
        self.latest = latest
        if self._sketches:
            self._grow_pools()


def _power_of_two(least: int) -> int:
    return 1 << max(10, (least - 1).bit_length())


def _grown(pool: NDArray[_Item], used: int, spare: int) -> NDArray[_Item]:
    """Return the pool, twice as long where less than `spare` of it is left."""
    if used + spare <= len(pool):
        return pool
    grown = np.zeros(2 * max(len(pool), spare, 1), pool.dtype)
    grown[: len(pool)] = pool
    return grown
