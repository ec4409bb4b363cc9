"""Values: what Redis keeps of an entity, its packed record and the clicks appended since, and the fold over them.

`library.lua` lays a value out as chunks of 32-bit words. Here one kernel takes value after value: it loads the record,
runs the one fold over the clicks behind it, and packs the record again once these outweigh it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.block import BlockState
from slidr.features.distinct import (
    DENSE,
    DENSE_WORDS,
    SLOT,
    TABLE_WORDS,
    TABLES,
    TIER,
    USED,
    State,
)
from slidr.features.fold import Views, join_click, null_row
from slidr.features.kernel import kernel
from slidr.features.layout import SKETCH_WORDS, SKETCHES, STRIDE, Layout, sketches_at
from slidr.features.redis.entities import ENTRY, Entities, Groups, Rows

HEAD = 3
"""Words before a chunk's clicks: base (two) and count."""
_FOLDED = 0xFFFFFFFF
_RECORD_HEAD = HEAD + 1
_LEAST_RECORD = 512
"""Words that every record is taken to weigh: a small one is not packed again after every few clicks."""
_MOST_PACKED = 64
"""Records packed at one read, about; others wait until they are read again."""
_NONSENSE = bytes(4)
"""A value that is damaged, in place of one whose length is not of whole words."""
Values: TypeAlias = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]
"""Words of all values, where each begins, sequences wanted."""
Batch: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]]
"""A click's time, key matrix, row and soundness, by the place in the call; the last place is for clicks not wanted."""

Record: TypeAlias = tuple[State, Views, NDArray[np.uint32], NDArray[np.uint16]]
"""A state with room for one record, the views of it, room for the words of a packed one, and those as halves."""


class Read(NamedTuple):
    """What reading and folding values gave.

    Attributes:
        rows: float32[n, features], 0 where the row is not known.
        found: whether the click still stood in its entity's value, bool[blocks, n].
        soundness: of the rows, as `BlockState.fold` tells it, uint8[blocks, n].
        packed: the records that should be put in the place of values, by the entity's place.
        damaged: entities whose value makes no sense; their clicks are not found.
    """

    rows: NDArray[np.float32]
    found: NDArray[np.bool_]
    soundness: NDArray[np.uint8]
    packed: dict[int, bytes]
    damaged: NDArray[np.int64]


@kernel(inline=True)
def _checksum(data: NDArray[np.uint32], at: Whole, end: Whole) -> np.uint32:
    """Return a checksum of words: FNV-1a, a word at a time."""
    found = np.uint64(0xCBF29CE484222325)
    for word in range(at, end):
        found = (found ^ np.uint64(data[word])) * np.uint64(0x100000001B3)
    return np.uint32((found ^ (found >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


@kernel(inline=True)
def _long(words: NDArray[np.uint32], at: Whole) -> Whole:
    return np.int64(np.uint64(words[at]) | (np.uint64(words[at + 1]) << np.uint64(32)))


@kernel()
def _makes_sense(data: NDArray[np.uint32], at: Whole, end: Whole, entry: Whole) -> bool:
    """Return whether a value is a run of whole chunks with records as they were packed."""
    while at + HEAD < end:
        count = np.int64(data[at + 2])
        if count == _FOLDED:
            record = at + _RECORD_HEAD
            at = record + np.int64(data[at + HEAD]) // 4
            if at > end or at == record or _checksum(data, record, at - 1) != data[at - 1]:
                return False
        elif count == 0:
            return False
        else:
            at += HEAD + count * entry
    return bool(at == end)


@kernel(inline=True)
def _expand(data: NDArray[np.uint32], at: Whole, whole: NDArray[np.uint32]) -> None:
    """Write the words of a record that `_squeeze` left out zeros of."""
    length: Whole = min(np.int64(data[at]), len(whole))
    marks = at + 1
    at = marks + (length + 31) // 32
    for first in range(0, length, 32):
        marked = data[marks + first // 32]
        for word in range(first, min(first + 32, length)):
            whole[word] = np.uint32(0)
            if marked & np.uint32(1):
                whole[word] = data[at]
                at += 1
            marked >>= np.uint32(1)


@kernel(inline=True)
def _squeeze(whole: NDArray[np.uint32], length: Whole, packed: NDArray[np.uint32], at: Whole) -> Whole:
    """Write how many words there are, a bit for each that is not zero, and those; most are zero. Returns the end."""
    packed[at] = np.uint32(length)
    marks = at + 1
    at = marks + (length + 31) // 32
    for first in range(0, length, 32):
        marked = np.uint32(0)
        for word in range(first, min(first + 32, length)):
            if whole[word] != 0:
                marked |= np.uint32(1) << np.uint32(word - first)
                packed[at] = whole[word]
                at += 1
        packed[marks + first // 32] = marked
    return at


@kernel()
def _load(data: NDArray[np.uint32], at: Whole, record: Record, layout: NDArray[np.int64]) -> None:
    """Load a packed record into the state, as its only one."""
    state, _views, whole, halves = record
    words, tables, cells, _free, used = state
    _expand(data, at, whole)
    used[:] = 0
    sketches = sketches_at(layout)
    body = sketches + SKETCH_WORDS * layout[SKETCHES]
    for word in range(body):
        words[word] = whole[word]
    at = body
    for place in range(sketches, body, SKETCH_WORDS):
        if words[place + TIER] == 1:
            table = used[TABLES] * TABLE_WORDS
            for word in range(TABLE_WORDS):
                tables[table + word] = whole[at + word]
            words[place + SLOT] = np.uint32(used[TABLES])
            used[TABLES] += 1
            at += TABLE_WORDS
        elif words[place + TIER] == 2:
            dense = used[DENSE] * DENSE_WORDS
            for cell in range(DENSE_WORDS):
                cells[dense + cell] = halves[2 * at + cell]
            words[place + SLOT] = np.uint32(used[DENSE])
            used[DENSE] += 1
            at += DENSE_WORDS // 2


@kernel()
def _pack(
    state: State,
    place: Whole,
    layout: NDArray[np.int64],
    through: Whole,
    whole: NDArray[np.uint32],
    packed: NDArray[np.uint32],
) -> Whole:
    """Write a record as a chunk: head, record with its tables and cells, checksum; returns the words written.

    `place` is the record's first word, `through` the highest sequence folded into it, `whole` room for its words.
    """
    words, tables, cells = state[0], state[1], state[2]
    sketches = sketches_at(layout)
    at = sketches + SKETCH_WORDS * layout[SKETCHES]
    for word in range(at):
        whole[word] = words[place + word]
    for sketch in range(sketches, at, SKETCH_WORDS):
        tier, slot = whole[sketch + TIER], np.int64(whole[sketch + SLOT])
        if tier > 0:
            # Slots are of one state; in another one they would only say where this one had its own.
            whole[sketch + SLOT] = np.uint32(0)
        if tier == 1:
            for word in range(TABLE_WORDS):
                whole[at + word] = tables[slot * TABLE_WORDS + word]
            at += TABLE_WORDS
        elif tier == 2:
            for pair in range(DENSE_WORDS // 2):
                cell = slot * DENSE_WORDS + 2 * pair
                whole[at + pair] = np.uint32(cells[cell]) | (np.uint32(cells[cell + 1]) << np.uint32(16))
            at += DENSE_WORDS // 2
    end = _squeeze(whole, at, packed, _RECORD_HEAD)
    packed[end] = _checksum(packed, _RECORD_HEAD, end)
    packed[0], packed[1] = np.uint32(through & 0xFFFFFFFF), np.uint32(through >> 32)
    packed[2], packed[3] = np.uint32(_FOLDED), np.uint32(4 * (end + 1 - _RECORD_HEAD))
    return end + 1


@kernel(inline=True)
def _wanted(sequences: NDArray[np.int64], groups: Groups, entity: Whole, sequence: Whole) -> Whole:
    """Return which click of an entity has a sequence; the last place where none does."""
    members, order = groups[1], groups[2]
    for member in range(members[entity], members[entity + 1]):
        if sequences[order[member]] == sequence:
            return order[member]
    return np.int64(len(sequences))


@kernel(inline=True)
def _fold(
    values: Values,
    groups: Groups,
    entity: Whole,
    record: Record,
    layout: tuple[NDArray[np.int64], NDArray[np.int64]],
    batch: Batch,
    found: NDArray[np.bool_],
) -> tuple[Whole, Whole, Whole]:
    """Fold the clicks of one entity's value behind its record, and write the rows of those wanted.

    Returns the highest sequence in the value, the words of clicks behind its record, and those of the record.
    """
    data, starts, sequences = values
    at, end = starts[entity], starts[entity + 1]
    through, tail, length = np.int64(-1), end - at, np.int64(0)
    first = np.int64(1 << 62)
    for member in range(groups[1][entity], groups[1][entity + 1]):
        first = min(first, sequences[groups[2][member]])
    record[0][4][:] = 0
    record[0][0][:] = np.uint32(0)
    while at < end:
        base, count = _long(data, at), np.int64(data[at + 2])
        at += HEAD
        if count == _FOLDED:
            through, length = max(through, base), np.int64(data[at]) // 4
            _load(data, at + 1, record, layout[0])
            at += 1 + length
            tail = end - at
            continue
        for _ in range(count):
            sequence = base + np.int64(data[at])
            through = max(through, sequence)
            # Clicks older than all that are wanted, which most are, need not be looked for.
            click: Whole = np.int64(len(sequences))
            if sequence >= first:
                click = _wanted(sequences, groups, entity, sequence)
            batch[0][click] = _long(data, at + 1)
            at += ENTRY
            for row in layout[1]:
                if row >= 0:
                    batch[1][row, click] = np.uint64(data[at]) << np.uint64(32)
                    at += 1
            join_click(record[0], record[1], layout[0], batch, 0, click)
            found[click] = True
    return through, tail, length


@kernel(nogil=True)
def _read(
    values: Values,
    groups: Groups,
    record: Record,
    layouts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    batch: Batch,
    out: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.uint32], NDArray[np.int64]],
    weight: float,
) -> None:
    """Read all values and write the rows; in `out`, which clicks were found, which entities are damaged, and packed.

    Args:
        values: see `Values`.
        groups: see `Groups`.
        record: room for one record.
        layouts: those of all blocks, where each begins, the rows of the key matrix that each counts.
        batch: see `Batch`, but with the soundness of every block.
        out: (found, damaged, room for packed records, where that of each entity ends).
        weight: how often its record the clicks of a value have to weigh to be packed into it.
    """
    data, starts, sequences = values
    firsts, of = groups[0], groups[3]
    times, keys, rows, soundness = batch
    found, damaged, packed, ends = out
    clicks = len(sequences)
    for block in range(len(firsts) - 1):
        layout, counted = layouts[0][layouts[1][block] : layouts[1][block + 1]], layouts[2][block]
        entry = ENTRY + layout[SKETCHES]
        for click in range(clicks):
            if of[block * clicks + click] < 0:
                null_row(layout, rows[click])
                found[block, click] = True
        for entity in range(firsts[block], firsts[block + 1]):
            ends[entity + 1] = ends[entity]
            if not _makes_sense(data, starts[entity], starts[entity + 1], entry):
                damaged[entity] = True
                continue
            own = (times, keys, rows, soundness[block])
            through, tail, length = _fold(values, groups, entity, record, (layout, counted), own, found[block])
            heavy = tail > 0 and tail >= weight * max(length, _LEAST_RECORD)
            if heavy and ends[entity] + _most_words(layout) <= len(packed):
                ends[entity + 1] += _pack(record[0], 0, layout, through, record[2], packed[ends[entity] :])


@kernel()
def _most_words(layout: NDArray[np.int64]) -> Whole:
    """Return the words of the largest chunk that a packed record makes."""
    whole = sketches_at(layout) + layout[SKETCHES] * (SKETCH_WORDS + max(TABLE_WORDS, DENSE_WORDS // 2))
    return _RECORD_HEAD + 1 + (whole + 31) // 32 + whole + 1


def pack_record(state: BlockState, record: int, through: int) -> bytes:
    """Return a record as the first chunk of a value.

    Args:
        state: the block of state that holds it.
        record: its place among the records.
        through: the highest sequence folded into it.
    """
    layout = state.block.layout
    whole, packed = np.empty((2, _most_words(layout)), np.uint32)
    arrays = (state.words, state.tables, state.cells, state.free, state.used)
    length = _pack(arrays, record * int(layout[STRIDE]), layout, through, whole, packed)
    return packed[:length].tobytes()


class Reader:
    """Reads the values of all blocks' entities and folds their clicks.

    Args:
        layout: the compiled catalogue.
        weight: how often its record the clicks of a value have to weigh to be packed into it.

    Attributes:
        rows: the rows of the key matrix that the blocks read.
    """

    def __init__(self, layout: Layout, weight: float = 0.25) -> None:
        self.rows = Rows(layout.blocks)
        self._weight = weight
        self._features, self._height = len(layout.names), len(layout.keys)
        shapes = [block.layout for block in layout.blocks]
        begins = np.cumsum([0, *map(len, shapes)])
        self._layouts = np.concatenate([np.zeros(0, np.int64), *shapes]), begins, self.rows.counted
        slots = self.rows.counted.shape[1] + 1
        words = np.zeros(max((int(shape[STRIDE]) for shape in shapes), default=0), np.uint32)
        pools = np.zeros(slots * TABLE_WORDS, np.uint32), np.zeros(slots * DENSE_WORDS, np.uint16)
        most = max((_most_words(shape) for shape in shapes), default=0)
        whole = np.zeros(most, np.uint32)
        self._record: Record = (
            (words, *pools, np.zeros((2, slots), np.int32), np.zeros(USED, np.int64)),
            (words.view(np.float32), words.view(np.int64)),
            whole,
            whole.view(np.uint16),
        )
        self._packed = np.empty(_MOST_PACKED * most, np.uint32)

    def read(self, entities: Entities, values: Sequence[bytes], sequences: NDArray[np.int64]) -> Read:
        """Fold the clicks of values and return the rows of those wanted.

        Args:
            entities: of the call.
            values: of each entity.
            sequences: of the clicks wanted, int64[n]; the sequence of one that is not known is in no value.
        """
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        if (sizes % 4).any():
            values = [_NONSENSE if len(value) % 4 else value for value in values]
            sizes[sizes % 4 != 0] = len(_NONSENSE)
        starts = np.zeros(len(values) + 1, np.int64)
        np.cumsum(sizes // 4, out=starts[1:])
        data = np.frombuffer(b"".join(values), np.uint32)
        clicks, blocks = len(sequences), len(self.rows.own)
        rows = np.zeros((clicks + 1, self._features), np.float32)
        soundness = np.zeros((blocks, clicks + 1), np.uint8)
        found = np.zeros((blocks, clicks + 1), np.bool_)
        damaged, ends = np.zeros(len(values), np.bool_), np.zeros(len(values) + 1, np.int64)
        batch = np.empty(clicks + 1, np.int64), np.zeros((self._height, clicks + 1), np.uint64), rows, soundness
        held, out = (data, starts, sequences), (found, damaged, self._packed, ends)
        _read(held, entities.groups, self._record, self._layouts, batch, out, self._weight)
        packed = {
            entity: self._packed[ends[entity] : ends[entity + 1]].tobytes()
            for entity in np.flatnonzero(np.diff(ends)).tolist()
        }
        return Read(rows[:-1], found[:, :-1], soundness[:, :-1], packed, np.flatnonzero(damaged))
