"""Load: clicks sent to a service over HTTP, as fast as it answers or at a rate of one's own, and every answer kept.

At a set rate a request has an intended time, and its latency counts from there, whether or not a connection was free
then: a service that stalls is charged for all who waited (the coordinated omission of Gil Tene, "How NOT to Measure
Latency", 2013). Requests are written as prepared bytes over raw connections, so that one core can drive another.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import uvloop
from numpy.typing import NDArray

from slidr.errors import ServiceError

UNANSWERED = 0
"""The status of a request whose connection ended before an answer came, or that could not be sent any more."""
_HEAD_END = b"\r\n\r\n"
_NEAR = 0.002  # seconds: the event loop's timers are a millisecond coarse, so what is nearer is waited for awake
_CONNECTING = 10.0  # seconds


@dataclass(frozen=True, eq=False)
class Replay:
    """What became of n requests, in the order in which they were given.

    Attributes:
        statuses: int16[n], HTTP status; UNANSWERED where no answer came.
        bodies: the answers' bodies; empty where no answer came.
        latencies: float64[n], seconds from the intended or, without a rate, the actual time of sending; NaN where no
            answer came.
        seconds: from the first request to the last answer.
    """

    statuses: NDArray[np.int16]
    bodies: list[bytes]
    latencies: NDArray[np.float64]
    seconds: float

    @property
    def unanswered(self) -> int:
        """Requests without an answer."""
        return int(np.count_nonzero(self.statuses == UNANSWERED))

    @property
    def rate(self) -> float:
        """Answers a second."""
        return (len(self.bodies) - self.unanswered) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """Return the latency, in milliseconds, within which this share of the answers came; NaN without answers."""
        answered = self.latencies[~np.isnan(self.latencies)]
        return float(np.quantile(answered, share)) * 1000 if len(answered) else float("nan")


def replay(
    url: str,
    bodies: Sequence[bytes],
    *,
    connections: int = 8,
    rate: float | None = None,
    patience: float = 30.0,
    progress: Callable[[int], None] | None = None,
) -> Replay:
    """Post JSON bodies to a URL and return every answer.

    Args:
        url: such as `http://127.0.0.1:8710/v1/decisions`.
        bodies: of the requests, sent in this order; answers may overtake each other on several connections.
        connections: kept open throughout; each carries one request at a time.
        rate: requests a second; None sends the next as soon as a connection is free.
        patience: seconds without any answer after which to give up.
        progress: called with the number of further answers, about every hundredth of them.

    Raises:
        ServiceError: the URL is not one, nobody listens there, what comes back is not HTTP, or nothing comes back.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ServiceError(f"{url!r} is not an http address, such as http://127.0.0.1:8710/v1/decisions")
    lines = (f"POST {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json")
    head = "\r\n".join((*lines, "content-length: ")).encode()
    requests = [b"%b%d%b%b" % (head, len(body), _HEAD_END, body) for body in bodies]
    run = _Run(requests, rate, progress)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run.drive(parts.hostname, parts.port or 80, min(connections, len(requests)), patience))


class _Run:
    """The requests of one replay and what came back so far."""

    def __init__(self, requests: list[bytes], rate: float | None, progress: Callable[[int], None] | None) -> None:
        self.requests = requests
        self.statuses = [UNANSWERED] * len(requests)
        self.bodies = [b""] * len(requests)
        self.latencies = [float("nan")] * len(requests)
        self.settled = 0
        self._interval = None if rate is None else 1 / rate
        self._progress = progress
        self._step = max(1, len(requests) // 100)
        self._next = 0
        self._start = 0.0
        self._awaited = False
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._reconnecting: set[asyncio.Task[None]] = set()

    async def drive(self, host: str, port: int, connections: int, patience: float) -> Replay:
        self._loop = asyncio.get_running_loop()
        self._address = (host, port)
        self._done: asyncio.Future[None] = self._loop.create_future()
        try:
            for _ in range(connections):
                await self._connect()
        except OSError as fault:
            raise ServiceError(f"nobody answers at {host}:{port} ({fault}); start the service there first") from None
        self._start = time.perf_counter()
        if not self.requests:
            self._done.set_result(None)
        self._send()
        watch = self._loop.create_task(self._watch(patience))
        try:
            await self._done
        finally:
            watch.cancel()
            self._progress = None
            await self._hang_up()
        return Replay(
            np.array(self.statuses, np.int16),
            self.bodies,
            np.array(self.latencies, np.float64),
            time.perf_counter() - self._start,
        )

    async def _hang_up(self) -> None:
        for task in self._reconnecting:
            task.cancel()
        await asyncio.gather(*self._reconnecting, return_exceptions=True)
        for connection in self._open:
            connection.close()
        await asyncio.gather(*(connection.closed for connection in self._open))

    async def _connect(self) -> None:
        creating = self._loop.create_connection(lambda: _Connection(self), *self._address)
        _, connection = await asyncio.wait_for(creating, _CONNECTING)
        self._open.add(connection)
        self._idle.append(connection)

    async def _watch(self, patience: float) -> None:
        """Fail the run when a whole period goes by without an answer."""
        seen = -1
        while seen != self.settled:
            seen = self.settled
            await asyncio.sleep(patience)
        waiting = len(self.requests) - self.settled
        self.fail(ServiceError(f"no answer for {patience} s while {waiting} requests wait; look at the service's log"))

    def fail(self, fault: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(fault)

    def _send(self) -> None:
        """Send what is due on the connections that are free, and see to it that the rest is sent in time."""
        if self._interval is None:
            while self._idle and self._next < len(self.requests):
                self._begin(time.perf_counter())
            return
        now = time.perf_counter()
        while self._next < len(self.requests) and (due := self._start + self._next * self._interval) <= now:
            if not self._idle:
                return  # `settle` comes back here as soon as a connection is free.
            self._begin(due)
        if self._next < len(self.requests) and not self._awaited:
            self._awaited = True
            ahead = self._start + self._next * self._interval - now
            if ahead > _NEAR:
                self._loop.call_later(ahead - _NEAR, self._wake)
            else:
                self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._awaited = False
        self._send()

    def _begin(self, since: float) -> None:
        self._idle.popleft().send(self._next, self.requests[self._next], since)
        self._next += 1

    def settle(self, connection: _Connection, request: int, status: int, body: bytes) -> None:
        """Take an answer, and give the connection the next request."""
        self.statuses[request], self.bodies[request] = status, body
        self.latencies[request] = time.perf_counter() - connection.since
        if connection.ending:
            connection.close()
        else:
            self._idle.append(connection)
        self._count()
        self._send()

    def lose(self, connection: _Connection, request: int | None) -> None:
        """Give up the request of a connection that ended, and open another connection."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if request is not None:
            self._count()
        if not self._done.done():
            task = self._loop.create_task(self._reconnect())
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)

    async def _reconnect(self) -> None:
        try:
            await self._connect()
        except OSError:
            if not self._open and not self._done.done():
                self._done.set_result(None)  # The service is gone: what is not answered stays unanswered.
        else:
            self._send()

    def _count(self) -> None:
        self.settled += 1
        if self._progress is not None and self.settled % self._step == 0:
            self._progress(self._step)
        if self.settled == len(self.requests) and not self._done.done():
            if self._progress is not None:
                self._progress(self.settled % self._step)
            self._done.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._request: int | None = None
        self._received = b""
        self.since = 0.0
        self.ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, request: int, content: bytes, since: float) -> None:
        self._request, self.since = request, since
        self._transport.write(content)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(_HEAD_END)
        if end < 0:
            self._received = received
            return
        body = end + len(_HEAD_END)
        try:
            status, length, self.ending = _head(received[:end])
        except ValueError:
            self._run.fail(ServiceError(f"what came back is not HTTP/1.1 with a content-length: {received[:80]!r}"))
            return
        if len(received) < body + length:
            self._received = received
            return
        self._received = b""
        request, self._request = self._request, None
        if request is not None:
            self._run.settle(self, request, status, received[body : body + length])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 the name and the argument are asyncio's
        self._received = b""
        request, self._request = self._request, None
        self.closed.set_result(None)
        self._run.lose(self, request)


def _head(head: bytes) -> tuple[int, int, bool]:
    """Return status, content-length and whether the connection ends; raises ValueError where the head lacks one."""
    lower = head.lower()
    if not lower.startswith(b"http/1."):
        raise ValueError(head)
    at = lower.index(b"\r\ncontent-length:") + len(b"\r\ncontent-length:")
    line = lower.find(b"\r\n", at)
    return int(lower[9:12]), int(lower[at:] if line < 0 else lower[at:line]), b"\r\nconnection: close" in lower
