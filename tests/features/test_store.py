"""The embedded store: batches, growth, eviction, snapshots."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.features.batches import START, random_batch

from slidr.clock import DAY, HOUR, SECOND
from slidr.errors import FeatureError
from slidr.features.catalogue import Clicks, Distinct, Gap, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.store import EmbeddedStore, Soundness


def test_batches_equal_single_clicks(layout: Layout) -> None:
    """A log folded at once, in random batches, or click by click gives the same bits."""
    batch = random_batch(layout, 6000, seed=11, repeats=True)
    whole = EmbeddedStore(layout).fold(batch)
    cuts = np.sort(np.random.default_rng(12).choice(6000, 40, replace=False)).tolist()
    for steps in (range(6001), [0, *cuts, 6000]):
        store = EmbeddedStore(layout)
        places = list(steps)
        parts = [store.fold(batch.take(slice(a, b))) for a, b in pairwise(places)]
        np.testing.assert_array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
        np.testing.assert_array_equal(np.concatenate([part.sequences for part in parts]), whole.sequences)


def test_blocks_do_not_see_each_other(layout: Layout) -> None:
    """A block folded with a catalogue of its own gives the columns that it gives among others."""
    batch = random_batch(layout, 3000, seed=13)
    rows = EmbeddedStore(layout).fold(batch).rows
    alone = compile_catalogue(check_catalogue(tuple(Clicks("ip", window) for window in ("1m", "10m"))))
    mine = replace(batch, keys=batch.keys[[layout.keys.index(key) for key in alone.keys]])
    expected = rows[:, [layout.names.index(name) for name in alone.names]]
    np.testing.assert_array_equal(EmbeddedStore(alone).fold(mine).rows, expected)


def test_repeats_change_nothing(layout: Layout) -> None:
    """A click_id seen within the hour has its original's sequence and leaves the state as it was."""
    batch = random_batch(layout, 500, seed=17)
    batch.times[:] = np.random.default_rng(17).permutation(START + np.arange(500) * SECOND)
    once, twice = EmbeddedStore(layout), EmbeddedStore(layout)
    once.fold(batch)
    twice.fold(batch)
    again = twice.fold(batch)
    assert again.repeats.all()
    np.testing.assert_array_equal(again.sequences, np.arange(500))
    more = random_batch(layout, 500, seed=18)
    np.testing.assert_array_equal(once.fold(more).rows, twice.fold(more).rows)


def test_snapshot_restores_every_bit(layout: Layout, tmp_path: Path) -> None:
    """A store restored from its snapshot goes on as if it had never stopped."""
    batch = random_batch(layout, 4000, seed=19, repeats=True)
    store = EmbeddedStore(layout)
    store.fold(batch.take(slice(0, 2500)))
    store.snapshot(tmp_path / "state.npz", fingerprint="f")
    restored = EmbeddedStore(layout)
    restored.restore(tmp_path / "state.npz", fingerprint="f")
    assert restored.sequence == store.sequence
    rest = batch.take(slice(2500, 4000))
    expected, found = store.fold(rest), restored.fold(rest)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.sequences, expected.sequences)


def test_foreign_snapshots_are_refused(layout: Layout, tmp_path: Path) -> None:
    """A snapshot of another secret key, or no snapshot at all, is refused by name."""
    path = tmp_path / "state.npz"
    EmbeddedStore(layout).snapshot(path, fingerprint="f")
    with pytest.raises(FeatureError, match="secret key"):
        EmbeddedStore(layout).restore(path, fingerprint="g")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FeatureError, match="not a snapshot"):
        EmbeddedStore(layout).restore(path, fingerprint="f")


def test_eviction_changes_no_row(layout: Layout) -> None:
    """Dropping entities that have been idle for the horizon leaves every later row as it was."""
    batch = random_batch(layout, 3000, seed=23)
    batch.times.sort()
    kept, evicted = EmbeddedStore(layout), EmbeddedStore(layout)
    for start in range(0, 3000, 100):
        part = batch.take(slice(start, start + 100))
        rows = kept.fold(part).rows
        np.testing.assert_array_equal(evicted.fold(part).rows, rows)
        for block in evicted.blocks:
            block.evict(int(part.times[-1]) - layout.horizon)
    assert sum(int(block.used[0]) for block in evicted.blocks) < sum(int(block.used[0]) for block in kept.blocks)


def test_memory_follows_live_entities() -> None:
    """A month of one-click users needs no more records than two days of them."""
    layout = compile_catalogue(check_catalogue((Clicks("user", "24h"),)))
    store = EmbeddedStore(layout)
    generator = np.random.default_rng(29)
    for day in range(30):
        batch = random_batch(layout, 2000, seed=day)
        batch.keys[0] = generator.integers(1, 2**64 - 1, 2000, dtype=np.uint64)
        batch.times[:] = START + day * DAY + np.arange(2000) * (DAY // 2000)
        store.fold(batch)
    assert len(store.blocks[0].words) // 16 <= 16_384


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_no_bit(layout: Layout, threads: int) -> None:
    """Blocks folded on several threads give the rows that one thread gives, in batches of any size."""
    batch = random_batch(layout, 40_000, seed=31, repeats=True)
    one, several = EmbeddedStore(layout), EmbeddedStore(layout, threads=threads)
    for start, stop in ((0, 1), (1, 40_000)):
        part = batch.take(slice(start, stop))
        np.testing.assert_array_equal(several.fold(part).rows, one.fold(part).rows)


A = compile_catalogue(check_catalogue((Clicks("user", "1h"), Clicks("ip", "1h"))))
B = compile_catalogue(check_catalogue((Clicks("user", "1h"), Clicks("ip", "6h"))))


def hour(layout: Layout, start: int, seed: int) -> ClickBatch:
    """Return clicks of one hour, in the order of their times."""
    batch = random_batch(layout, 200, seed=seed)
    batch.times[:] = START + start * HOUR + np.arange(200) * (HOUR // 200)
    return batch


def test_a_catalogue_changed_back_and_forth_serves_nothing_cold_or_stale(tmp_path: Path) -> None:
    """After A, B and A again, a block that was not maintained is cold for its horizon, and then equals A's own."""
    path, whole = tmp_path / "state.npz", EmbeddedStore(A)
    cold = []
    for start, layout in enumerate((A, A, B, A, A, A)):
        store = EmbeddedStore(layout)
        if path.exists():
            store.restore(path, fingerprint="f")
        batch = hour(A, start, seed=start)
        expected, found = whole.fold(batch), store.fold(batch)
        store.snapshot(path, fingerprint="f")
        sound = found.soundness == Soundness.SOUND
        cold.append(int((~sound).sum()))
        if layout is A:
            np.testing.assert_array_equal(found.rows[sound], expected.rows[sound])
        np.testing.assert_array_equal(found.rows[:, 0], expected.rows[:, 0])
    # The newest click before a change is younger than the hour by one two-hundredth.
    assert cold == [0, 0, 200, 199, 0, 0]


def test_a_snapshot_holds_only_what_is_maintained(tmp_path: Path) -> None:
    """A block of an older catalogue leaves the file with the next snapshot; how warm the others are stays in it."""
    path = tmp_path / "state.npz"
    first = EmbeddedStore(A)
    first.fold(hour(A, 0, seed=1))
    first.snapshot(path, fingerprint="f")
    second = EmbeddedStore(B)
    assert second.restore(path, fingerprint="f") == {B.blocks[1].key}
    second.snapshot(path, fingerprint="f")
    third = EmbeddedStore(B)
    assert third.restore(path, fingerprint="f") == frozenset()
    assert third.since == second.since == {B.blocks[0].key: 0, B.blocks[1].key: first.newest}
    assert EmbeddedStore(A).restore(path, fingerprint="f") == {A.blocks[1].key}


def test_a_new_store_is_warm(layout: Layout) -> None:
    """A store that was there from the first click on knows all there is to know."""
    store = EmbeddedStore(layout)
    assert store.cold_blocks(layout, START) == ()
    assert not store.fold(random_batch(layout, 50, seed=2)).soundness.any()


def test_blocks_are_borrowed_from_a_store_at_the_same_click(tmp_path: Path) -> None:
    """A seed that ends with the same click gives the blocks that a snapshot lacks, one that does not gives none."""
    own, seed = tmp_path / "state.npz", tmp_path / "seed.npz"
    batch = hour(A, 0, seed=1)
    for layout, path in ((A, own), (B, seed)):
        store = EmbeddedStore(layout)
        store.fold(batch)
        store.snapshot(path, fingerprint="f")
    store = EmbeddedStore(B)
    lacking = store.restore(own, fingerprint="f")
    assert store.borrow(seed, lacking, fingerprint="f") == lacking
    assert store.cold_blocks(B, START) == ()
    more, seeded = hour(B, 1, seed=2), EmbeddedStore(B)
    seeded.restore(seed, fingerprint="f")
    np.testing.assert_array_equal(store.fold(more).rows, seeded.fold(more).rows)
    store.restore(own, fingerprint="f")
    other = EmbeddedStore(B)
    other.fold(hour(A, 0, seed=9))
    other.snapshot(seed, fingerprint="f")
    assert store.borrow(seed, lacking, fingerprint="f") == frozenset()


def test_a_store_of_the_next_key_knows_what_it_folded() -> None:
    """While keys rotate the store beside folds the same clicks, hashed anew, and gives the same rows once warm."""
    catalogue = (Clicks("user", "1h"), Gap("user", "last"), Distinct("session", "ip", "1h"), Clicks("ip", "10m"))
    layout = compile_catalogue(check_catalogue(catalogue))
    old, late = EmbeddedStore(layout), EmbeddedStore(layout)

    def hashed(batch: ClickBatch) -> ClickBatch:
        # Any one-to-one map that keeps nulls stands for another key.
        def other(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
            return np.where(values == 0, values, values ^ np.uint64(0x5DEECE66D5DEECE7))

        return replace(batch, ids=other(batch.ids), keys=other(batch.keys))

    old.fold(hour(layout, 0, seed=1))
    old.accompany(late)
    assert late.sequence == old.sequence
    assert [block.key for block in late.cold_blocks(layout, START + HOUR)] == [block.key for block in layout.blocks]
    for start in (1, 2):
        batch = hour(layout, start, seed=1)
        batch.ids[:] += np.uint64(start)
        old.fold(replace(batch, beside=hashed(batch)))
        assert late.sequence == old.sequence
    batch = hour(layout, 2, seed=1)
    batch.ids[:] += np.uint64(9)
    batch.ids[:50] -= np.uint64(7)
    batch.times[:] += np.int64(HOUR // 2)
    expected, found = old.fold(batch), late.fold(hashed(batch))
    assert not found.soundness[~found.repeats].any()
    assert found.repeats.tolist() == expected.repeats.tolist() == [True] * 50 + [False] * 150
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.sequences, expected.sequences)
