"""Beginnings: Redis sends what follows what is known, and never the rest of another value."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from tests.features.batches import START, random_batch
from tests.features.redis.folding import assert_same, joined, open_store, seeded_store
from tests.features.redis.test_store import SMALL
from tests.redis_servers import Server

from slidr.clock import SECOND
from slidr.features.clicks import ClickBatch
from slidr.features.redis.beginnings import MOST, Beginnings
from slidr.features.store import EmbeddedStore


def record(length: int, check: int, *, through: int = 7) -> bytes:
    """Return a value that begins with a record."""
    return struct.pack("<qII", through, 0xFFFFFFFF, length) + bytes(length - 4) + struct.pack("<I", check)


def test_what_is_told_of_a_value_is_what_tells_it_from_others() -> None:
    """Its first base and count, a record's checksum or else the first click's offset, where that is, and its length."""
    known = Beginnings(b"agreed", 1_000)
    values = [record(40, 9) + b"tail", struct.pack("<qIIq", 5, 1, 3, 0), b"short"]
    assert known.described(["a", "b", "c"]) == [b""] * 3
    assert known.whole(["a", "b", "c"], values) == values
    a, b, c = known.described(["a", "b", "c"])
    assert struct.unpack("<qIIII", a) == (7, 0xFFFFFFFF, 9, 16 + 40 - 4, len(values[0]))
    assert struct.unpack("<qIIII", b) == (5, 1, 3, 12, len(values[1]))
    assert c.endswith(struct.pack("<I", 5)), "a damaged one is told, and refused by who reads it"
    assert known.whole(["b", "a"], [[b"more"], b"other"]) == [values[1] + b"more", b"other"]
    assert known.whole(["b"], [[b"!"]]) == [values[1] + b"more!"]


def test_the_oldest_are_forgotten() -> None:
    """So many bytes are kept as were asked for; what was read last stays."""
    known = Beginnings(b"agreed", most=100)
    known.whole(["a", "b"], [bytes(40), bytes(50)])
    known.whole(["a"], [bytes(45)])
    known.whole(["c"], [bytes(20)])
    assert [bool(one) for one in known.described(["a", "b", "c"])] == [True, False, True]
    known.whole(["d"], [bytes(101)])
    assert not any(known.described(["a", "b", "c", "d"]))


def test_all_partitions_together_keep_no_more_than_one(server: Server) -> None:
    """However many partitions there are, and whatever was agreed on since, the bytes that are kept stay bounded."""
    store = seeded_store(SMALL, [server.url], 5)
    store.fold(random_batch(SMALL, 100, 3))
    assert all(one.agreement for one in store._beginnings)
    assert sum(one._most for one in store._beginnings) <= MOST


def busy(count: int) -> ClickBatch:
    """Return clicks of one entity of each kind."""
    log = random_batch(SMALL, count, 21)
    log.keys[:] = log.keys[:, :1] | np.uint64(1 << 63)
    return ClickBatch(log.ids, START + SECOND * np.arange(count), log.logged_in, log.keys)


def test_what_others_did_meanwhile_is_read(server: Server) -> None:
    """Of two stores that know an entity, one packs it and one appends: each reads what is there, and little of it."""
    log = busy(2_000)
    stores = [seeded_store(SMALL, [server.url]), open_store(SMALL, [server.url])]
    generator = np.random.default_rng(5)
    found, start = [], 0
    while start < len(log):
        size = int(generator.integers(1, 40))
        found.append(stores[int(generator.integers(2))].fold(log.take(slice(start, start + size))))
        start += size
    assert_same(joined(found), EmbeddedStore(SMALL).fold(log))


def test_a_key_that_was_lost_or_begins_anew_is_read_whole(server: Server) -> None:
    """A value that is not there any more, or is another one, is never taken for what follows a known one."""
    log = busy(300)
    store = seeded_store(SMALL, [server.url])
    store.fold(log.take(slice(0, 200)))
    for key in entities(server):
        server.ask("DEL", key)
    found = store.fold(log.take(slice(200, 300)))
    kept = EmbeddedStore(SMALL)
    kept.recent.skip(200, 0)
    assert found.rows.tobytes() == kept.fold(log.take(slice(200, 300))).rows.tobytes()


def test_little_is_sent_of_what_is_known(server: Server) -> None:
    """Once an entity is known, an answer has the clicks since, and not its record."""
    store, log = seeded_store(SMALL, [server.url]), busy(700)
    store.fold(log.take(slice(0, 500)))

    def one_by_one(first: int, *, forgetful: bool) -> None:
        for place in range(first, first + 40):
            if forgetful:
                store._beginnings[0] = Beginnings(b"", 0)
            store.fold(log.take(slice(place, place + 1)))

    one_by_one(500, forgetful=False)
    known = sent_by(server, lambda: one_by_one(540, forgetful=False))
    assert sent_by(server, lambda: one_by_one(580, forgetful=True)) > 3 * known


def sent_by(server: Server, work: Callable[[], object]) -> int:
    """Return how many bytes a server has sent during some work."""

    def sent() -> int:
        stats = server.ask("INFO", "stats")
        return int(stats["total_net_output_bytes"])

    before = sent()
    work()
    return sent() - before


def entities(server: Server) -> list[bytes]:
    """Return the keys of entities."""
    blocks = [block.key.encode() for block in SMALL.blocks]
    return [key for key in server.names() if any(block in key for block in blocks)]
