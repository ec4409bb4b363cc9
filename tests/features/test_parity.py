"""The parity contract: every path that folds a log gives the same rows, bit for bit in float32.

A path takes a compiled catalogue and a log and returns the rows of its clicks, as one store gives them that begins
without state. To add a path, add it to PATHS; those of Redis run over real servers.

Every path tells repeats within an hour. How long it remembers a click_id is its own affair, so the logs that all paths
fold have no repeat of a click that the newest has left two hours behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small
from tests.features.batches import START, assert_same_bits, random_batch, remembered
from tests.features.redis.folding import fold_parts, seeded_store
from tests.redis_servers import Server, start_cluster

from slidr.clock import DAY, HOUR, SECOND, SystemClock
from slidr.features.backfill import encode_table, fold_table
from slidr.features.clicks import ClickBatch, click_type, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout
from slidr.features.store import EmbeddedStore, Folded
from slidr.ingest import read_log
from slidr.settings import parse_settings

FoldPath = Callable[[Layout, ClickBatch], NDArray[np.float32]]
PSEUDONYMISER = Pseudonymiser(small.SECRET)


def _joined(parts: Iterator[Folded]) -> NDArray[np.float32]:
    return np.concatenate([part.rows for part in parts])


def at_once(layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    """Fold the log as one batch, as backfill does with a chunk."""
    return EmbeddedStore(layout).fold(log).rows


def one_at_a_time(layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    """Fold click by click, as a service without load does."""
    store = EmbeddedStore(layout)
    return _joined(store.fold(log.take(slice(at, at + 1))) for at in range(len(log)))


def in_random_batches(layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    """Fold in batches of any size, as a service under load does."""
    store = EmbeddedStore(layout)
    cuts = np.sort(np.random.default_rng(len(log)).integers(0, len(log) + 1, 1 + len(log) // 20)).tolist()
    return _joined(store.fold(log.take(slice(a, b))) for a, b in pairwise([0, *cuts, len(log)]))


def on_two_threads(layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    """Fold the blocks beside each other, as backfill on several cores does."""
    return EmbeddedStore(layout, threads=2).fold(log).rows


EMBEDDED: dict[str, FoldPath] = {
    "one at a time": one_at_a_time,
    "random batches": in_random_batches,
    "two threads": on_two_threads,
}
SERVERS: dict[str, list[Server]] = {}
"""Of the Redis paths, running while the tests of this module do."""


def _in_redis(servers: list[Server], partitions: int, layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    store = seeded_store(layout, [servers[0].url], partitions)
    folded = fold_parts(store, [log.take(slice(start, start + 500)) for start in range(0, len(log), 500)])
    store.close()
    assert not folded.soundness[~folded.repeats].any()
    # Redis reads the rows of repeats again where it can; the others leave them empty.
    folded.rows[folded.repeats] = 0
    return folded.rows


def in_redis(layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    """Fold over a Redis server."""
    return _in_redis(SERVERS["redis"], 1, layout, log)


def in_a_cluster(layout: Layout, log: ClickBatch) -> NDArray[np.float32]:
    """Fold over a Redis cluster of three."""
    return _in_redis(SERVERS["cluster"], 12, layout, log)


PATHS: dict[str, FoldPath] = {**EMBEDDED, "redis": in_redis, "redis cluster": in_a_cluster}


@pytest.fixture(scope="module", autouse=True)
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    SERVERS["redis"] = [Server(tmp_path_factory.mktemp("redis"))]
    SERVERS["cluster"] = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield
    for server in (*SERVERS["redis"], *SERVERS["cluster"]):
        server.kill()


@pytest.fixture(scope="module")
def weekly(layout: Layout) -> ClickBatch:
    """A week of clicks: nulls, repeats at once, within the hour and beyond it, late clicks, bursts, idle entities."""
    log = random_batch(layout, 12_000, seed=31, repeats=True)
    generator = np.random.default_rng(32)
    order = np.arange(len(log))
    # A tenth comes again, most within minutes; half of the log is one ip's, in a burst of an hour.
    again = generator.choice(len(log) - 200, 1200, replace=False)
    order = np.sort(np.concatenate([order, again]))
    log = log.take(order)
    ids, times = log.ids.copy(), log.times.copy()
    for place in np.flatnonzero(np.diff(order) == 0):
        later = place + int(generator.integers(1, 150))
        ids[later] = ids[place]
        times[later] = times[place] + int(generator.choice([0, SECOND, HOUR, HOUR + 1, -HOUR]))
    burst = slice(len(log) // 2, len(log) // 2 + 2000)
    keys = log.keys.copy()
    keys[layout.keys.index(("ip",)), burst] = 77
    times[burst] = np.sort(times[len(log) // 2] + generator.integers(0, HOUR, 2000))
    assert times.max() - times.min() > 7 * DAY
    return remembered(ClickBatch(ids, times, log.logged_in, keys))


@pytest.mark.parametrize("path", PATHS)
def test_a_week_is_the_same_on_every_path(layout: Layout, weekly: ClickBatch, path: str) -> None:
    """A week of nulls, repeats, late clicks and bursts has the rows that it has folded at once."""
    expected = at_once(layout, weekly)
    assert np.isfinite(expected).all()
    assert (expected == 0).all(axis=1).sum() > 500, "repeats have no rows"
    assert_same_bits(PATHS[path](layout, weekly), expected)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), clicks=st.integers(1, 400))
def test_random_logs_are_the_same_on_every_path(layout: Layout, path: str, seed: int, clicks: int) -> None:
    """Logs drawn from any seed have the rows that they have folded at once."""
    log = remembered(random_batch(layout, clicks, seed, repeats=True))
    assert_same_bits(PATHS[path](layout, log), at_once(layout, log))


@pytest.mark.parametrize("path", PATHS)
def test_late_repeats_are_the_same_on_every_path(layout: Layout, path: str) -> None:
    """Repeats of clicks that are hours older than the newest are told alike, whatever was forgotten meanwhile."""
    generator = np.random.default_rng(41)
    log = random_batch(layout, 6000, seed=42)
    times = START + np.arange(6000) * 5 * SECOND
    ids = log.ids.copy()
    for place in generator.choice(np.arange(2500, 5000), 300, replace=False):
        times[place] -= int(generator.integers(1, 6)) * HOUR
        later = place + int(generator.integers(1, 900))
        ids[later], times[later] = ids[place], times[place] + int(generator.integers(0, HOUR))
    log = ClickBatch(ids, times.astype(np.int64), log.logged_in, log.keys)
    assert_same_bits(PATHS[path](layout, log), at_once(layout, log))


@pytest.mark.parametrize("path", PATHS)
def test_a_table_is_the_same_on_every_path(layout: Layout, path: str) -> None:
    """A table backfilled chunk by chunk has the rows of its clicks, encoded one by one as requests are."""
    clicks = small.random_clicks(1500, seed=51)
    table = small.table_of(clicks)
    expected = _joined(fold_table(table, layout, PSEUDONYMISER, EmbeddedStore(layout)))
    assert_same_bits(PATHS[path](layout, encode_clicks(clicks, layout, PSEUDONYMISER)), expected)


@pytest.fixture(scope="module")
def real(layout: Layout) -> Callable[[Path], tuple[pa.Table, NDArray[np.float32]]]:
    """Backfill of the dense window of TalkingData, made once: its table and the rows of all of its clicks."""
    made: list[tuple[pa.Table, NDArray[np.float32]]] = []

    def backfilled(data: Path) -> tuple[pa.Table, NDArray[np.float32]]:
        if not made:
            path = data / "talkingdata" / "window_2017-11-07_1424.csv.gz"
            document = {"clicks": {"path": str(path), "source": "talkingdata", "ip": "opaque"}}
            table = read_log(parse_settings(document), SystemClock()).clicks
            made.append((table, _joined(fold_table(table, layout, PSEUDONYMISER, EmbeddedStore(layout)))))
        return made[0]

    return backfilled


@pytest.mark.parametrize("path", PATHS)
def test_a_real_window_is_the_same_on_every_path(
    data: Path, layout: Layout, real: Callable[[Path], tuple[pa.Table, NDArray[np.float32]]], path: str
) -> None:
    """The dense window of TalkingData, backfilled as a table, has the rows of its clicks on every path."""
    table, expected = real(data)
    assert len(expected) == 100_000
    assert expected[:, layout.names.index("clicks_ip_24h")].max() > 1000
    assert_same_bits(PATHS[path](layout, encode_table(table, layout, PSEUDONYMISER)), expected)


def test_real_requests_are_their_table(
    data: Path, layout: Layout, real: Callable[[Path], tuple[pa.Table, NDArray[np.float32]]]
) -> None:
    """Clicks of the window, encoded one at a time as requests are, are those of the table in every bit."""
    table, _ = real(data)
    kind = click_type(())
    part = table.slice(50_000, 2000)
    names = [name for name in kind.__struct_fields__ if name in part.column_names]
    clicks = [kind(**row) for row in part.select(names).to_pylist()]
    found = encode_table(part, layout, PSEUDONYMISER)
    for place, click in enumerate(clicks):
        one = encode_clicks([click], layout, PSEUDONYMISER)
        np.testing.assert_array_equal(one.keys[:, 0], found.keys[:, place])
        assert (one.ids[0], one.times[0], one.logged_in[0]) == (
            found.ids[place], found.times[place], found.logged_in[place],
        )  # fmt: skip
