"""The Redis store beside the embedded one: the same rows, and every click counted once whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.features.batches import START, assert_same_bits, random_batch
from tests.features.redis.folding import (
    assert_same,
    assert_sound,
    fold_parts,
    joined,
    open_store,
    random_log,
    random_parts,
    seeded_store,
)
from tests.redis_servers import LOSE_ANSWER, LOSE_REQUEST, PASS, Fault, Proxy, Server

from slidr.clock import HOUR, MINUTE, SECOND
from slidr.features.catalogue import Clicks, Distinct, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.side_by_side import SideBySide, side_by_side
from slidr.features.store import EmbeddedStore, Soundness

URLS = Sequence[str]
SMALL = compile_catalogue(
    check_catalogue((Clicks("ip", "1h"), Distinct("user", "ip", "1h"), Clicks("user", "1h"), Clicks("user", "24h")))
)
FAULTS = [LOSE_REQUEST, LOSE_ANSWER, *(Fault(answer=count) for count in (1, 40, 150, 700, 2000))]


@pytest.fixture(params=[("server", 1), ("server", 5), ("cluster", 12)], ids=lambda place: f"{place[0]}-{place[1]}")
def place(request: pytest.FixtureRequest) -> tuple[URLS, int]:
    """Addresses, and a number of partitions: one server with one and with several, and a cluster."""
    servers, partitions = request.param
    found = request.getfixturevalue(servers)
    return ([one.url for one in found[:1]] if isinstance(found, list) else [found.url]), partitions


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_are_those_of_the_embedded_store(layout: Layout, place: tuple[URLS, int], seed: int) -> None:
    """A random log in batches of any size gives the rows, sequences and repeats of the embedded store."""
    log = random_log(layout, 2000, seed)
    expected = EmbeddedStore(layout).fold(log)
    assert expected.repeats.sum() > 10
    assert_same(fold_parts(seeded_store(layout, *place), random_parts(log, seed)), expected)


def test_two_stores_in_turn_are_one(layout: Layout, place: tuple[URLS, int]) -> None:
    """Two stores on the same servers, as two processes have them, give together what one embedded store gives."""
    log = random_log(layout, 1500, 3)
    stores = [seeded_store(layout, *place), open_store(layout, *place)]
    assert_same(fold_parts(stores, random_parts(log, 3)), EmbeddedStore(layout).fold(log))


def one_click(layout: Layout, key: int, time: int, *, ip: int = 5) -> ClickBatch:
    """Return a click with a click_id, whose identifiers are all the same but for the ip."""
    keys = np.full((len(layout.keys), 1), 9 << 40, np.uint64)
    keys[layout.keys.index(("ip",))] = ip << 40
    return ClickBatch(np.array([key], np.uint64), np.array([time], np.int64), np.ones(1, np.int8), keys)


def test_a_repeat_changes_nothing(place: tuple[URLS, int]) -> None:
    """A click_id seen again, by another store too, has the original's sequence and row and is not counted."""
    first, second = seeded_store(SMALL, *place), open_store(SMALL, *place)
    original = first.fold(one_click(SMALL, 1, START))
    for store in (first, second):
        again = store.fold(one_click(SMALL, 1, START + MINUTE))
        assert again.repeats.tolist() == [True]
        assert_sound(again)
        np.testing.assert_array_equal(again.sequences, original.sequences)
        assert_same_bits(again.rows, original.rows)
    # With other identifiers it is a repeat as well, and adds nothing to them.
    assert second.fold(one_click(SMALL, 1, START, ip=6)).repeats.all()
    assert second.fold(one_click(SMALL, 2, START, ip=6)).rows[0, 0] == 1
    assert first.fold(one_click(SMALL, 3, START)).rows[0, 0] == 2


def test_a_repeat_within_a_batch(place: tuple[URLS, int]) -> None:
    """A click_id twice in one batch is counted once."""
    log = replace(random_batch(SMALL, 50, 5), times=START + SECOND * np.arange(50))
    twice = log.take(np.repeat(np.arange(50), 2))
    folded = seeded_store(SMALL, *place).fold(twice)
    assert_sound(folded)
    assert folded.repeats.tolist() == [False, True] * 50
    assert_same_bits(folded.rows[::2], EmbeddedStore(SMALL).fold(log).rows)


def test_a_click_id_more_than_an_hour_later_is_new(place: tuple[URLS, int]) -> None:
    """A click_id comes again after an hour and a microsecond as a new click, and after an hour as a repeat."""
    store = seeded_store(SMALL, *place)
    times = [START, START + HOUR, START + HOUR + 1, START + HOUR + 2]
    folded = [store.fold(one_click(SMALL, 1, time)) for time in times]
    assert [bool(one.repeats[0]) for one in folded] == [False, True, False, True]
    assert folded[2].sequences[0] == folded[3].sequences[0] > folded[0].sequences[0]


@pytest.mark.parametrize("partitions", [1, 5])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_at_any_exchange_is_repaired(server: Server, proxy: Proxy, fault: Fault, partitions: int) -> None:
    """Whichever request or answer is lost, the rows are those of an undisturbed run and each click counts once."""
    log = random_log(SMALL, 160, 7)
    parts = [log.take(slice(start, start + 40)) for start in range(0, 160, 40)]
    expected = EmbeddedStore(SMALL).fold(log)
    exchange, reached = 0, True
    while reached:
        server.flush()
        store = seeded_store(SMALL, [proxy.url], partitions)
        # The first batch agrees with the server, which is tried elsewhere.
        first = store.fold(parts[0])
        proxy.plan([PASS] * exchange + [fault])
        rest = fold_parts(store, parts[1:])
        reached = not proxy.faults
        exchange += 1
        assert_same(joined([first, rest]), expected)
        store.close()
    assert exchange > len(parts[1:]) * (1 if partitions == 1 else 3)


@pytest.mark.parametrize(("partitions", "passed"), [(1, 0), (5, 0), (5, 1), (5, 2)])
def test_clicks_of_an_outage_are_sent_again(server: Server, proxy: Proxy, partitions: int, passed: int) -> None:
    """When nothing works, rows are marked and nothing raises; sent again, each click is counted once."""
    log = replace(random_batch(SMALL, 90, 8), times=START + SECOND * np.arange(90))
    parts = [log.take(slice(start, start + 30)) for start in (0, 30, 60)]
    store = seeded_store(SMALL, [proxy.url], partitions)
    assert_sound(store.fold(parts[0]))
    proxy.plan([PASS] * passed + [LOSE_ANSWER] + [LOSE_REQUEST] * 1000)
    lost = store.fold(parts[1])
    assert set(lost.soundness.tolist()) == {Soundness.STORE_UNAVAILABLE}
    assert "cannot be reached" in store.fault
    proxy.plan([])
    again = store.fold(parts[1])
    assert_sound(again)
    assert_same_bits(store.fold(parts[2]).rows, EmbeddedStore(SMALL).fold(log).rows[60:])
    assert server.port != proxy.port


def test_clicks_without_identifiers_are_marked_in_an_outage(server: Server, proxy: Proxy) -> None:
    """A click that touches no entity is not sound either while nobody can number it."""
    store = seeded_store(SMALL, [proxy.url])
    proxy.plan([LOSE_REQUEST] * 1000)
    batch = random_batch(SMALL, 3, 1)
    batch.keys[:] = 0
    folded = store.fold(batch)
    assert folded.soundness.tolist() == [Soundness.STORE_UNAVAILABLE] * 3
    assert folded.sequences.tolist() == [-1] * 3
    assert server.ask("PING")


def test_a_busy_entity_stays_small(server: Server) -> None:
    """Five thousand clicks of one entity are packed as they come: its value stays as small as a record and a tail."""
    batch = random_batch(SMALL, 5000, 9)
    keys = batch.keys.copy()
    keys[SMALL.keys.index(("ip",))] = 1 << 40
    log = replace(batch, keys=keys, times=START + SECOND * np.arange(5000))
    store, largest = seeded_store(SMALL, [server.url]), 0
    expected = EmbeddedStore(SMALL).fold(log).rows
    name = next(block.key for block in SMALL.blocks if block.entity == ("ip",))
    for start in range(0, 5000, 50):
        folded = store.fold(log.take(slice(start, start + 50)))
        assert_sound(folded)
        assert_same_bits(folded.rows, expected[start : start + 50])
        (value,) = [key for key in server.names() if f":{name}:{1 << 40:016x}".encode() in key]
        largest = max(largest, server.ask("STRLEN", value))
    # Its distinct count outgrows the record and has a table of its own, or cells.
    assert largest < 12_000


def test_a_record_is_put_back_once(server: Server) -> None:
    """Two stores that both read a long tail pack it; the second to do so changes nothing, and no click is lost."""
    log = replace(random_batch(SMALL, 400, 10), times=START + SECOND * np.arange(400))
    log.keys[:] = log.keys[:, :1] | np.uint64(1 << 63)
    first, second = seeded_store(SMALL, [server.url]), open_store(SMALL, [server.url])
    parts = [log.take(slice(start, start + 100)) for start in range(0, 400, 100)]
    found = [first.fold(parts[0]), second.fold(parts[1])]
    waiting = [dict(store._heavy[0]) for store in (first, second)]
    assert all(waiting)
    # Both put back what they read; the second one's is of a longer value, the first one's of its beginning.
    found += [second.fold(parts[2])]
    first._heavy[0] = waiting[0]
    found += [first.fold(parts[3])]
    assert_same(joined(found), EmbeddedStore(SMALL).fold(log))


def test_every_key_expires(place: tuple[URLS, int], request: pytest.FixtureRequest) -> None:
    """Every key has an expiry, an entity's of at least two horizons."""
    log = random_log(SMALL, 300, 11)
    store = seeded_store(SMALL, *place)
    fold_parts(store, random_parts(log, 11))
    servers: list[Server] = [request.getfixturevalue("server")] if len(place[0]) == 1 else []
    servers = servers if place[1] != 12 else request.getfixturevalue("cluster")
    names = {block.key for block in SMALL.blocks}
    entities = 0
    for server in servers:
        for key in server.names():
            left = server.ask("PTTL", key)
            assert left > 0, key
            if key.decode().split(":")[2:3] and key.decode().split(":")[2] in names:
                entities += 1
                assert left > 2 * SMALL.horizon // 1000 - 60_000
    assert entities > 20


def test_a_block_that_missed_clicks_is_cold(server: Server) -> None:
    """After another catalogue had the server, a block that it does not know is cold for a horizon, and then right."""
    two = compile_catalogue(check_catalogue((Clicks("ip", "1h"), Clicks("session", "1h"))))
    one = compile_catalogue(check_catalogue((Clicks("ip", "1h"), Clicks("user", "1h"))))
    log = replace(random_batch(one, 900, 12), times=START + 20 * SECOND * np.arange(900))
    expected = EmbeddedStore(one).fold(log)
    first, second = seeded_store(one, [server.url]), open_store(two, [server.url])
    assert_same_bits(first.fold(log.take(slice(0, 200))).rows, expected.rows[:200])
    # What the other catalogue folds has the same ip, and a session of its own.
    other = log.take(slice(200, 400))
    cold = second.fold(replace(other, keys=np.ascontiguousarray(other.keys[: len(two.keys)])))
    assert set(cold.soundness[:180].tolist()) == {Soundness.STATE_COLD}
    found = joined([first.fold(log.take(slice(start, start + 50))) for start in range(400, 900, 50)])
    young = log.times[400:] < log.times[449] + HOUR
    np.testing.assert_array_equal(found.soundness, np.where(young, Soundness.STATE_COLD, Soundness.SOUND))
    assert (~young).sum() > 200
    assert_same_bits(found.rows[~young], expected.rows[400:][~young])


def test_catalogues_side_by_side_share_a_server(server: Server) -> None:
    """Two catalogues over one union in Redis read what each reads alone, with one fold for a batch."""
    layouts = [
        compile_catalogue((Clicks("user", "1h"), Distinct("user", "ip", "1h"))),
        compile_catalogue((Distinct("user", "ip", "1h"), Clicks("session", "10m"))),
    ]
    union, _ = side_by_side(layouts)
    parts = random_parts(random_log(union, 400, 5), 5)
    together = SideBySide(layouts, seeded_store(union, [server.url]))
    alone = SideBySide(layouts, EmbeddedStore(union))
    for part in parts:
        for view, expected in zip(together.views, alone.views, strict=True):
            found, wanted = view.fold(part), expected.fold(part)
            assert_sound(found)
            fresh = ~wanted.repeats
            assert found.rows[fresh].tobytes() == wanted.rows[fresh].tobytes()
            assert found.sequences.tolist() == wanted.sequences.tolist()
