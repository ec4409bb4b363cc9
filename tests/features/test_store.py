"""The embedded store: batches, growth, eviction, snapshots."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.features.batches import START, random_batch

from slidr.clock import DAY, SECOND
from slidr.errors import FeatureError
from slidr.features.catalogue import Clicks, check_catalogue
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.store import EmbeddedStore


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
