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
from slidr.features.store import EmbeddedStore

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
