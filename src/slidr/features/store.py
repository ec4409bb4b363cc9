"""The embedded store: the state of every block as flat arrays in this process, folded by one kernel."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.errors import FeatureError
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import (
    DENSE,
    DENSE_WORDS,
    FREE_DENSE,
    FREE_TABLES,
    LATE,
    LIVE,
    TABLE_WORDS,
    TABLES,
    free_distinct,
)
from slidr.features.fold import find, fold_block, fold_click
from slidr.features.layout import (
    GAPS,
    HALF_LIVES,
    HEADER,
    HOPS,
    HORIZON,
    SKETCH_WORDS,
    SKETCHES,
    STRIDE,
    WINDOWS,
    Block,
    Layout,
)
from slidr.features.recent import RecentClicks

_CHUNK = 16_384
"""Clicks folded at once: few enough that one block's batch stays in the cache."""
_SNAPSHOT_VERSION = 1
_START_OVER = (
    "run `slidr backfill`, then move this file (storage.state) and the service's journal (storage.journal) away"
    " together, so that the service starts from the new seed"
)
_Item = TypeVar("_Item", bound=np.generic)


class Folded(NamedTuple):
    """What the store returns for a batch: rows float32[n, features] (of a repeat: zeros), sequences, repeats."""

    rows: NDArray[np.float32]
    sequences: NDArray[np.int64]
    repeats: NDArray[np.bool_]


class Store(Protocol):
    """Holds the state of the features and folds clicks into it."""

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given and return their rows."""
        ...


@numba.njit(cache=True, error_model="numpy")
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
    sketches = HEADER + HOPS * layout[WINDOWS] + layout[HALF_LIVES] + 3 * layout[GAPS]
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


@numba.njit(cache=True, error_model="numpy")
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


class EmbeddedStore:
    """The store of one process: every block of a layout, and the numbering of the clicks.

    Args:
        layout: the compiled catalogue.
        entities: live entities of one kind that memory is set aside for at the start; it grows as needed.
    """

    def __init__(self, layout: Layout, entities: int = 1024) -> None:
        self.layout = layout
        self.blocks = tuple(BlockState(block, entities) for block in layout.blocks)
        self.recent = RecentClicks()

    @property
    def sequence(self) -> int:
        """The sequence that the next new click gets: how many clicks were folded."""
        return int(self.recent.used[1])

    @property
    def late(self) -> int:
        """How many clicks came too late for some window of some entity."""
        return sum(int(block.used[LATE]) for block in self.blocks)

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given; a repeat is numbered as its original and changes nothing."""
        sequences, repeats = self.recent.number(clicks.ids, clicks.times)
        rows = np.zeros((len(clicks), len(self.layout.names)), np.float32)
        if repeats.any():
            fresh = ~repeats
            part = np.zeros((int(fresh.sum()), rows.shape[1]), np.float32)
            self._fold(clicks.take(fresh), part)
            rows[fresh] = part
        else:
            self._fold(clicks, rows)
        return Folded(rows, sequences, repeats)

    def _fold(self, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
        for start in range(0, len(clicks), _CHUNK):
            stop = start + _CHUNK
            chunk = clicks if len(clicks) <= _CHUNK else clicks.take(slice(start, stop))
            part = rows[start:stop]
            for block in self.blocks:
                block.fold(chunk, part)
            fold_click(self.layout.clock, self.layout.missing, chunk.times, chunk.logged_in, chunk.keys, part)

    def snapshot(self, path: Path, *, fingerprint: str) -> None:
        """Write the state to a file, whole or not at all.

        Args:
            path: the file.
            fingerprint: of the secret key that hashed the identifiers; another key's state is worthless.
        """
        arrays: dict[str, NDArray[np.generic]] = {"recent": self.recent.table, "numbers": self.recent.used}
        for state in self.blocks:
            arrays |= {f"{state.block.key}.{name}": array for name, array in state.arrays().items()}
        about = {
            "version": _SNAPSHOT_VERSION,
            "fingerprint": fingerprint,
            "latest": {state.block.key: state.latest for state in self.blocks},
        }
        buffer = io.BytesIO()
        np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        part = path.with_suffix(path.suffix + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def restore(self, path: Path, *, fingerprint: str) -> None:
        """Take over the state of a file.

        Raises:
            FeatureError: the file is not a snapshot, lacks a block of this catalogue, or was hashed with another key.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(arrays.pop("about").tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
            raise FeatureError(f"{path} is not a snapshot of feature state: {fault}") from None
        if about["version"] != _SNAPSHOT_VERSION or about["fingerprint"] != fingerprint:
            raise FeatureError(
                f"{path} has version {about['version']} and key {about['fingerprint']}; this process reads version"
                f" {_SNAPSHOT_VERSION} and key {fingerprint}: use the secret key of the backfill, or {_START_OVER}"
            )
        for state in self.blocks:
            key = state.block.key
            if key not in about["latest"]:
                raise FeatureError(
                    f"{path} has no block {key} ({', '.join(state.block.entity)}): it was written by another catalogue;"
                    f" {_START_OVER}"
                )
            state.restore(
                {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{key}.")},
                about["latest"][key],
            )
        self.recent.table, self.recent.used = arrays["recent"], arrays["numbers"]
