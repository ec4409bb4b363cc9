"""Shares: workers behind one socket take its connections in turn, so that none has more than the others.

The system wakes everybody who waits for a socket, and the same one tends to be first: of 64 connections that a client
opened at once, one of four workers got 42 and another 49, and two got none. A connection stays where it was accepted,
so such a worker is busy while the others are idle.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

_TURN = 0.005  # seconds that a worker with more connections leaves the others to take the next one
_TOLD = 0.1  # seconds between two words on how many there are, for they end unheard
_RETRY = 1.0  # seconds until the next attempt, where the system has no room for another connection
_WORD = 4  # bytes of a count
_log = logging.getLogger("slidr.service")


class Shares:
    """How many connections each of several workers has, in a file that all of them see at once.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     one, two = (Shares(Path(folder), total=2) for _ in range(2))
    ...     one.tell(1, 3)
    ...     two.tell(2, 4)
    ...     one.exceeds(1, 3), one.exceeds(2, 4)
    (False, True)

    Args:
        folder: of the workers.
        total: how many they are.
    """

    def __init__(self, folder: Path, total: int) -> None:
        opened = os.open(folder / "connections", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(opened, _WORD * total)
            self._counts = memoryview(mmap.mmap(opened, _WORD * total)).cast("I")
        finally:
            os.close(opened)

    def tell(self, number: int, connections: int | None) -> None:
        """Say how many connections a worker, counted from 1, has; None where it accepts none."""
        self._counts[number - 1] = 0 if connections is None else connections + 1

    def exceeds(self, number: int, connections: int) -> bool:
        """Return whether a worker with so many connections has more than one of the others that accept some."""
        others = [count - 1 for place, count in enumerate(self._counts, 1) if count and place != number]
        return connections > min(others, default=connections)


class Listener:
    """Accepts connections from a socket that other workers accept from too.

    One that has more connections than another worker leaves the next one to the others for some milliseconds, and takes
    it where they have not: a worker that is stuck holds up nobody.

    Args:
        shared: listens; it does not block.
        shares: of all workers.
        number: of this worker, from 1 on.
        connections: tells how many connections are open here.
        protocol: makes what a connection speaks.
        tls: how a connection is encrypted; None where it is not.
    """

    def __init__(
        self,
        shared: socket.socket,
        shares: Shares,
        number: int,
        connections: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = shared
        self._shares = shares
        self._number = number
        self._connections = connections
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._turn: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._loop.add_reader(shared, self._come)
        self._tell()

    def close(self) -> None:
        """Accept nothing more; what was accepted goes on."""
        for handle in (self._turn, self._telling):
            if handle is not None:
                handle.cancel()
        self._loop.remove_reader(self._socket)
        self._shares.tell(self._number, None)

    async def wait_closed(self) -> None:
        """Wait until the connections that were accepted have begun."""
        await asyncio.gather(*self._beginning)

    @property
    def _own(self) -> int:
        return self._connections() + len(self._beginning)

    def _tell(self) -> None:
        self._shares.tell(self._number, self._own)
        self._telling = self._loop.call_later(_TOLD, self._tell)

    def _come(self) -> None:
        """Accept a connection, or leave it to the others for a while."""
        if self._shares.exceeds(self._number, self._own):
            self._pause(_TURN)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._socket)
        self._turn = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._turn = None
        self._loop.add_reader(self._socket, self._come)
        self._accept()

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # Another worker has taken it, or its client has gone.
        except OSError as fault:
            _log.error("no connection can be accepted, which is tried again: %s", fault)
            self._pause(_RETRY)
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._begin(accepted))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        self._shares.tell(self._number, self._own)

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted, ssl=self._tls)
        except (OSError, EOFError) as fault:
            # Its client has gone, or speaks no TLS.
            _log.debug("a connection did not begin: %s", fault)
            accepted.close()
