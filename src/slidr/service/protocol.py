"""The protocol: uvicorn's HTTP/1.1 on httptools, with bounds on what one connection may take.

Uvicorn bounds neither the head of a request, nor the time that a request takes to arrive, nor the requests that a
client sends ahead, nor the time that it takes to fetch its answers. Here each has its limit, so that no client holds
memory or a connection for longer than others can spare them.

A connection has one timer, which looks how things stand and is set anew by what it sees, never by a request: a request
costs two readings of the clock, less than the timer of uvicorn that this one replaces.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import msgspec
from httptools import HttpParserError, HttpParserUpgrade
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from slidr.service.direct import DECISIONS, Decides, DirectCycle, fits
from slidr.service.door import Problem
from slidr.service.tls import Certificate
from slidr.settings.serving import ServiceSettings

_DECISIONS = DECISIONS.encode()
BACKLOG = 2048
"""Connections that may wait to be accepted."""
_LINGER = 1.0  # seconds in which a client that is refused may read why
_SOONEST = 0.001  # seconds; the loop's timers are a millisecond coarse
_OTHER_FILES = 128  # journal, snapshots, tables, Redis, and what the libraries keep open
_log = logging.getLogger("slidr.service")


class Limits(NamedTuple):
    """What one connection may take.

    Attributes:
        head: bytes of a request's line and headers; of its trailers too.
        request: seconds from the first byte of a request to its last, and to fetch what is answered.
        idle: seconds between an answer and the next request.
        connections: most at once.
        pipeline: most requests that wait while one is answered.
        leaving: once it is set, a connection ends with its next answer; None where it never is.
    """

    head: int
    request: float
    idle: float
    connections: int
    pipeline: int
    leaving: asyncio.Event | None = None


@lru_cache(maxsize=2)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


class _StopError(Exception):
    """Ends the parser; why is known already."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: of uvicorn.
        server_state: of uvicorn; its connections are counted.
        app_state: of uvicorn.
        limits: what the connection may take.
        refused: told the cause whenever a connection is refused or cut off.
        decides: answers plain requests for decisions; these go over ASGI like all others where None.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        refused: Callable[[str], None],
        decides: Decides | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._decides = decides
        self._direct: DirectCycle | None = None
        self._limits = limits
        self._refused = refused
        self._longest_wait = min(limits.request, limits.idle)
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0  # when the request began that is being read, or when the last answer ended
        self._reading = False  # whether a request has come in part
        self._head = True  # whether what comes next are lines of a head
        self._head_bytes = 0  # of the head, in earlier chunks of data
        self._chunk = 0  # bytes of the chunk of data that is parsed
        self._held_since: float | None = None  # since when the client has not fetched its answers
        self._ended = False  # whether what still comes is ignored
        self._closing = False  # whether the timer has seen the connection closing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._wait(self._longest_wait)
        if len(self.connections) > self._limits.connections:
            self.connections.discard(self)
            self._refuse(503, "connections", f"{self._limits.connections} connections are open; retry in a moment")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if self._ended:
            return
        if not self._reading:
            self._reading = True
            self._since = self.loop.time()
        all_head = self._head
        self._chunk = len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            # There is nothing to upgrade to: the request is answered, and what follows it is no HTTP.
            self._ended = True
            self._reading = False
            self.cycle.keep_alive = False
        except HttpParserError:
            if not self._ended:
                self._refuse(400, "malformed", "what was sent is not HTTP/1.1")
        else:
            if all_head and self._head and self._reading:
                self._head_bytes += self._chunk
                if self._head_bytes > self._limits.head:
                    self._refuse_head()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._head_bytes = 0
        if not self._reading:
            self._reading = True
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Begin to answer a request whose head is whole, where it is not too large and not too many wait."""
        self._head = False
        if self._head_bytes + self._chunk > self._limits.head and self._size() > self._limits.head:
            self._refuse_head()
            raise _StopError
        if len(self.pipeline) >= self._limits.pipeline:
            self._refuse(503, "pipelined", f"{self._limits.pipeline} requests wait already on this connection")
            raise _StopError
        idle = self.cycle is None or self.cycle.response_complete
        if (
            self._decides is not None
            and self.url == _DECISIONS
            and idle
            and self.parser.get_method() == b"POST"
            and fits(self.headers)
        ):
            alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive() and not self._left()
            self._direct = DirectCycle(self, self._decides, keep_alive=alive)
            self.cycle = cast("RequestResponseCycle", self._direct)
            return
        self._direct = None
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers += headers
        super().on_headers_complete()
        if self._left():
            (self.pipeline[0][0] if self.pipeline else self.cycle).keep_alive = False

    def on_chunk_header(self) -> None:
        """Expect trailers, until a body follows."""
        self._head = True
        self._head_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._head = False
        cycle = self._direct
        if cycle is not None:
            cycle.body = cycle.body + body if cycle.body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        cycle = self._direct
        if cycle is not None:
            cycle.more_body = False
            self._reading, self._head = False, True
            cycle.begin(self.headers)
            return
        super().on_message_complete()
        # Also where the answer came before the body had been read, which the method above passes over.
        self.cycle.more_body = False
        self._reading = False
        self._head = True

    def on_response_complete(self) -> None:
        """Begin the next request that waits, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if not self._reading:
            self._since = self.loop.time()

    def pause_writing(self) -> None:
        """Note that the client does not fetch its answers, and read no more of its requests."""
        self._held_since = self.loop.time()
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._held_since = None
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def default_head(self) -> bytes:
        """Return the lines of every answer's head, such as the date, which uvicorn renews every second."""
        return _lines(tuple(self.server_state.default_headers))

    def _look(self) -> None:
        """Cut off a client that takes too long, and look again when it may next have done so."""
        now, limits = self.loop.time(), self._limits
        wait = self._longest_wait
        if self.transport.is_closing():
            if self._closing:
                # It has had the time of a request to fetch what was left.
                self.transport.abort()
                return
            self._closing, wait = True, limits.request
        elif self._held_since is not None:
            wait = self._held_since + limits.request - now
            if wait <= 0:
                self._refused("slow_reader")
                self.transport.abort()
                return
        elif self._reading:
            if self.flow.read_paused:
                # Not the client holds it up.
                self._since = now
            wait = self._since + limits.request - now
            if wait <= 0:
                self._refuse(408, "slow", f"the request was not whole after {limits.request:g} s")
                return
        elif self.cycle is None or self.cycle.response_complete:
            wait = self._since + limits.idle - now
            if wait <= 0:
                self.transport.close()
                wait = limits.request
        self._wait(wait)

    def _wait(self, seconds: float) -> None:
        """Look again after this time, and before anything that begins meanwhile may have taken too long."""
        self._timer = self.loop.call_later(max(min(seconds, self._longest_wait), _SOONEST), self._look)

    def _left(self) -> bool:
        """Return whether clients are to send their next request over another connection."""
        return self._limits.leaving is not None and self._limits.leaving.is_set()

    def _size(self) -> int:
        """Return the bytes of a head that is whole."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_head(self) -> None:
        self._refuse(431, "head", f"line and headers have more than {self._limits.head} bytes")

    def _refuse(self, status: int, cause: str, detail: str) -> None:
        """Say why no further request is read, once what was accepted before has been answered."""
        self._ended = True
        self._reading = False
        self._refused(cause)
        if self._timer is not None:
            self._timer.cancel()
        self._wait(self._longest_wait)
        cycle = self.cycle
        if cycle is not None and cycle.more_body and (cycle.response_started or self.pipeline):
            # Others are to be answered before it, or it was answered before it was whole.
            self.transport.close()
        elif cycle is not None and not cycle.more_body and not cycle.response_complete:
            cycle.keep_alive = False
        else:
            self._answer(status, detail)
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()

    def _answer(self, status: int, detail: str) -> None:
        line = STATUS_LINE[status]
        body = msgspec.json.encode(Problem(line[13:-2].decode().lower(), status, detail))
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(line + head + body)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(min(_LINGER, self._limits.request), self.transport.abort)
        if self.transport.can_write_eof():
            # Closing with data unread would reset the connection, and the client might never read this.
            self.transport.write_eof()
        else:
            self.transport.close()


def configure(
    app: Any,
    settings: ServiceSettings,
    certificate: Certificate | None,
    refused: Callable[[str], None],
    leaving: asyncio.Event | None = None,
) -> Config:
    """Return the configuration of a server whose connections are bounded as the settings say.

    Args:
        app: for ASGI, and for plain requests for decisions.
        settings: with the limits.
        certificate: shown to clients; None where they speak without TLS.
        refused: told the cause whenever a connection is refused or cut off.
        leaving: once it is set, connections end with their next answer; None where it never is.
    """
    limits = Limits(
        settings.header_limit,
        settings.request_seconds,
        settings.idle_seconds,
        settings.connections,
        settings.pipeline,
        leaving,
    )
    protocol: Any = partial(BoundedProtocol, limits=limits, decides=app, refused=refused)
    return Config(
        app,
        http=protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
    )


def make_room(connections: int) -> None:
    """Let the process open as many files as its connections need, where its account may."""
    needed = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        _log.warning(
            "service.connections is %d, and this account may open %d files: raise `ulimit -n` to %d, or lower it",
            connections,
            most,
            needed,
        )
