"""Direct requests: clicks to be decided are parsed as their bytes arrive, and answered as their batch is journalled.

Over ASGI a request is a task that is woken three times, each time behind whatever else the event loop has to do; at
half load that was most of the latency, and half of the work. Here it is one object and two calls. What is no plain
request for decisions goes over ASGI, to the same handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from slidr.service.intake import Headers

if TYPE_CHECKING:
    from slidr.service.protocol import BoundedProtocol

DECISIONS = "/v1/decisions"
"""Where clicks are sent to be decided."""
MOST = 1 << 20
"""Bytes of a body that is taken up whole; a larger one goes over ASGI, which lets its client wait."""


class Response(NamedTuple):
    """Status, body and headers of an answer, and how many clicks it has decided."""

    status: int
    body: bytes
    headers: Headers
    clicks: int = 0


Tell: TypeAlias = Callable[[Response, str], None]
"""Takes the answer to a request, and the identity of the request."""


class Decides(Protocol):
    """Answers requests for decisions."""

    def decide(self, headers: list[tuple[bytes, bytes]], body: bytes, tell: Tell, address: str = "") -> None:
        """Decide the clicks of a body from an address; `tell` is called once, now or later, and nothing is raised."""
        ...


class _Never:
    """Stands for the event that a task would wait for: nobody does."""

    def set(self) -> None:
        """Do nothing."""


class DirectCycle:
    """One request and its answer; in the place of uvicorn's cycle, whose attributes it has.

    Args:
        protocol: the connection.
        app: decides.
        keep_alive: whether the connection is kept.
    """

    __slots__ = ("_app", "_protocol", "body", "disconnected", "keep_alive", "more_body", "response_complete")
    response_started = False
    message_event = _Never()

    def __init__(self, protocol: BoundedProtocol, app: Decides, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self._app = app
        self.keep_alive = keep_alive
        self.body = b""
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    def begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Let the clicks be decided, now that the request is whole."""
        client = self._protocol.client
        self._app.decide(headers, bytes(self.body), self._answer, client[0] if client else "")

    def _answer(self, response: Response, request_id: str) -> None:
        if self.disconnected or self.response_complete:
            return
        protocol, transport = self._protocol, self._protocol.transport
        status, body, headers, _ = response
        parts = [STATUS_LINE[status], protocol.default_head()]
        for name, value in headers:
            if name == b"connection":
                self.keep_alive = False
            else:
                parts.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\nx-request-id: %b\r\n\r\n" % (len(body), request_id.encode()))
        parts.append(body)
        transport.write(b"".join(parts))
        self.response_complete = True
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()


def fits(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a body comes with its length, which is not much, and at once."""
    length = None
    for name, value in headers:
        if name == b"content-length":
            if length is not None or not value.isdigit():
                return False
            length = int(value)
        elif name in _INDIRECT:
            return False
    return length is not None and length <= MOST


_INDIRECT = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"))
