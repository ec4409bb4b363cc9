"""Seeding: the state of an embedded store becomes that of Redis, and goes on bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.features.batches import START, random_batch
from tests.features.redis.folding import assert_same, fold_parts, open_store, random_log, random_parts, seeded_store
from tests.redis_servers import Server

from slidr.clock import SECOND
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout
from slidr.features.redis.seeding import seed
from slidr.features.store import EmbeddedStore, Soundness


def busy_log(layout: Layout, clicks: int) -> ClickBatch:
    """Return a log in which an ip has hundreds of users and sessions, and repeats come within the hour."""
    log = random_log(layout, clicks, 21)
    generator = np.random.default_rng(22)
    keys = log.keys.copy()
    for row in (0, 1):
        keys[row, ::2] = generator.integers(1, 2**64 - 1, len(keys[row, ::2]), dtype=np.uint64)
    keys[2, ::2] = 7 << 40
    return replace(log, keys=keys, times=START + 2 * SECOND * np.arange(clicks))


@pytest.mark.parametrize("partitions", [1, 3])
def test_rows_go_on_from_the_seed(layout: Layout, server: Server, partitions: int) -> None:
    """Records of every tier are taken over, and the clicks of the last hour are known."""
    log, source = busy_log(layout, 1200), EmbeddedStore(layout)
    source.fold(log.take(slice(0, 700)))
    ip = next(state for state in source.blocks if state.block.entity == ("ip",))
    assert len(ip.arrays()["cells"])
    store = seeded_store(layout, [server.url], partitions, source)
    rest = log.take(slice(700, 1200))
    expected = source.fold(rest)
    assert expected.sequences[expected.repeats].min() < 700, "a repeat of a click before the seed"
    assert_same(fold_parts(store, random_parts(rest, 1)), expected)


def test_the_number_of_entities_is_told(layout: Layout, server: Server) -> None:
    """Seeding returns how many entities it wrote, and every one is there."""
    source = EmbeddedStore(layout)
    source.fold(random_batch(layout, 300, 1))
    assert seed([server.url], source) == source.live
    names = tuple(f":{block.key}:".encode() for block in layout.blocks)
    assert sum(any(name in key for name in names) for key in server.names()) == source.live


def test_epochs_are_never_mixed(layout: Layout, server: Server) -> None:
    """A store at work goes over to a new seed whole: nothing that it folded before is read again."""
    log = busy_log(layout, 600)
    store = seeded_store(layout, [server.url])
    store.fold(log.take(slice(0, 300)))
    seed([server.url], EmbeddedStore(layout))
    rest = log.take(slice(300, 600))
    # Nothing was claimed in the new epoch, either.
    assert_same(fold_parts(store, random_parts(rest, 2)), EmbeddedStore(layout).fold(rest))


def test_a_cold_block_stays_cold(layout: Layout, server: Server) -> None:
    """A block that had missed clicks in the source is as cold in Redis."""
    source = EmbeddedStore(layout)
    source.forget([layout.blocks[0].key], START)
    log = busy_log(layout, 50)
    folded = seeded_store(layout, [server.url], source=source).fold_by_block(log)
    new = ~folded.repeats
    assert set(folded.soundness[0, new].tolist()) == {Soundness.STATE_COLD}
    assert not folded.soundness[1:, new].any()


def test_a_server_never_seeded_is_cold(layout: Layout, server: Server) -> None:
    """Without a seed nobody knows that nothing was lost: rows are cold."""
    folded = open_store(layout, [server.url]).fold(busy_log(layout, 20))
    assert set(folded.soundness.tolist()) == {Soundness.STATE_COLD}
    assert not server.names()
