"""Values: a record packed and read again goes on as if it had never been packed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.batches import START, assert_same_bits

from slidr.clock import MINUTE, SECOND
from slidr.features.block import BlockState
from slidr.features.catalogue import Burst, Clicks, Distinct, Gap, Velocity, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import TIER
from slidr.features.layout import SKETCH_WORDS, compile_catalogue, sketches_at
from slidr.features.redis.values import Reader, pack_record

LAYOUT = compile_catalogue(
    check_catalogue(
        (
            Clicks("ip", "1h"), Velocity("ip", "30m"), Gap("ip", "mean"), Burst("ip", "1m", "1h"),
            Distinct("user", "ip", "1h"), Distinct("session", "ip", "1h"),
        )
    )
)  # fmt: skip
(BLOCK,) = LAYOUT.blocks
READER = Reader(BLOCK, len(LAYOUT.names))
KEY = np.array([5 << 40], np.uint64)
NONE = np.zeros(0, np.int64)


def clicks_of(users: int, sessions: int, count: int, seed: int) -> ClickBatch:
    """Return clicks of one ip, of as many users and sessions as asked for, within minutes."""
    generator = np.random.default_rng(seed)
    keys = np.zeros((len(LAYOUT.keys), count), np.uint64)
    keys[LAYOUT.keys.index(("ip",))] = KEY
    for row, kinds in ((0, users), (1, sessions)):
        hashes = generator.integers(1, 2**64 - 1, kinds, dtype=np.uint64)
        keys[row] = hashes[np.arange(count) % kinds]
    times = START + np.sort(generator.integers(0, 10 * MINUTE, count))
    return ClickBatch(np.arange(1, count + 1, dtype=np.uint64), times, np.zeros(count, np.int8), keys)


def chunk(clicks: ClickBatch, base: int) -> bytes:
    """Return clicks as Redis appends them."""
    head: np.ndarray[Any, np.dtype[np.uint32]] = np.array([base, 0, len(clicks)], np.uint32)
    return head.tobytes() + READER.entries(clicks).tobytes()


# Of inline values, a table and cells, each with each.
KINDS = st.sampled_from([1, 3, 8, 9, 40, 64, 65, 300])


@settings(max_examples=40)
@given(users=KINDS, sessions=KINDS, split=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_packed_record_goes_on(users: int, sessions: int, split: float, seed: int) -> None:
    """Packed after any click and read again with the rest behind it, the rows are those of one fold, bit for bit."""
    clicks = clicks_of(users, sessions, 400, seed)
    at = int(split * 399)
    expected = np.zeros((400, len(LAYOUT.names)), np.float32)
    state = BlockState(BLOCK, 8)
    state.fold(clicks, expected)
    begun = BlockState(BLOCK, 8)
    begun.fold(clicks.take(slice(0, at)), np.zeros((at, len(LAYOUT.names)), np.float32))
    packed = pack_record(begun, 0, at - 1) if at else b""
    wanted = np.arange(at, 400)
    read = READER.read(KEY, [packed + chunk(clicks.take(slice(at, 400)), at)], wanted, np.zeros(400 - at, np.int64))
    assert read.found.all()
    assert not len(read.damaged)
    assert_same_bits(read.rows, expected[at:][:, READER.columns])
    # What the reader packs is what the block itself packs.
    whole = READER.packed(0)
    again = READER.read(KEY, [whole], NONE, NONE)
    assert READER.packed(0) == whole
    assert not len(again.damaged)
    assert whole == READER.packed(0)


def test_every_tier_is_packed() -> None:
    """The kinds above reach the record itself, tables and cells."""
    tiers = set()
    for kinds in (3, 40, 300):
        state = BlockState(BLOCK, 8)
        state.fold(clicks_of(kinds, 3, 400, 1), np.zeros((400, len(LAYOUT.names)), np.float32))
        tiers.add(int(state.words[sketches_at(BLOCK.layout) + TIER]))
        assert state.words[sketches_at(BLOCK.layout) + SKETCH_WORDS + TIER] == 0
    assert tiers == {0, 1, 2}


@given(garbage=st.binary(max_size=300))
def test_any_bytes_are_read(garbage: bytes) -> None:
    """Whatever a value holds, reading it raises nothing and leaves the others as they are."""
    clicks = clicks_of(3, 3, 20, 1)
    keys = np.array([1 << 40, KEY[0], 2 << 40], np.uint64)
    expected = READER.read(KEY, [chunk(clicks, 0)], np.arange(20), np.zeros(20, np.int64)).rows
    read = READER.read(keys, [garbage, chunk(clicks, 0), garbage], np.arange(20), np.ones(20, np.int64))
    assert read.found.all()
    assert_same_bits(read.rows, expected)


def test_a_long_tail_is_heavy() -> None:
    """A tail that outweighs the record is to be packed, a short one is not, and no record at all needs a hundred."""
    short, long = clicks_of(3, 3, 10, 1), clicks_of(3, 3, 60, 1)
    read = READER.read(np.array([1, 2], np.uint64), [chunk(short, 0), chunk(long, 0)], NONE, NONE)
    assert read.heavy.tolist() == [1]
    assert long.times[-1] - long.times[0] > SECOND
