"""Nodes: which server holds a partition, and calls that go to all of them before any answers."""

from __future__ import annotations

import pytest
from redis.crc import key_slot
from tests.redis_servers import LOSE_ANSWER, Proxy, Server

from slidr.errors import StoreError
from slidr.features.redis.nodes import LIBRARY, Nodes, tag


def test_partitions_lie_on_all_servers_of_a_cluster(cluster: list[Server]) -> None:
    """One address finds all servers; every partition's keys lie on the server that answers for it."""
    nodes = Nodes([cluster[1].url], 12, 5.0)
    nodes.connect()
    answers = nodes.run({partition: [("SET", f"{tag(partition)}:x", partition)] for partition in range(12)})
    assert answers == {partition: [b"OK"] for partition in range(12)}
    assert {nodes.identity(partition).address[1] for partition in range(12)} == {server.port for server in cluster}
    for server in cluster:
        held = {int(name.split(b"{")[1].split(b"}")[0]) for name in server.names()}
        assert held == {part for part in range(12) if nodes.identity(part).address[1] == server.port}
    nodes.close()


def test_a_partition_is_one_slot() -> None:
    """Every key of a partition lies in one slot, and no two of the first partitions share one."""
    slots = [key_slot(tag(partition).encode()) for partition in range(64)]
    assert key_slot(f"{tag(5)}:agreement".encode()) == slots[5]
    assert len(set(slots)) == 64


def test_the_library_is_loaded_once(server: Server) -> None:
    """A server gets the library with the first connection, and another text under its name is replaced."""
    nodes = Nodes([server.url], 1, 5.0)
    server.ask("FUNCTION", "FLUSH")
    nodes.connect()
    loaded = server.ask("FUNCTION", "LIST", "LIBRARYNAME", LIBRARY, "WITHCODE")
    nodes.close()
    server.ask("FUNCTION", "LOAD", "REPLACE", f"#!lua name={LIBRARY}\nredis.register_function('old', function() end)")
    nodes.connect()
    assert server.ask("FUNCTION", "LIST", "LIBRARYNAME", LIBRARY, "WITHCODE") == loaded
    nodes.close()


def test_an_error_does_not_hide_the_other_answers(server: Server) -> None:
    """A partition whose command is refused has the fault, those behind it have their answers."""
    nodes = Nodes([server.url], 3, 5.0)
    nodes.connect()
    answers = nodes.run({0: [("PING",)], 1: [("NO", "SUCH")], 2: [("ECHO", "here")]})
    assert (answers[0], answers[2]) == ([b"PONG"], [b"here"])
    assert isinstance(answers[1], StoreError)
    nodes.close()


def test_a_lost_connection_is_made_again(server: Server, proxy: Proxy) -> None:
    """A lost answer is a fault; the next `connect` makes the connection anew and says that it did."""
    assert server.ask("PING")
    nodes = Nodes([proxy.url], 1, 5.0)
    nodes.connect()
    before = nodes.generation
    proxy.plan([LOSE_ANSWER])
    assert isinstance(nodes.run({0: [("PING",)]})[0], StoreError)
    assert isinstance(nodes.run({0: [("PING",)]})[0], StoreError)
    nodes.connect()
    assert nodes.generation > before
    assert nodes.run({0: [("PING",)]}) == {0: [[b"PONG"][0]]}
    nodes.close()


def test_a_slow_server_is_not_waited_for(server: Server) -> None:
    """A server that does not answer in time leaves a fault that names the limit."""
    nodes = Nodes([server.url], 1, 0.2)
    nodes.connect()
    server.ask("CLIENT", "PAUSE", 1000)
    fault = nodes.run({0: [("PING",)]})[0]
    assert "did not answer within 0.2 s" in str(fault)
    server.ask("CLIENT", "UNPAUSE")
    with pytest.raises(StoreError, match="not the address"):
        Nodes(["nowhere"], 1, 0.2).connect()
    nodes.close()
