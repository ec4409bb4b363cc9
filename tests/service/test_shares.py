"""Shares: connections are spread evenly over those who accept them, and one that does not accept holds up nobody."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.service.shares import Listener, Shares


class _Counted(asyncio.Protocol):
    """A connection that greets, and is counted while it is open."""

    def __init__(self, connections: set[_Counted], name: bytes) -> None:
        self._connections = connections
        self._name = name

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._connections.add(self)
        self.transport = transport
        transport.write(self._name)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the name and the argument are asyncio's
        self._connections.discard(self)


class _Crowd:
    """Several who listen to one socket, each with its own count of connections."""

    def __init__(self, folder: Path, total: int) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.socket.setblocking(False)
        self.shares = [Shares(folder, total) for _ in range(total)]
        self.open: list[set[_Counted]] = [set() for _ in range(total)]
        self._own: list[socket.socket] = []
        self.listeners = [self._listener(place) for place in range(total)]

    def _listener(self, place: int) -> Listener:
        mine = self.open[place]
        # Each process has a number of its own for the socket.
        own = self.socket.dup()
        self._own.append(own)
        return Listener(
            own, self.shares[place], place + 1, lambda: len(mine), lambda: _Counted(mine, bytes([place + 1]))
        )

    async def connect(self, count: int) -> list[socket.socket]:
        """Open connections, all before any is accepted, and wait until each is greeted."""
        loop = asyncio.get_running_loop()
        opened = [socket.create_connection(self.socket.getsockname()) for _ in range(count)]
        for one in opened:
            one.setblocking(False)
            assert await asyncio.wait_for(loop.sock_recv(one, 1), 30)
        return opened

    async def close(self) -> None:
        for listener in self.listeners:
            listener.close()
            await listener.wait_closed()
        for connection in [one for mine in self.open for one in mine]:
            connection.transport.abort()
        for _ in range(1000):
            if not any(self.open):
                break
            await asyncio.sleep(0)
        for one in (self.socket, *self._own):
            one.close()


@pytest.mark.parametrize(("total", "connections"), [(1, 5), (2, 64), (4, 64), (3, 50)])
def test_connections_are_spread_evenly(tmp_path: Path, total: int, connections: int) -> None:
    """Of connections that are opened at once, all who accept them have about as many."""

    async def work() -> None:
        crowd = _Crowd(tmp_path, total)
        opened = await crowd.connect(connections)
        counts = [len(mine) for mine in crowd.open]
        assert sum(counts) == connections
        # Each has as many but for those whose turn passed while this process had no core.
        assert max(counts) - min(counts) <= max(1, connections // 8)
        for one in opened:
            one.close()
        await crowd.close()

    asyncio.run(work())


def test_one_who_comes_later_gets_the_next_connections(tmp_path: Path) -> None:
    """Who was replaced, and begins with none, takes what comes until it has as many as the others."""

    async def work() -> None:
        crowd = _Crowd(tmp_path, 3)
        crowd.listeners[0].close()
        first = await crowd.connect(20)
        assert [len(mine) for mine in crowd.open] == [0, 10, 10]
        crowd.listeners[0] = crowd._listener(0)
        second = await crowd.connect(10)
        counts = [len(mine) for mine in crowd.open]
        # One whose turn the others have let pass may have taken a connection more.
        assert sum(counts) == 30
        assert counts[0] >= 8
        for one in (*first, *second):
            one.close()
        await crowd.close()

    asyncio.run(work())


def test_one_who_is_stuck_holds_up_nobody(tmp_path: Path) -> None:
    """Connections are taken by the others where one that has fewer does not come."""

    async def work() -> None:
        crowd = _Crowd(tmp_path, 2)
        crowd.listeners[0].close()
        crowd.shares[0].tell(1, 0)
        opened = await crowd.connect(10)
        assert len(crowd.open[1]) == 10
        for one in opened:
            one.close()
        await crowd.close()

    asyncio.run(work())


@given(st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_somebody_always_accepts(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int | None], data: st.DataObject
) -> None:
    """Whatever the others have, one of those who accept does not leave the next connection to them."""
    folder = tmp_path_factory.mktemp("shares")
    shares = Shares(folder, len(counts))
    for number, count in enumerate(counts, 1):
        shares.tell(number, count)
    leaving = {number: shares.exceeds(number, count) for number, count in enumerate(counts, 1) if count is not None}
    assert not leaving or not all(leaving.values())
    if leaving:
        number = data.draw(st.sampled_from(sorted(leaving)))
        assert leaving[number] == any(other is not None and other < (counts[number - 1] or 0) for other in counts)
