"""The memory of decisions that processes share: written with a call or without, read by any, lost never silently."""

from __future__ import annotations

import pytest
from tests.redis_servers import Server

from slidr.features.redis.decided import Decided
from slidr.features.redis.nodes import Nodes


def memory(server: Server, partitions: int = 1) -> Decided:
    """Return the memory of another process."""
    nodes = Nodes([server.url], partitions, 5.0)
    nodes.connect()
    return Decided(nodes, partitions)


@pytest.fixture(params=[1, 3])
def partitions(request: pytest.FixtureRequest) -> int:
    """Parts that the click_ids are spread over."""
    return int(request.param)


def test_what_one_remembers_all_recall(server: Server, partitions: int) -> None:
    """Decisions are there for an hour, for every process; what was never decided is left out."""
    one, two = memory(server, partitions), memory(server, partitions)
    decided = {place * 2**60 + place: bytes([place]) for place in range(1, 16)}
    one.remember(decided)
    assert two.recall([*decided]) == {}
    one.flush()
    assert two.recall([*decided, 7]) == decided
    assert two.recall([]) == {}
    lives = [server.ask("PTTL", name) for name in server.names()]
    assert len(lives) == 15
    assert all(3_500_000 < life <= 3_600_000 for life in lives)


def test_who_remembers_recalls_at_once(server: Server, partitions: int) -> None:
    """What waits to be written is written before anything is read; the later decision of a click holds."""
    one = memory(server, partitions)
    one.remember({5: b"first"})
    one.remember({5: b"second"})
    assert one.recall([5]) == {5: b"second"}
    assert one.commands() == {}


def test_what_could_not_be_written_is_written_later(server: Server) -> None:
    """While the server takes nothing the fault is told and the decisions wait; then they are written."""
    one = memory(server)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    one.remember({5: b"five"})
    one.flush()
    assert one.fault
    assert memory(server).recall([5]) == {}
    server.ask("CONFIG", "SET", "maxmemory", "0")
    one._nodes.connect()
    one.flush()
    assert one.fault == ""
    assert memory(server).recall([5]) == {5: b"five"}
