"""Stores over real servers, and their rows beside those of the embedded store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from tests.features.batches import assert_same_bits, random_batch, remembered

from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout
from slidr.features.redis.seeding import seed
from slidr.features.redis.store import RedisStore
from slidr.features.store import EmbeddedStore, Folded, Soundness, Store


def open_store(layout: Layout, urls: Sequence[str], partitions: int = 1, timeout: float = 5.0) -> RedisStore:
    """Return a store; it waits longer than one that serves, for no test is to fail where the machine is busy."""
    return RedisStore(layout, urls, partitions=partitions, timeout=timeout)


def seeded_store(
    layout: Layout, urls: Sequence[str], partitions: int = 1, source: EmbeddedStore | None = None
) -> RedisStore:
    """Return a store that begins with the state of another one, or with none."""
    seed(urls, EmbeddedStore(layout) if source is None else source, partitions=partitions)
    return open_store(layout, urls, partitions)


def random_log(layout: Layout, clicks: int, seed: int) -> ClickBatch:
    """Return a log with nulls, late clicks, and repeats that every store remembers."""
    log = random_batch(layout, clicks, seed, repeats=True)
    generator, ids = np.random.default_rng(seed), log.ids.copy()
    # Most repeats come soon.
    for place in np.flatnonzero(generator.random(clicks) < 0.05).tolist():
        ids[place] = ids[max(place - int(generator.integers(1, 40)), 0)]
    return remembered(replace(log, ids=ids))


def random_parts(log: ClickBatch, seed: int) -> list[ClickBatch]:
    """Cut a log into batches of any size."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(log) + 1, 1 + len(log) // 60)).tolist()
    return [log.take(slice(a, b)) for a, b in pairwise([0, *cuts, len(log)])]


def fold_parts(store: Store | Sequence[Store], parts: Sequence[ClickBatch]) -> Folded:
    """Fold batches one after another, by the stores in turn where there are several."""
    stores = store if isinstance(store, Sequence) else [store]
    return joined(stores[place % len(stores)].fold(part) for place, part in enumerate(parts))


def joined(folded: Iterable[Folded]) -> Folded:
    """Return what was folded one after another as if it had been at once."""
    return Folded(*(np.concatenate(columns) for columns in zip(*folded, strict=True)))


def assert_sound(folded: Folded) -> None:
    """Assert that every row is sound; what the original of a repeat read cannot always be read again."""
    assert set(folded.soundness[~folded.repeats].tolist()) <= {Soundness.SOUND}
    assert set(folded.soundness.tolist()) <= {Soundness.SOUND, Soundness.ORIGINAL_UNKNOWN}


def assert_same(found: Folded, expected: Folded) -> None:
    """Assert that all rows are sound, in the order expected, and those of new clicks the same bit for bit."""
    assert_sound(found)
    np.testing.assert_array_equal(found.repeats, expected.repeats)
    # With several partitions, the sequences that were taken for repeats are left out.
    for sequences in (found.sequences, expected.sequences):
        assert sequences.min(initial=0) >= 0
    places, known = (np.unique(one.sequences, return_inverse=True)[1] for one in (found, expected))
    np.testing.assert_array_equal(places, known)
    new = ~expected.repeats
    assert_same_bits(found.rows[new], expected.rows[new])
