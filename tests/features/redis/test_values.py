"""Values: a record packed and read again goes on as if it had never been packed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.batches import START, assert_same_bits

from slidr.clock import MINUTE, SECOND
from slidr.features.block import BlockState
from slidr.features.catalogue import Burst, Clicks, Distinct, Gap, Velocity, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.distinct import TIER
from slidr.features.layout import DOUBTFUL, SKETCH_WORDS, compile_catalogue, sketches_at
from slidr.features.redis.entities import Entities
from slidr.features.redis.values import Reader, pack_record
from slidr.features.store import Soundness

LAYOUT = compile_catalogue(
    check_catalogue(
        (
            Clicks("ip", "1h"), Velocity("ip", "30m"), Gap("ip", "mean"), Burst("ip", "1m", "1h"),
            Distinct("user", "ip", "1h"), Distinct("session", "ip", "1h"),
        )
    )
)  # fmt: skip
(BLOCK,) = LAYOUT.blocks
READER = Reader(LAYOUT)
KEY = 5 << 40
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
    """Return clicks of one ip as Redis appends them."""
    (added,) = touched(clicks).chunks() if len(clicks) else (b"",)
    return base.to_bytes(8, "little") * bool(added) + added


def touched(clicks: ClickBatch) -> Entities:
    """Return the entities of clicks."""
    return Entities(READER.rows, clicks, 1)


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
    rest = clicks.take(slice(at, 400))
    reader = Reader(LAYOUT, weight=0.0)
    read = reader.read(touched(rest), [packed + chunk(rest, at)], np.arange(at, 400))
    assert read.found.all()
    assert not len(read.damaged)
    assert_same_bits(read.rows, expected[at:])
    # What the reader packs is what the block itself packs.
    assert read.packed == {0: pack_record(state, 0, 399)}


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
    expected = READER.read(touched(clicks), [chunk(clicks, 0)], np.arange(20)).rows
    keys = np.repeat(clicks.keys, 3, axis=1)
    keys[LAYOUT.keys.index(("ip",))] = np.tile(np.array([1 << 40, KEY, 2 << 40], np.uint64), 20)
    three = touched(replace(clicks, times=np.repeat(clicks.times, 3), keys=keys))
    read = READER.read(three, [garbage, chunk(clicks, 0), garbage], np.repeat(np.arange(20), 3))
    assert read.found[0, 1::3].all()
    assert_same_bits(read.rows[1::3], expected)


def test_a_long_tail_is_heavy() -> None:
    """A tail that outweighs the record is to be packed, a short one is not, and no record at all needs a hundred."""
    for count, packed in ((10, False), (60, True)):
        clicks = clicks_of(3, 3, count, 1)
        read = READER.read(touched(clicks), [chunk(clicks, 0)], np.arange(count))
        assert bool(read.packed) == packed


def test_a_doubtful_record_stays_doubtful() -> None:
    """A record of an entity that had been evicted marks its rows wherever it is read, as long as it did there."""
    clicks = clicks_of(3, 3, 20, 1)
    state = BlockState(BLOCK, 8)
    state.fold(clicks.take(slice(0, 10)), np.zeros((10, len(LAYOUT.names)), np.float32))
    state.words[DOUBTFUL] = clicks.times[15] // SECOND + 1
    expected = np.zeros(10, np.uint8)
    packed, rest = pack_record(state, 0, 9), clicks.take(slice(10, 20))
    state.fold(rest, np.zeros((10, len(LAYOUT.names)), np.float32), expected)
    assert set(expected.tolist()) == {Soundness.SOUND, Soundness.STATE_EVICTED}
    read = READER.read(touched(rest), [packed + chunk(rest, 10)], np.arange(10, 20))
    np.testing.assert_array_equal(read.soundness[0], expected)
