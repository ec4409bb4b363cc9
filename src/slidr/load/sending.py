"""Sending: requests over raw connections, each at its time, and a word on every answer.

A request has an intended time, and its latency counts from there, whether or not a connection was free then: a service
that stalls is charged for all who waited (the coordinated omission of Gil Tene, "How NOT to Measure Latency", 2013).
Requests are written as prepared bytes over raw connections, so that one core can drive another.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

import uvloop

from slidr.errors import ServiceError, SlidrError
from slidr.load.alarm import Alarm

UNANSWERED = 0
"""The status of a request whose connection ended before an answer came, or that could not be sent any more."""
_HEAD_END = b"\r\n\r\n"
_CONNECTING = 10.0  # seconds


class Request(NamedTuple):
    """What is to be sent.

    Attributes:
        body: JSON.
        due: seconds after the start; None as soon as a connection is free.
    """

    body: bytes
    due: float | None = None


class Answer(NamedTuple):
    """What became of a request that was sent.

    Attributes:
        number: of the request, from 0 in the order given.
        status: of HTTP; UNANSWERED where no answer came.
        body: empty where no answer came.
        latency: seconds from the intended, or, without one, the actual time of sending; NaN where no answer came.
        service: seconds from the actual time of sending; NaN likewise.
    """

    number: int
    status: int
    body: bytes
    latency: float
    service: float


Take: TypeAlias = Callable[[Answer], None]


class Sent(NamedTuple):
    """How the sending went.

    Attributes:
        seconds: from the first request to the last answer.
        lags: seconds by which a request was sent too late though a connection was free: the noise of the sender's core.
    """

    seconds: float
    lags: array[float]


class Target:
    """Where requests go.

    Args:
        url: such as `http://127.0.0.1:8710/v1/decisions`.
        headers: sent with every request.
        tls: how the service is known, for an https address; None trusts what the system trusts.

    Raises:
        ServiceError: the URL is not an http or https address.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise ServiceError(f"{url!r} is not an http address, such as http://127.0.0.1:8710/v1/decisions")
        secure = parts.scheme == "https"
        self.host: str = parts.hostname
        self.port: int = parts.port or (443 if secure else 80)
        self.tls: ssl.SSLContext | None = (tls or ssl.create_default_context()) if secure else None
        path = parts.path or "/"
        lines = [
            f"POST {path}?{parts.query} HTTP/1.1" if parts.query else f"POST {path} HTTP/1.1",
            f"host: {parts.netloc.rpartition('@')[2]}",
            "content-type: application/json",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        if any("\r" in line or "\n" in line for line in lines):
            raise ServiceError("a header holds a line break; look at where its value comes from")
        self._head = "\r\n".join((*lines, "content-length: ")).encode()

    def request(self, body: bytes) -> bytes:
        """Return the bytes of a request."""
        return b"%b%d%b%b" % (self._head, len(body), _HEAD_END, body)


class Limits(NamedTuple):
    """What bounds a run.

    Attributes:
        connections: kept open throughout; each carries one request at a time.
        seconds: after which nothing more is sent; None sends all.
        patience: seconds without any answer after which to give up.
    """

    connections: int = 8
    seconds: float | None = None
    patience: float = 30.0


def send(target: Target, requests: Iterable[Request], take: Take, limits: Limits | None = None) -> Sent:
    """Send requests in the order given, and hand over every answer as it comes.

    Requests are drawn one ahead of time. SIGINT ends the sending early, without an error.

    Raises:
        ServiceError: nobody listens there, what comes back is not HTTP, or nothing comes back.
        SlidrError: the requests cannot be made.
    """
    run = _Run(target, iter(requests), take, limits or Limits())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run.drive())


class _Run:
    """The requests of one run that are under way."""

    def __init__(self, target: Target, requests: Iterator[Request], take: Take, limits: Limits) -> None:
        self._target = target
        self._requests = requests
        self._take = take
        self._limits = limits
        self._following: Request | None = None
        self._number = 0
        self._settled = 0
        self._start = 0.0
        self._end = float("inf")
        self._lags = array("d")
        self._waits = False  # for a connection: what is late is not the sender's fault
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._reconnecting: set[asyncio.Task[None]] = set()

    async def drive(self) -> Sent:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._following = next(self._requests, None)
        try:
            for _ in range(self._limits.connections):
                await self._connect()
        except (OSError, TimeoutError) as fault:
            where = f"{self._target.host}:{self._target.port}"
            raise ServiceError(f"nobody answers at {where} ({fault}); start the service there first") from None
        self._alarm = Alarm(self._loop, self._send)
        self._start = time.perf_counter()
        if self._limits.seconds is not None:
            self._end = self._start + self._limits.seconds
            self._loop.call_later(self._limits.seconds, self.finish)
        main = threading.current_thread() is threading.main_thread()
        if main:
            self._loop.add_signal_handler(signal.SIGINT, self.finish)
        watch = self._loop.create_task(self._watch())
        try:
            self._send()
            self._conclude()
            await self._done
        finally:
            watch.cancel()
            if main:
                self._loop.remove_signal_handler(signal.SIGINT)
            self._alarm.close()
            await self._hang_up()
        return Sent(time.perf_counter() - self._start, self._lags)

    def finish(self) -> None:
        """Send nothing more; what is under way is still waited for."""
        self._following = None
        self._requests = iter(())
        self._conclude()

    async def _hang_up(self) -> None:
        for task in self._reconnecting:
            task.cancel()
        await asyncio.gather(*self._reconnecting, return_exceptions=True)
        for connection in self._open:
            connection.close()
        await asyncio.gather(*(connection.closed for connection in self._open))

    async def _connect(self) -> None:
        target = self._target
        creating = self._loop.create_connection(lambda: _Connection(self), target.host, target.port, ssl=target.tls)
        _, connection = await asyncio.wait_for(creating, _CONNECTING)
        self._open.add(connection)
        self._idle.append(connection)

    async def _watch(self) -> None:
        """Fail the run when a request waits and a whole period goes by without an answer."""
        seen, waited = -1, False
        while not (waited and seen == self._settled):
            seen, waited = self._settled, self._number > self._settled
            await asyncio.sleep(self._limits.patience)
        waiting = self._number - self._settled
        self.fail(
            ServiceError(
                f"no answer for {self._limits.patience} s to {waiting} requests under way; look at the service's log"
            )
        )

    def fail(self, fault: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(fault)

    def _send(self) -> None:
        """Send what is due on the connections that are free, and see to it that the rest is sent in time."""
        while (request := self._following) is not None and not self._done.done():
            now = time.perf_counter()
            due = now if request.due is None else self._start + request.due
            if due > now:
                self._waits = False
                if due < self._end:
                    self._alarm.set(due)
                return
            if not self._idle:
                self._waits = True
                return  # `settle` comes back here as soon as a connection is free.
            if request.due is not None and not self._waits:
                self._lags.append(now - due)
            self._idle.popleft().send(self._number, self._target.request(request.body), (due, now))
            self._number += 1
            self._draw()

    def _draw(self) -> None:
        try:
            self._following = next(self._requests, None)
        except SlidrError as fault:
            self.fail(fault)

    def settle(self, connection: _Connection, number: int, status: int, body: bytes) -> None:
        """Take an answer, and give the connection the next request."""
        now = time.perf_counter()
        due, sent = connection.since
        if connection.ending:
            connection.close()
        else:
            self._idle.append(connection)
        self._count(Answer(number, status, body, now - due, now - sent))
        self._send()
        self._conclude()

    def lose(self, connection: _Connection, number: int | None) -> None:
        """Give up the request of a connection that ended, and open another connection."""
        self._open.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)
        if number is not None:
            self._count(Answer(number, UNANSWERED, b"", float("nan"), float("nan")))
            self._conclude()
        if not self._done.done():
            task = self._loop.create_task(self._reconnect())
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)

    async def _reconnect(self) -> None:
        try:
            await self._connect()
        except (OSError, TimeoutError):
            if not self._open:
                self.finish()  # The service is gone: what is not answered stays unanswered.
        else:
            self._send()

    def _count(self, answer: Answer) -> None:
        self._settled += 1
        if not self._done.done():
            self._take(answer)

    def _conclude(self) -> None:
        if self._following is None and self._settled == self._number and not self._done.done():
            self._done.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._request: int | None = None
        self._received = b""
        self.since = (0.0, 0.0)
        self.ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, request: int, content: bytes, since: tuple[float, float]) -> None:
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
