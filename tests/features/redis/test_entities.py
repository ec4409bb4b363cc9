"""Entities: what a call's clicks touch, and the bytes that are added to the value of each."""

from __future__ import annotations

import struct
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slidr.features.catalogue import Clicks, Distinct
from slidr.features.clicks import ClickBatch
from slidr.features.layout import compile_catalogue
from slidr.features.redis.entities import ENTRY, Entities, Rows

LAYOUT = compile_catalogue((
    Clicks(("user",), "1h"),
    Clicks(("ip",), "1h"),
    Distinct("user", ("ip",), "1h"),
    Distinct("session", ("ip",), "1h"),
))  # fmt: skip
ROWS = Rows(LAYOUT.blocks)
BLOCKS = [LAYOUT.keys.index(block.entity) for block in LAYOUT.blocks]
"""The row of the key matrix of each block's entity."""
COUNTED = [[], [LAYOUT.keys.index(("user",)), LAYOUT.keys.index(("session",))]]
# Null, keys whose halves differ, and one whose upper half is zero as that of null is.
few = st.sampled_from([0, (3 << 61) + (1 << 32) + 7, (1 << 40) + 14, 5])
calls = st.lists(st.tuples(few, few, few, st.integers(-(2**40), 2**52)), max_size=30)


def batch_of(clicks: list[tuple[int, int, int, int]]) -> ClickBatch:
    """Return clicks given as (user, session, ip, time); 0 is null."""
    keys: NDArray[np.uint64] = np.zeros((len(LAYOUT.keys), len(clicks)), np.uint64)
    for row, column in enumerate(("user", "session", "ip")):
        keys[LAYOUT.keys.index((column,))] = [click[row] for click in clicks]
    count = len(clicks)
    times = np.array([click[3] for click in clicks], np.int64)
    return ClickBatch(np.arange(1, count + 1).astype(np.uint64), times, np.zeros(count, np.int8), keys)


def entry(batch: ClickBatch, block: int, click: int) -> bytes:
    """Return what the library calls an entry of a click, without its offset: its time and its counted values."""
    keys = [int(batch.keys[row, click]) for row in COUNTED[block]]
    values = [key >> 32 or min(key, 1) for key in keys]
    return struct.pack(f"<q{len(values)}I", batch.times[click], *values)


def touched(batch: ClickBatch) -> list[tuple[int, int, list[int]]]:
    """Return block, key and clicks of each entity, in the order of the blocks and of the first click of each."""
    found: dict[tuple[int, int], list[int]] = {}
    for block, row in enumerate(BLOCKS):
        for click, key in enumerate(batch.keys[row].tolist()):
            if key:
                found.setdefault((block, key), []).append(click)
    return [(block, key, clicks) for (block, key), clicks in found.items()]


def test_rows_of_the_blocks() -> None:
    """A block reads its entity's row and those of the columns it counts, and a click takes a word more for each."""
    assert ROWS.own.tolist() == BLOCKS
    assert ROWS.counted.tolist() == [[-1, -1], COUNTED[1]]
    assert ROWS.entries == [4 * ENTRY, 4 * (ENTRY + 2)]


@given(calls, st.integers(1, 5))
def test_clicks_are_grouped_by_entity(clicks: list[tuple[int, int, int, int]], partitions: int) -> None:
    """Every entity stands once, block by block, with its clicks in their order; a click without one has none."""
    batch = batch_of(clicks)
    entities = Entities(ROWS, batch, partitions)
    expected = touched(batch)
    assert len(entities) == len(expected)
    assert list(zip(entities.blocks(), entities.keys.tolist(), strict=True)) == [entity[:2] for entity in expected]
    assert entities.homes.tolist() == [key % partitions for _, key, _ in expected]
    firsts, members, order, _ = entities.groups
    assert np.diff(firsts).tolist() == [len(list(touching)) for touching in by_block(expected)]
    for place, (block, _, own) in enumerate(expected):
        assert order[members[place] : members[place + 1]].tolist() == own
        assert np.flatnonzero(entities.of[block] == place).tolist() == own
    nobody = [(batch.keys[row] == 0).tolist() for row in BLOCKS]
    assert (entities.of == -1).tolist() == nobody


def by_block(expected: list[tuple[int, int, list[int]]]) -> list[list[tuple[int, int, list[int]]]]:
    """Return the entities of each block."""
    groups = {block: list(group) for block, group in groupby(expected, key=lambda entity: entity[0])}
    return [groups.get(block, []) for block in range(len(BLOCKS))]


@given(calls)
def test_chunks_are_laid_out_as_the_library_reads_them(clicks: list[tuple[int, int, int, int]]) -> None:
    """A chunk is the number of clicks, and for each its place in the call, its time, and its counted values."""
    batch = batch_of(clicks)
    expected = [
        struct.pack("<I", len(own)) + b"".join(struct.pack("<I", click) + entry(batch, block, click) for click in own)
        for block, _, own in touched(batch)
    ]
    assert Entities(ROWS, batch, 3).chunks() == expected


@given(calls, st.integers(0, 2**52))
def test_a_repair_names_the_sequence_of_every_click(clicks: list[tuple[int, int, int, int]], first: int) -> None:
    """For a repair each click has its own sequence before it, an offset of zero, and no number leads them."""
    batch = batch_of(clicks)
    sequences = first + 3 * np.arange(len(batch))
    expected = [
        b"".join(struct.pack("<qI", sequences[click], 0) + entry(batch, block, click) for click in own)
        for block, _, own in touched(batch)
    ]
    assert Entities(ROWS, batch, 1).wanted(sequences) == expected


@pytest.mark.parametrize("partitions", [1, 2**20])
def test_a_call_without_entities(partitions: int) -> None:
    """Clicks that name nobody touch nothing."""
    entities = Entities(ROWS, batch_of([(0, 0, 0, 5), (0, 0, 0, 6)]), partitions)
    assert len(entities) == 0
    assert entities.blocks() == []
    assert entities.chunks() == entities.wanted(np.array([1, 2])) == []
