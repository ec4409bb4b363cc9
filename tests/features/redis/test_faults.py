"""Servers that lose data, fail over, fill up, refuse or hold nonsense: no wrong row, and nothing raises at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import small
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
from tests.redis_servers import Server, follow, free_port, wait_until

from slidr.bundle import write_bundle
from slidr.clock import SECOND
from slidr.decide import Decider
from slidr.errors import StoreError
from slidr.features.catalogue import Clicks, Distinct, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.redis.seeding import seed
from slidr.features.redis.store import RedisStore
from slidr.features.store import EmbeddedStore, Soundness
from slidr.tables import Verdict

SMALL = compile_catalogue(check_catalogue((Clicks("ip", "1h"), Distinct("user", "ip", "1h"), Clicks("user", "24h"))))
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of a test's own."""
    servers: list[Server] = []

    def start(*options: str, password: str = "") -> Server:
        servers.append(Server(tmp_path / str(len(servers)), *options, password=password))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def steady_log(clicks: int, seed: int = 1) -> ClickBatch:
    """Return a log without late clicks or repeats."""
    return replace(random_batch(SMALL, clicks, seed), times=START + SECOND * np.arange(clicks))


def parts_of(log: ClickBatch, size: int) -> list[ClickBatch]:
    """Cut a log into batches of a size."""
    return [log.take(slice(start, start + size)) for start in range(0, len(log), size)]


def assert_cold(store: RedisStore, log: ClickBatch) -> None:
    """Assert that the rows of all clicks are cold."""
    assert set(store.fold(log).soundness.tolist()) == {Soundness.STATE_COLD}


def flush(server: Server) -> None:
    """Lose all data of a server that runs on."""
    server.ask("FLUSHALL")


def restart(server: Server) -> None:
    """Kill a server and start it with what it had on its disk."""
    server.kill()
    server.start()


def restart_with_data(server: Server) -> None:
    """Kill a server whose data is on its disk, and start it."""
    server.ask("SAVE")
    restart(server)


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("lose", [flush, restart, restart_with_data])
def test_a_server_that_lost_data_is_cold_until_seeded(
    layout: Layout, start: Start, lose: Callable[[Server], None], partitions: int
) -> None:
    """Flushed or started anew, no row is sound; once seeded with the whole log, rows are those never disturbed."""
    server, source = start(), EmbeddedStore(layout)
    parts = random_parts(random_log(layout, 600, 1), 2)
    store = seeded_store(layout, [server.url], partitions)
    half = len(parts) // 2
    assert_same(fold_parts(store, parts[:half]), fold_parts(source, parts[:half]))
    lose(server)
    for part in parts[half : half + 2]:
        cold = store.fold(part)
        assert set(cold.soundness.tolist()) <= {Soundness.STATE_COLD, Soundness.STORE_UNAVAILABLE}
        source.fold(part)
    assert_cold(store, parts[half + 1] if len(parts[half + 1]) else parts[0])
    assert_cold(open_store(layout, [server.url], partitions), parts[0])
    seed([server.url], source, partitions=partitions)
    assert_same(fold_parts(store, parts[half + 2 :]), fold_parts(source, parts[half + 2 :]))


def test_clicks_of_a_cold_store_are_unmeasurable(start: Start, tmp_path: Path) -> None:
    """A decider over a server that was flushed decides nothing, and says why."""
    bundle = write_bundle(tmp_path / "bundle", small.parts(), created_at=0, version="0")
    server, layout = start(), compile_catalogue(bundle.catalogue)
    decider = Decider(bundle, seeded_store(layout, [server.url]), Pseudonymiser(small.SECRET))
    clicks = small.random_clicks(60, seed=1)
    assert Verdict.VALID in decider.decide(clicks[:30]).verdicts
    flush(server)
    found = decider.decide(clicks[30:])
    assert set(found.verdicts) == {Verdict.UNMEASURABLE}
    assert "state_cold" in {reason for reasons in found.reasons for reason in reasons}
    assert np.isnan(found.scores).all()


def test_a_failover_goes_on(start: Start) -> None:
    """A replica that had every click takes over: rows go on as if nothing had happened."""
    master, replica = start(), start()
    follow(replica, master)
    log = steady_log(300)
    parts = parts_of(log, 50)
    store = seeded_store(SMALL, [master.url, replica.url])
    found = [fold_parts(store, parts[:3])]
    assert master.ask("WAIT", 1, 5000) == 1
    master.kill()
    replica.ask("REPLICAOF", "NO", "ONE")
    found.append(fold_parts(store, parts[3:]))
    assert_same(joined(found), EmbeddedStore(SMALL).fold(log))
    assert store.failovers == 1
    # One that starts after the failover finds what was agreed on.
    assert_sound(open_store(SMALL, [master.url, replica.url]).fold(steady_log(5, seed=2)))


def test_a_failover_loses_what_was_not_replicated(start: Start) -> None:
    """Clicks that the replica never got are missing from the rows, and no others."""
    master, replica = start(), start()
    follow(replica, master)
    parts = parts_of(steady_log(200), 50)
    store = seeded_store(SMALL, [master.url, replica.url])
    fold_parts(store, parts[:2])
    assert master.ask("WAIT", 1, 5000) == 1
    # Alone from here on, while the master still serves.
    replica.ask("REPLICAOF", "NO", "ONE")
    assert_sound(store.fold(parts[2]))
    master.kill()
    found = store.fold(parts[3])
    assert_sound(found)
    kept = EmbeddedStore(SMALL)
    fold_parts(kept, parts[:2])
    assert_same_bits(found.rows, kept.fold(parts[3]).rows)


def test_a_full_server_takes_no_click(start: Start) -> None:
    """Out of memory rows are marked; with more memory the clicks are sent again and counted once."""
    server, log = start(), steady_log(150)
    store = seeded_store(SMALL, [server.url])
    parts = parts_of(log, 50)
    found = [store.fold(parts[0])]
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    assert set(store.fold(parts[1]).soundness.tolist()) == {Soundness.STORE_UNAVAILABLE}
    assert "out of memory (maxmemory)" in store.fault
    server.ask("CONFIG", "SET", "maxmemory", "0")
    found += [store.fold(part) for part in parts[1:]]
    assert_same(joined(found), EmbeddedStore(SMALL).fold(log))


GARBAGE = [b"", b"x", b"garbage!", bytes(12), b"\xff" * 16, b"\xff" * 400, bytes(range(256)) * 4]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: f"{len(value)}-{value[:2].hex()}")
@pytest.mark.parametrize("partitions", [1, 4])
def test_a_damaged_value_is_marked(server: Server, garbage: bytes, partitions: int) -> None:
    """Where a value was overwritten the entity's rows are not sound and all others go on."""
    log = steady_log(200)
    log.keys[0, ::2], log.keys[0, 1::2] = 3 << 40, 4 << 40
    store = seeded_store(SMALL, [server.url], partitions)
    parts = parts_of(log, 100)
    store.fold(parts[0])
    name = next(block.key for block in SMALL.blocks if block.entity == ("user",))
    (damaged,) = [key for key in server.names() if f":{name}:{3 << 40:016x}".encode() in key]
    server.ask("SET", damaged, garbage)
    folded = store.fold(parts[1])
    assert_sound(folded._replace(soundness=folded.soundness[1::2], repeats=folded.repeats[1::2]))
    if garbage:
        assert set(folded.soundness[::2].tolist()) == {Soundness.STATE_COLD}
        assert "damaged" in store.fault
    expected = EmbeddedStore(SMALL).fold(log)
    assert_same_bits(folded.rows[1::2], expected.rows[101::2])


@pytest.mark.parametrize("at", [3, 20, 30, -5])
def test_a_damaged_record_is_marked(server: Server, at: int) -> None:
    """A bit that flipped anywhere in a packed record is found by its checksum."""
    log = steady_log(300)
    log.keys[:] = log.keys[:, :1] | np.uint64(1 << 63)
    store = seeded_store(SMALL, [server.url])
    fold_parts(store, parts_of(log, 100)[:2])
    store._heavy[0].clear()
    key = next(key for key in server.names() if SMALL.blocks[0].key.encode() in key)
    value = bytearray(server.ask("GET", key))
    length = int.from_bytes(value[12:16], "little")
    assert value[8:12] == b"\xff" * 4, "it was packed"
    assert at < length
    value[(16 + at) if at >= 0 else (16 + length + at)] ^= 4
    server.ask("SET", key, bytes(value))
    other = open_store(SMALL, [server.url])
    assert set(other.fold(log.take(slice(200, 250))).soundness.tolist()) == {Soundness.STATE_COLD}
    # Who has read it before it was damaged has it whole, or sees that it is another one.
    folded = store.fold(log.take(slice(250, 300)))
    right = folded.soundness == Soundness.SOUND
    assert set(folded.soundness[~right].tolist()) <= {Soundness.STATE_COLD}
    assert_same_bits(folded.rows[right], EmbeddedStore(SMALL).fold(log).rows[250:][right])


@pytest.mark.parametrize("name", ["agreement", "sequence", "newest"])
def test_nonsense_in_other_keys_raises_nothing(server: Server, name: str) -> None:
    """What tells the state apart may be overwritten too: rows are marked, or as they were."""
    store, log = seeded_store(SMALL, [server.url]), steady_log(100)
    store.fold(log.take(slice(0, 50)))
    for key in server.names():
        if key.endswith(name.encode()):
            server.ask("SET", key, b"\xff nonsense")
    marks = set(store.fold(log.take(slice(50, 100))).soundness.tolist())
    assert marks <= {Soundness.STATE_COLD, Soundness.STORE_UNAVAILABLE}


def refused(urls: list[str], match: str) -> None:
    """Assert that no store can be made, and that the message says why without the password."""
    with pytest.raises(StoreError, match=match) as caught:
        RedisStore(SMALL, urls, timeout=5.0)
    assert "secret" not in str(caught.value)


def test_a_read_only_replica_alone_is_refused(start: Start) -> None:
    """Where only a replica is named, the message asks for its master."""
    master, replica = start(), start()
    follow(replica, master)
    refused([replica.url], "read-only replica; name its master too")


def test_a_wrong_password_is_refused(start: Start) -> None:
    """A wrong password and none at all are refused at start, the right one is not."""
    server = start(password="secret")  # noqa: S106 of this server
    refused([server.url.replace("secret", "secretly")], "refuses the password")
    refused([f"redis://127.0.0.1:{server.port}"], "refuses the password")
    assert_sound(seeded_store(SMALL, [server.url]).fold(steady_log(3)))


def test_a_server_without_functions_is_refused(start: Start) -> None:
    """A server that knows no functions is refused at start."""
    refused([start("--rename-command", "FUNCTION", "").url], "has no functions")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_may_drop_keys_is_refused(start: Start, policy: str) -> None:
    """A server that drops keys when it is full is refused at start, and told what to set."""
    refused([start("--maxmemory-policy", policy).url], f"maxmemory-policy {policy}.*set noeviction")


@pytest.mark.parametrize("url", ["localhost", "http://localhost:6379", "redis://localhost:port", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    """What is no address is called that, and one is shown."""
    refused([url], "not the address of a redis server.*redis://host:port")


def test_a_server_that_is_not_there_is_named() -> None:
    """Where nobody listens the message names the address."""
    port = free_port()
    refused([f"redis://127.0.0.1:{port}"], f"127.0.0.1:{port} cannot be reached")


def test_another_number_of_partitions_is_refused(server: Server) -> None:
    """A store that spreads the entities otherwise than the seed marks its rows and says what to set."""
    seed([server.url], EmbeddedStore(SMALL), partitions=3)
    store = open_store(SMALL, [server.url], 1)
    assert set(store.fold(steady_log(5)).soundness.tolist()) == {Soundness.STORE_UNAVAILABLE}
    assert "in 3 partitions, and this process was set to 1" in store.fault


def test_a_store_that_never_found_its_server_again_raises_nothing(start: Start) -> None:
    """A server that is gone before the first click leaves marked rows, and the next one that is seeded serves."""
    server = start()
    seed([server.url], EmbeddedStore(SMALL))
    store = open_store(SMALL, [server.url])
    server.kill()
    assert set(store.fold(steady_log(5)).soundness.tolist()) == {Soundness.STORE_UNAVAILABLE}
    server.start()
    assert_cold(store, steady_log(5))
    seed([server.url], EmbeddedStore(SMALL))
    wait_until(lambda: not store.fold(steady_log(5)).soundness.any(), "the store is sound again")
