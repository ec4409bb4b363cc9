"""Values: what Redis keeps of an entity, its packed record and the clicks appended since, and the fold over them.

`library.lua` lays a value out as chunks of 32-bit words. Here the chunks are read into a small block of state, the one
fold runs over the clicks, and a record is packed again once the clicks behind it outweigh it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.block import BlockState
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import DENSE, DENSE_WORDS, LIVE, SLOT, TABLE_WORDS, TABLES, TIER, short_key
from slidr.features.fold import find
from slidr.features.layout import KEY_ROW, SKETCH_WORDS, SKETCHES, STRIDE, Block, counted_rows, sketches_at

HEAD = 3
"""Words before a chunk's clicks: base (two) and count."""
_FOLDED = 0xFFFFFFFF
_RECORD_HEAD = HEAD + 1
_ENTRY = 3
"""Words of a click before its counted values: offset and time (two)."""
_ENTITIES = 4096
_PIECE = 2048
"""Clicks folded at once, so that the block of state never has to grow."""
_LEAST_TAIL = 128
"""Words of clicks that are worth packing a record, however small it is."""


class Read(NamedTuple):
    """What reading and folding values gave.

    Attributes:
        rows: float32[n, columns of the block], in the order of `Reader.columns`.
        found: whether the click still stood in its entity's value, bool[n]; the row of another is not known.
        heavy: entities whose record should be packed again.
        damaged: entities whose value makes no sense; their clicks are not found.
    """

    rows: NDArray[np.float32]
    found: NDArray[np.bool_]
    heavy: NDArray[np.int64]
    damaged: NDArray[np.int64]


@numba.njit(cache=True, error_model="numpy")
def _checksum(data: NDArray[np.uint32], at: Whole, end: Whole) -> np.uint32:
    """Return a checksum of words: FNV-1a, a word at a time."""
    found = np.uint64(0xCBF29CE484222325)
    for word in range(at, end):
        found = (found ^ np.uint64(data[word])) * np.uint64(0x100000001B3)
    return np.uint32((found ^ (found >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


@numba.njit(cache=True, error_model="numpy")
def _long(words: NDArray[np.uint32], at: Whole) -> Whole:
    return np.int64(np.uint64(words[at]) | (np.uint64(words[at + 1]) << np.uint64(32)))


@numba.njit(cache=True, error_model="numpy")
def _count_clicks(
    data: NDArray[np.uint32],
    starts: NDArray[np.int64],
    entry: Whole,
    firsts: NDArray[np.int64],
    damaged: NDArray[np.bool_],
) -> None:
    """Write where each entity's clicks begin among those of all, and whose value makes no sense."""
    firsts[0] = 0
    for entity in range(len(starts) - 1):
        at, end, clicks = starts[entity], starts[entity + 1], np.int64(0)
        while at + HEAD < end:
            count = np.int64(data[at + 2])
            if count == _FOLDED:
                record = at + _RECORD_HEAD
                at = record + np.int64(data[at + HEAD]) // 4
                if at > end or at == record or _checksum(data, record, at - 1) != data[at - 1]:
                    at = end + 1
            else:
                clicks += count
                at += HEAD + count * entry if count > 0 else end + 1
        damaged[entity] |= at != end
        firsts[entity + 1] = firsts[entity] + clicks


@numba.njit(cache=True, error_model="numpy")
def _load(
    values: tuple[NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int64], NDArray[np.uint64]],
    state: tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint16], NDArray[np.int64]],
    shape: tuple[Whole, Whole, Whole],
    clicks: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]],
    key_rows: NDArray[np.int64],
    heavy: NDArray[np.bool_],
    through: NDArray[np.int64],
) -> None:
    """Load the records into a block of state, and the clicks' sequences, times and keys into `clicks`.

    `key_rows` are the rows of the key matrix that hold the entity and the values counted of it. Writes, too, which
    entities should be packed again, and the highest sequence that each value knows of.
    """
    data, halves, starts, keys = values
    words, index, tables, cells, used = state
    stride, sketches, counted = shape
    sequences, times, matrix = clicks
    event = 0
    for entity in range(len(keys)):
        at = starts[entity]
        place = find(index, keys[entity], used) * stride
        tail = starts[entity + 1] - at
        least = np.int64(_LEAST_TAIL)
        while at < starts[entity + 1]:
            base, count = _long(data, at), np.int64(data[at + 2])
            at += HEAD
            if count == _FOLDED:
                through[entity] = max(through[entity], base)
                record = np.int64(data[at]) // 4
                tail -= _RECORD_HEAD + record
                least = max(least, record)
                at += 1
                body = sketches + SKETCH_WORDS * counted
                words[place : place + body] = data[at : at + body]
                at += body
                for sketch in range(counted):
                    where = place + sketches + sketch * SKETCH_WORDS
                    if words[where + TIER] == 1:
                        to = used[TABLES] * TABLE_WORDS
                        tables[to : to + TABLE_WORDS] = data[at : at + TABLE_WORDS]
                        words[where + SLOT] = np.uint32(used[TABLES])
                        used[TABLES] += 1
                        at += TABLE_WORDS
                    elif words[where + TIER] == 2:
                        to = used[DENSE] * DENSE_WORDS
                        cells[to : to + DENSE_WORDS] = halves[2 * at : 2 * at + DENSE_WORDS]
                        words[where + SLOT] = np.uint32(used[DENSE])
                        used[DENSE] += 1
                        at += DENSE_WORDS // 2
                at += 1
            else:
                for _ in range(count):
                    sequences[event] = base + np.int64(data[at])
                    through[entity] = max(through[entity], sequences[event])
                    times[event] = _long(data, at + 1)
                    matrix[key_rows[0], event] = keys[entity]
                    for value in range(counted):
                        matrix[key_rows[value + 1], event] = np.uint64(data[at + _ENTRY + value]) << np.uint64(32)
                    at += _ENTRY + counted
                    event += 1
        heavy[entity] = tail >= least


@numba.njit(cache=True, error_model="numpy")
def _write_entries(
    times: NDArray[np.int64], keys: NDArray[np.uint64], key_rows: NDArray[np.int64], entries: NDArray[np.uint32]
) -> None:
    """Write what a chunk holds of each click; its offset is its place."""
    for click in range(len(times)):
        entries[click, 0] = np.uint32(click)
        entries[click, 1] = np.uint32(np.uint64(times[click]) & np.uint64(0xFFFFFFFF))
        entries[click, 2] = np.uint32(np.uint64(times[click]) >> np.uint64(32))
        for value in range(1, len(key_rows)):
            entries[click, _ENTRY + value - 1] = short_key(keys[key_rows[value], click])


@numba.njit(cache=True, error_model="numpy")
def _find_clicks(
    firsts: NDArray[np.int64],
    sequences: NDArray[np.int64],
    wanted: NDArray[np.int64],
    entities: NDArray[np.int64],
    events: NDArray[np.int64],
) -> None:
    """Write which event each wanted sequence of an entity is, -1 where it is none; the newest are looked at first."""
    for click in range(len(wanted)):
        events[click] = -1
        if entities[click] >= 0:
            event = firsts[entities[click] + 1] - 1
            while event >= firsts[entities[click]] and events[click] < 0:
                if sequences[event] == wanted[click]:
                    events[click] = event
                event -= 1


@numba.njit(cache=True, error_model="numpy")
def _pack(
    state: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16]],
    place: Whole,
    sketches: Whole,
    counted: Whole,
    packed: NDArray[np.uint32],
) -> Whole:
    """Write a record, what its distinct counts point to, and a checksum; returns the words written."""
    words, tables, cells = state
    at = sketches + SKETCH_WORDS * counted
    packed[:at] = words[place : place + at]
    for sketch in range(counted):
        where = place + sketches + sketch * SKETCH_WORDS
        tier, slot = words[where + TIER], np.int64(words[where + SLOT])
        if tier > 0:
            # Slots are of one block of state; in another one they would only say where this one had its own.
            packed[where - place + SLOT] = np.uint32(0)
        if tier == 1:
            packed[at : at + TABLE_WORDS] = tables[slot * TABLE_WORDS : (slot + 1) * TABLE_WORDS]
            at += TABLE_WORDS
        elif tier == 2:
            for pair in range(DENSE_WORDS // 2):
                cell = slot * DENSE_WORDS + 2 * pair
                packed[at + pair] = np.uint32(cells[cell]) | (np.uint32(cells[cell + 1]) << np.uint32(16))
            at += DENSE_WORDS // 2
    packed[at] = _checksum(packed, 0, at)
    return at + 1


def pack_record(state: BlockState, record: int, through: int) -> bytes:
    """Return a record as the first chunk of a value.

    Args:
        state: the block of state that holds it.
        record: its place among the records.
        through: the highest sequence folded into it.
    """
    layout = state.block.layout
    counted = int(layout[SKETCHES])
    sketches = sketches_at(layout)
    packed = np.empty(sketches + counted * (SKETCH_WORDS + max(TABLE_WORDS, DENSE_WORDS // 2)) + 1, np.uint32)
    arrays = (state.words, state.tables, state.cells)
    length = _pack(arrays, record * int(layout[STRIDE]), sketches, counted, packed)
    head = np.array([through & 0xFFFFFFFF, through >> 32 & 0xFFFFFFFF, _FOLDED, 4 * length], np.uint32)
    return head.tobytes() + packed[:length].tobytes()


class Reader:
    """Reads the values of one block's entities and folds their clicks.

    Attributes:
        block: the block.
        columns: the columns of a row that the block writes, int64.
        entry: bytes of a click in a chunk.
    """

    def __init__(self, block: Block, features: int) -> None:
        self.block = block
        self.columns = _columns(block, features)
        self._key_rows = np.array([block.layout[KEY_ROW], *counted_rows(block.layout)], np.int64)
        self.entry = 4 * (_ENTRY + len(self._key_rows) - 1)
        self._features = features
        self._state = BlockState(block, _ENTITIES)
        self._through = np.zeros(0, np.int64)

    def entries(self, clicks: ClickBatch) -> NDArray[np.uint32]:
        """Return what a chunk holds of each click, uint32[n, words]; the offset is the click's place in the batch."""
        entries = np.empty((len(clicks), self.entry // 4), np.uint32)
        _write_entries(clicks.times, clicks.keys, self._key_rows, entries)
        return entries

    def read(
        self,
        keys: NDArray[np.uint64],
        values: Sequence[bytes],
        sequences: NDArray[np.int64],
        entities: NDArray[np.int64],
    ) -> Read:
        """Fold the clicks of values and return the rows of those wanted.

        Args:
            keys: keyed hash of each entity, uint64.
            values: of each entity.
            sequences: of the clicks wanted, int64[n].
            entities: the place in `keys` of each click's entity, -1 where it has none, int64[n].
        """
        data, starts, firsts, damaged = self._chunks(values)
        count = int(firsts[-1])
        # One click more, without the entity: what clicks that have none read.
        times, numbers = np.zeros(count + 1, np.int64), np.empty(count, np.int64)
        matrix = np.zeros((int(self._key_rows.max()) + 1, count + 1), np.uint64)
        heavy, through = np.zeros(len(values), np.bool_), np.full(len(values), -1, np.int64)
        self._clear()
        self._make_pools(len(values))
        state = self._state
        arrays = (state.words, state.index, state.tables, state.cells, state.used)
        shape = (int(self.block.layout[STRIDE]), sketches_at(self.block.layout), len(self._key_rows) - 1)
        held = (data, data.view(np.uint16), starts, keys)
        _load(held, arrays, shape, (numbers, times, matrix), self._key_rows, heavy, through)
        events = np.empty(len(sequences), np.int64)
        _find_clicks(firsts, numbers, sequences, entities, events)
        events[entities < 0] = count
        self._through = through
        rows = self._fold(times, matrix)
        return Read(rows[np.maximum(events, 0)], events >= 0, np.flatnonzero(heavy), np.flatnonzero(damaged))

    def packed(self, entity: int) -> bytes:
        """Return the record of an entity of the last `read`, all its clicks folded in, as the chunk of a value."""
        return pack_record(self._state, entity, int(self._through[entity]))

    def _chunks(
        self, values: Sequence[bytes]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the words of values, where each begins, where its clicks do, and which are damaged and left out."""
        starts, firsts = np.zeros(len(values) + 1, np.int64), np.empty(len(values) + 1, np.int64)
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        damaged = sizes % 4 != 0
        while True:
            for entity in np.flatnonzero(damaged).tolist() if damaged.any() else ():
                values, sizes[entity] = [*values[:entity], b"", *values[entity + 1 :]], 0
            data, bad = np.frombuffer(b"".join(values), np.uint32), np.zeros(len(values), np.bool_)
            np.cumsum(sizes // 4, out=starts[1:])
            _count_clicks(data, starts, self.entry // 4, firsts, bad)
            if not bad.any():
                return data, starts, firsts, damaged
            damaged |= bad

    def _fold(self, times: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.float32]:
        rows = np.empty((len(times), len(self.columns)), np.float32)
        for start in range(0, len(times), _PIECE):
            part = slice(start, start + _PIECE)
            whole = np.empty((len(times[part]), self._features), np.float32)
            none = np.zeros(len(whole), np.int8)
            batch = ClickBatch(
                none.view(np.uint8).astype(np.uint64), times[part], none, np.ascontiguousarray(keys[:, part])
            )
            self._state.fold(batch, whole)
            rows[part] = whole[:, self.columns]
        return rows

    def _clear(self) -> None:
        state = self._state
        state.words[: int(state.used[LIVE]) * int(self.block.layout[STRIDE])] = 0
        state.index[:] = 0
        state.used[:] = 0

    def _make_pools(self, entities: int) -> None:
        """Set aside a table and cells for every distinct count of the entities to be read."""
        state, slots = self._state, (entities + 64) * (len(self._key_rows) - 1)
        if min(len(state.tables) // TABLE_WORDS, len(state.cells) // DENSE_WORDS) < slots:
            state.tables = np.zeros(2 * slots * TABLE_WORDS, np.uint32)
            state.cells = np.zeros(2 * slots * DENSE_WORDS, np.uint16)
            state.free = np.zeros((2, 2 * slots), np.int32)


def _columns(block: Block, features: int) -> NDArray[np.int64]:
    """Return the columns of a row that a block writes: those that a click without the entity overwrites."""
    rows = np.full((1, features), np.nan, np.float32)
    none, height = np.zeros(1, np.int64), 1 + max([int(block.layout[KEY_ROW]), *counted_rows(block.layout)])
    BlockState(block, _ENTITIES).fold(
        ClickBatch(none.astype(np.uint64), none, none.astype(np.int8), np.zeros((height, 1), np.uint64)), rows
    )
    return np.flatnonzero(~np.isnan(rows[0]))
