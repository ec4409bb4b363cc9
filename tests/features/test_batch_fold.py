"""The fold of a batch: in one call or block by block, over state that has moved or not, it writes the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.test_block import LAYOUT, START, clicks_of

from slidr.clock import SECOND
from slidr.features.batch_fold import locate
from slidr.features.block import BlockState
from slidr.features.clicks import ClickBatch
from slidr.features.store import EmbeddedStore

SECRET = "0" * 16


def _batch(history: list[tuple[int, int]]) -> ClickBatch:
    users = np.array([user for user, _ in history])
    return clicks_of(users, START + np.cumsum([step for _, step in history]) * SECOND)


def _where(block: BlockState) -> list[int]:
    """Return where the arrays of a block are now."""
    state = (block.words, block.tables, block.cells, block.free, block.used)
    return [int(number) for number in locate(state, block.index, block.marks, block._near, block.block.layout)]


histories = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([0, 1, 600, 7200, 200_000])), min_size=1, max_size=200
)


@settings(deadline=None, max_examples=60)
@given(histories, st.integers(1, 8), st.sampled_from(["", "grow_ahead", "restore", "forget", "evict"]))
def test_the_fold_knows_where_the_arrays_are(history: list[tuple[int, int]], size: int, between: str) -> None:
    """Whatever has replaced an array, the addresses that the next fold is given are those of the arrays that are."""
    store, clicks = EmbeddedStore(LAYOUT, 1, most=16), _batch(history)
    for start in range(0, len(clicks), size):
        store.fold(clicks.take(slice(start, start + size)))
        if between == "grow_ahead":
            store.grow_ahead()
        elif between == "forget":
            store.forget({store.blocks[0].block.key}, 1)
        elif between == "evict":
            store.blocks[0].evict(int(clicks.times[start]))
        elif between == "restore":
            for block in store.blocks:
                block.restore({name: array.copy() for name, array in block.arrays().items()})
        for number, block in enumerate(store.blocks):
            assert store._places[number].tolist() == _where(block)


@settings(deadline=None, max_examples=60)
@given(histories, st.integers(1, 30))
def test_blocks_are_folded_as_one_after_the_other(history: list[tuple[int, int]], most: int) -> None:
    """A store's rows and soundness are those that each of its blocks gives alone, also where entities are evicted."""
    clicks = _batch(history)
    clicks.ids[:] = np.arange(1, len(clicks) + 1)
    whole = EmbeddedStore(LAYOUT, 1, most=most).fold_by_block(clicks)
    alone = EmbeddedStore(LAYOUT, 1, most=most)
    rows = np.zeros_like(whole.rows)
    for number, block in enumerate(alone.blocks):
        soundness = np.zeros(len(clicks), np.uint8)
        block.fold(clicks, rows, soundness)
        np.testing.assert_array_equal(whole.soundness[number], soundness)
    told = [column for column in range(rows.shape[1]) if rows[:, column].any()]
    np.testing.assert_array_equal(whole.rows[:, told], rows[:, told])


def test_a_restored_store_is_folded_where_it_is(tmp_path: Path) -> None:
    """A state that was read from a file gives the rows of the one that was written, and the same again after more."""
    clicks = _batch([(user % 37, 60) for user in range(3000)])
    clicks.ids[:] = np.arange(1, len(clicks) + 1)
    one, other = EmbeddedStore(LAYOUT, 1), EmbeddedStore(LAYOUT, 1)
    one.fold(clicks.take(slice(0, 2000)))
    one.snapshot(tmp_path / "state", fingerprint=SECRET)
    other.restore(tmp_path / "state", fingerprint=SECRET)
    for part in (slice(2000, 2500), slice(2500, 3000)):
        np.testing.assert_array_equal(one.fold(clicks.take(part)).rows, other.fold(clicks.take(part)).rows)
