"""The fold of a batch: its clicks go into one block after another, in one call for all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slidr.features.arithmetic import Whole
from slidr.features.distinct import DENSE, DENSE_WORDS, FREE_DENSE, FREE_TABLES, LIVE, TABLE_WORDS, TABLES, State
from slidr.features.evicted import take_mark
from slidr.features.fold import join_click, null_row
from slidr.features.kernel import kernel
from slidr.features.layout import DOUBTFUL, HORIZON, KEY_ROW, SKETCHES, STRIDE
from slidr.features.pointers import array_at
from slidr.features.prefetch import natural, prefetch

AHEAD = 8
"""Clicks between asking for a cache line and using it."""
PLACES = 18
"""Addresses and lengths of the arrays of a block."""
_words, _floats, _longs = array_at(np.uint32), array_at(np.float32), array_at(np.int64)
_cells, _slots = array_at(np.uint16), array_at(np.int32, rows=2)


@kernel(inline=True)
def find(index: NDArray[np.int64], key: np.uint64, used: NDArray[np.int64], room: Whole = 1 << 62) -> Whole:
    """Return the record of a key, which is given the next free one of `room` where it has none; -1 where none is free.

    The index holds pairs (key, record) by linear probing; its length is a power of two, and key 0 marks a free pair.
    """
    wanted = np.int64(key)
    mask = len(index) // 2 - 1
    slot = wanted & mask
    while True:
        held = index[2 * slot]
        if held == wanted:
            return index[2 * slot + 1]
        if held == 0:
            if used[LIVE] >= room:
                return -1
            index[2 * slot] = wanted
            index[2 * slot + 1] = used[LIVE]
            used[LIVE] += 1
            return used[LIVE] - 1
        slot = (slot + 1) & mask


@kernel()
def _fold_block(
    state: State,
    views: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64]],
    layout: NDArray[np.int64],
    batch: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32], NDArray[np.uint8]],
    start: Whole,
) -> Whole:
    """Fold the clicks from `start` on into one block; returns the first one not folded, see `fold_blocks`.

    Args:
        state: (records, tables, dense cells, free lists, used).
        views: (records as float32, records as int64, index of pairs key and record, marks of evicted keys, room for
            AHEAD numbers).
        layout: the block's layout array.
        batch: (times in microseconds UTC, key matrix (columns, clicks), rows (clicks, features), soundness).
        start: the first click to fold.
    """
    words, tables, cells, _free, used = state
    index, marks, records = views[2], views[3], views[4]
    times, keys = batch[0], batch[1]
    stride, mine = layout[STRIDE], keys[layout[KEY_ROW]]
    clicks, mask, room = len(times), len(index) // 2 - 1, len(words) // stride
    most_tables = len(tables) // TABLE_WORDS - layout[SKETCHES]
    most_dense = len(cells) // DENSE_WORDS - layout[SKETCHES]
    step = start
    while step < clicks + 2 * AHEAD:
        if step < clicks:
            prefetch(index, 2 * (np.int64(mine[step]) & mask))
        click = step - 2 * AHEAD
        if click >= start:
            if used[TABLES] - used[FREE_TABLES] > most_tables or used[DENSE] - used[FREE_DENSE] > most_dense:
                return click
            record = records[click & (AHEAD - 1)]
            if record < 0:
                null_row(layout, batch[2][click])
            else:
                join_click(state, (views[0], views[1]), layout, batch, natural(record * stride), click)
        near = step - AHEAD
        if start <= near < clicks:
            record = np.int64(-1)
            if mine[near] != 0:
                live = used[LIVE]
                record = find(index, mine[near], used, room)
                if record < 0:
                    # Full: what was found before is folded first, so that batches of any size evict alike.
                    clicks = near
                elif record == live and len(marks) and take_mark(marks, mine[near], times[near], layout[HORIZON]):
                    words[record * stride + DOUBTFUL] = np.uint32((times[near] + layout[HORIZON]) // 1_000_000 + 1)
                for line in range(0, stride, 16):
                    prefetch(words, record * stride + line)
            records[near & (AHEAD - 1)] = record
        step += 1
    return clicks


@kernel(nogil=True)
def fold_blocks(
    places: NDArray[np.int64],
    batch: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.float32]],
    soundness: NDArray[np.uint8],
    first: Whole,
    block: Whole,
    click: Whole,
) -> tuple[Whole, Whole]:
    """Fold clicks into one block after another, and write the blocks' columns of their rows.

    Returns the block and the click at which it ended: behind the last block, or where no record was free for the click
    or a pool of distinct counts ran out; the fold goes on from there once there is room.

    Args:
        places: where the arrays of each block are, see `locate`; int64[blocks, PLACES].
        batch: (times in microseconds UTC, key matrix (columns, clicks), rows (clicks, features)).
        soundness: of the rows by block, uint8[blocks, first + clicks or more].
        first: column of the soundness that is the first click's.
        block: the first block to fold into.
        click: the first click to fold into it.
    """
    times, keys, rows = batch
    clicks = len(times)
    while block < len(places):
        at = places[block]
        words, floats, longs = _words(at[0], at[1]), _floats(at[0], at[1]), _longs(at[0], at[1] // 2)
        state = (words, _words(at[2], at[3]), _cells(at[4], at[5]), _slots(at[6], at[7]), _longs(at[8], at[9]))
        views = (floats, longs, _longs(at[10], at[11]), _words(at[12], at[13]), _longs(at[14], at[15]))
        doubts = soundness[block][first : first + clicks]
        click = _fold_block(state, views, _longs(at[16], at[17]), (times, keys, rows, doubts), click)
        if click < clicks:
            break
        block, click = block + 1, 0
    return block, click


def locate(
    state: State,
    index: NDArray[np.int64],
    marks: NDArray[np.uint32],
    near: NDArray[np.int64],
    layout: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return where the arrays of a block are, as addresses and lengths, int64[PLACES].

    It holds until one of them is replaced.

    Args:
        state: (records, tables, dense cells, free lists, used).
        index: pairs of key and record.
        marks: of evicted keys.
        near: room for AHEAD numbers.
        layout: the block's layout array.
    """
    arrays = (*state, index, marks, near, layout)
    return np.array([number for array in arrays for number in (array.ctypes.data, array.shape[-1])], np.int64)
