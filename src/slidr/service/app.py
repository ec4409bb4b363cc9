"""The ASGI application: routes, statuses and bodies; what a click is worth is decided elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from slidr.errors import SlidrError
from slidr.service.batching import OverloadError, answer_of
from slidr.service.door import Headers, Problem, RefusedError
from slidr.service.lifecycle import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DECISIONS = "/v1/decisions"
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
# A body that was not read leaves the connection of no further use.
_CLOSE = (b"connection", b"close")
_RETRY = (b"retry-after", b"1")
_FURTHER = {413: (_CLOSE,), 415: (_CLOSE,), 429: (_RETRY,), 503: (_RETRY,)}
_INSIDE = {"click_key", "logged_in", "keys", "row", "threshold"}
"""What the journal holds of a click and nobody is told: hashes, features, and how near the threshold was."""
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger("slidr.service")


class Response(NamedTuple):
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: Headers = (_JSON,)


class Fault(msgspec.Struct, frozen=True):
    """Stands in an array of answers for a click that was not decided."""

    error: Problem


class App:
    """The HTTP face of a service, for any ASGI server.

    | request | answer |
    |---|---|
    | POST /v1/decisions | decides one click (an object) or several (an array) |
    | GET /v1/decisions/{click_id} | what the journal holds of a click |
    | GET /health | 200 while the process lives |
    | GET /ready | 200 while it decides, 503 otherwise |
    | GET /metrics | Prometheus |

    Args:
        service: what decides; started and stopped by the caller.
        body_limit: bytes that a request may have.
    """

    def __init__(self, service: Service, body_limit: int) -> None:
        self._service = service
        self._body_limit = body_limit
        self._routes: dict[str, Callable[[], Response]] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            status, body, headers = await self._respond(scope, receive)
        except _DisconnectedError:
            return
        except SlidrError as fault:
            status, body, headers = _refusal(fault)
        except Exception as fault:  # noqa: BLE001 a request that fails must not end the others
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=fault)
            status, body, headers = _refusal(_refused(500, "internal error", "the fault is in the service's log"))
        self._service.metrics.request(str(status)).inc()
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": (*headers, length)})
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        path, method = scope["path"], scope["method"]
        if path == DECISIONS:
            if method != "POST":
                raise _wrong_method(method, path, "POST")
            return await self._decide(await self._body(scope["headers"], receive))
        route = self._routes.get(path)
        if route is None and not path.startswith(f"{DECISIONS}/"):
            raise _refused(404, "unknown path", f"{path} is nothing here; clicks are decided at {DECISIONS}")
        if method not in {"GET", "HEAD"}:
            raise _wrong_method(method, path, "GET")
        return await self._find(scope) if route is None else route()

    async def _body(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """Read the body of a request, but not one of another type than JSON, nor more of it than is taken."""
        kind = b""
        for name, value in headers:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                self._refuse_too_large(int(value))
        if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
            raise _refused(415, "not JSON", f"content-type is {kind.decode('latin-1')!r}; send application/json")
        body: bytes = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _DisconnectedError
            body = body + message["body"] if body else message["body"]
            self._refuse_too_large(len(body))
            if not message["more_body"]:
                return body

    def _refuse_too_large(self, size: int) -> None:
        if size > self._body_limit:
            detail = f"the body has {size} bytes or more; at most {self._body_limit} are taken: send several requests"
            raise _refused(413, "body too large", detail)

    async def _decide(self, body: bytes) -> Response:
        admitted, future = self._service.accept(body)
        answers = await future
        if admitted.single:
            return Response(200, _encode(answers[0]))
        if not admitted.faults:
            return Response(200, _encode(answers))
        faults, decided = admitted.faults, iter(answers)
        places = range(len(answers) + len(faults))
        return Response(200, _encode([Fault(faults[at]) if at in faults else next(decided) for at in places]))

    async def _find(self, scope: Scope) -> Response:
        # `path` is decoded already, and a click_id may hold a slash or a percent sign.
        click_id = unquote(scope["raw_path"].decode("latin-1").removeprefix(f"{DECISIONS}/"))
        entry = await self._service.find(click_id)
        if entry is None:
            raise _refused(404, "unknown click", f"the journal holds no decision of click {click_id!r}")
        found = {name: value for name, value in entry._asdict().items() if name not in _INSIDE}
        return Response(200, _encode({"invalid": answer_of(entry).invalid, **found}))

    def _health(self) -> Response:
        return Response(200, _encode({"alive": True}))

    def _ready(self) -> Response:
        ready = self._service.ready.is_set()
        return Response(200 if ready else 503, _encode({"ready": ready, **self._service.report()}))

    def _metrics(self) -> Response:
        return Response(200, self._service.metrics.exposition(), (_TEXT,))


class _DisconnectedError(Exception):
    """Who asked has gone."""


def _refused(status: int, title: str, detail: str) -> RefusedError:
    return RefusedError(Problem(title, status, detail))


def _wrong_method(method: str, path: str, right: str) -> RefusedError:
    detail = f"{method} is not answered at {path}; use {right}"
    return RefusedError(Problem("wrong method", 405, detail), headers=((b"allow", right.encode()),))


def _refusal(fault: SlidrError) -> Response:
    """Return the answer that an error is given."""
    headers: Headers = ()
    if isinstance(fault, RefusedError):
        problem, headers = fault.problem, fault.headers
    elif isinstance(fault, OverloadError):
        problem = Problem("queue full", 429, str(fault))
    else:
        problem = Problem("not deciding", 503, str(fault))
    return Response(problem.status, _encode(problem), (_PROBLEM, *headers, *_FURTHER.get(problem.status, ())))
