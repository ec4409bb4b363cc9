"""The ASGI application: routes, statuses and bodies; what a click is worth is decided elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from slidr.clock import SECOND
from slidr.errors import SlidrError
from slidr.features.clicks import Click
from slidr.service.answers import Answer
from slidr.service.auth import Keys
from slidr.service.client_rate import ClientRates, client_at
from slidr.service.direct import DECISIONS, Response, Tell
from slidr.service.gathering import Gathering
from slidr.service.history import Archive, View
from slidr.service.intake import Admitted, Headers, Problem, RefusedError
from slidr.service.lifecycle import Service
from slidr.service.log import REQUEST_ID, RequestIds
from slidr.service.openapi import openapi_document
from slidr.service.purchases import PurchaseDesk
from slidr.service.queue import OverloadError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PURCHASES = "/v1/purchases"
_JSON = (b"content-type", b"application/json")
_NDJSON = (b"content-type", b"application/x-ndjson")
_PROBLEM = (b"content-type", b"application/problem+json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
# A body that was not read leaves the connection of no further use.
_CLOSE = (b"connection", b"close")
_RETRY = (b"retry-after", b"1")
_FURTHER = {413: (_CLOSE,), 415: (_CLOSE,), 429: (_RETRY,), 503: (_RETRY,)}
_LONGEST = 256  # characters of a click_id
_VIEWS: dict[bytes, View] = {b"": "auditor", b"view=advertiser": "advertiser", b"view=auditor": "auditor"}
_VIEWS[b"view=admin"] = "admin"
_encoder = msgspec.json.Encoder()
_encode, _encode_lines = _encoder.encode, _encoder.encode_lines
_log = logging.getLogger("slidr.service")


class Request:
    """One request, as its route's handler sees it.

    Attributes:
        scope: of ASGI: `headers`, `raw_path`, `query_string` and the rest.
        receive: of ASGI: gives the body.
        argument: what stands in the path in the place of the route's `{...}`, decoded; empty where it has none.
        key: the name of the key that was shown; None where nobody needs one.
    """

    __slots__ = ("argument", "key", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive, argument: str, key: str | None) -> None:
        self.scope = scope
        self.receive = receive
        self.argument = argument
        self.key = key


class Route(NamedTuple):
    """One thing that can be asked for.

    Attributes:
        method: of HTTP; HEAD is answered wherever GET is.
        path: exact, or ending in a part `{name}` that stands for anything.
        scope: what a key must be good for: `decide`, `read` or `admin`; None where nobody needs a key.
        handler: gives the answer.
    """

    method: str
    path: str
    scope: str | None
    handler: Callable[[Request], Awaitable[Response]]


class App:
    """The HTTP face of a service, for any ASGI server.

    | request | answer |
    |---|---|
    | POST /v1/decisions | decides one click (an object) or several (an array, or a line each) |
    | GET /v1/decisions/{click_id} | all decisions of a click |
    | POST /v1/purchases | takes purchases into the journal |
    | GET /openapi.json | this, for programs |
    | GET /health | 200 while the process lives |
    | GET /ready | 200 while it decides, 503 otherwise |
    | GET /metrics | Prometheus |

    Args:
        service: what decides; started and stopped by the caller.
        body_limit: bytes that a request may have.
        keys: what a request must show; nothing where None.
        gathering: gives the metrics of all workers; this one has none beside it where None.

    Attributes:
        routes: all that can be asked for.
    """

    def __init__(
        self, service: Service, body_limit: int, keys: Keys | None = None, gathering: Gathering | None = None
    ) -> None:
        self._service = service
        self._body_limit = body_limit
        self._keys = keys
        self._gathering = gathering
        self._ids = RequestIds()
        self._desk = PurchaseDesk(service)
        parts = service.parts
        rate = parts.settings.service.client_rate
        self._rates = ClientRates(rate, service.clock) if rate else None
        bundles = parts.root / parts.settings.storage.bundles
        self._archive = Archive(parts.journal_path, bundles, parts.other_journals)
        self.routes = (
            Route("POST", DECISIONS, "decide", self._decide),
            Route("GET", f"{DECISIONS}/{{click_id}}", "read", self._history),
            Route("POST", PURCHASES, "decide", self._report),
            Route("GET", "/openapi.json", None, self._document),
            Route("GET", "/health", None, self._health),
            Route("GET", "/ready", None, self._ready),
            Route("GET", "/metrics", "read", self._metrics),
        )
        self._paths: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            self._paths.setdefault(route.path.partition("{")[0], {})[route.method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began, request_id = time.perf_counter(), self._ids.of(scope["headers"])
        try:
            response = await self._respond(scope, receive)
        except _DisconnectedError:
            return
        except Exception as fault:  # noqa: BLE001 a request that fails must not end the others
            response = self._failed(fault, scope["method"], scope["path"], request_id)
        self._answered(response, began, scope["method"], scope["path"], request_id)
        status, body, headers, _ = response
        further = ((b"content-length", b"%d" % len(body)), (REQUEST_ID, request_id.encode()))
        await send({"type": "http.response.start", "status": status, "headers": (*headers, *further)})
        await send({"type": "http.response.body", "body": body})

    def decide(self, headers: list[tuple[bytes, bytes]], body: bytes, tell: Tell, address: str = "") -> None:
        """Decide the clicks of a body that is there already; `tell` takes the answer, now or once they are decided.

        What a request over ASGI is told, this one is told too.
        """
        began, request_id, lines = time.perf_counter(), self._ids.of(headers), False

        def told(admitted: Admitted[Click], answers: list[Answer] | SlidrError) -> None:
            if isinstance(answers, SlidrError):
                response = self._failed(answers, "POST", DECISIONS, request_id)
            else:
                response = _decided(admitted, answers, lines=lines)
            self._answered(response, began, "POST", DECISIONS, request_id)
            tell(response, request_id)

        try:
            key = None if self._keys is None else self._keys.check(headers, "decide")
            client = None if self._rates is None else self._client(self._rates, key, address)
            kind = next((value for name, value in headers if name == b"content-type"), b"")
            lines = kind != b"application/json" and _lines(kind)
            self._refuse_too_large(len(body))
            clicks = self._service.decide(body, told, lines=lines)
            if self._rates is not None and client is not None:
                self._rates.spend(client, clicks)
        except Exception as fault:  # noqa: BLE001 a request that fails must not end the others
            response = self._failed(fault, "POST", DECISIONS, request_id)
            self._answered(response, began, "POST", DECISIONS, request_id)
            tell(response, request_id)

    def _client(self, rates: ClientRates, key: str | None, address: str) -> str:
        """Return who sends clicks, and whose rate is bounded.

        Raises:
            RefusedError: 429, it has sent more than its rate.
        """
        client = client_at(address) if key is None else f"key {key}"
        wait = rates.wait(client)
        if wait == 0:
            return client
        self._service.metrics.limited.inc()
        told = (
            f"more than {rates.rate:g} clicks a second came with this key, or from this address, and no more are taken"
        )
        retry = b"%d" % -(-wait // SECOND)
        detail = f"{told}; retry in {retry.decode()} s"
        raise RefusedError(Problem("client too fast", 429, detail), headers=((b"retry-after", retry),))

    def _failed(self, fault: Exception, method: str, path: str, request_id: str) -> Response:
        """Return the answer to a request that is refused, or whose handler failed."""
        if isinstance(fault, OverloadError):
            self._service.metrics.overloaded.inc()
        if isinstance(fault, SlidrError):
            return _refusal(fault, request_id)
        _log.error("%s %s failed", method, self._place(path), exc_info=fault, extra={"request_id": request_id})
        return _refusal(_refused(500, "internal error", "the fault is in the service's log"), request_id)

    def _answered(self, response: Response, began: float, method: str, path: str, request_id: str) -> None:
        """Count a request."""
        seconds = time.perf_counter() - began
        self._service.metrics.answered(response.status, seconds, response.clicks)
        if _log.isEnabledFor(logging.DEBUG):
            told = (method, self._place(path), response.status, 1000 * seconds, response.clicks)
            _log.debug("%s %s %d in %.3f ms, %d clicks", *told, extra={"request_id": request_id})

    def _place(self, path: str) -> str:
        """Return a path as the log has it: without a click_id, and without what is no path here."""
        if path in self._paths:
            return path
        return next((f"{one}..." for one in self._paths if one[-1] == "/" and path.startswith(one)), "unknown path")

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        path, method, argument = scope["path"], scope["method"], ""
        methods = self._paths.get(path)
        if methods is None or path[-1] == "/":
            methods, argument = self._below(path, scope["raw_path"])
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            allowed = ", ".join((*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS"))
            if method == "OPTIONS":
                return Response(204, b"", ((b"allow", allowed.encode()),))
            raise _wrong_method(method, path, allowed)
        key = None
        if route.scope is not None and self._keys is not None:
            key = self._keys.check(scope["headers"], route.scope)
        return await route.handler(Request(scope, receive, argument, key))

    def _below(self, path: str, raw_path: bytes) -> tuple[dict[str, Route], str]:
        """Return the routes of a path that ends in a part of its own, and this part."""
        for prefix, methods in self._paths.items():
            if prefix[-1] == "/" and path.startswith(prefix) and path != prefix:
                # `path` is decoded already, and a click_id may hold a slash or a percent sign.
                raw = raw_path.decode("latin-1")
                return methods, unquote(raw.removeprefix(prefix)) if raw.startswith(prefix) else path[len(prefix) :]
        raise _refused(404, "unknown path", f"{path} is nothing here; clicks are decided at {DECISIONS}")

    async def _body(self, request: Request) -> tuple[bytes, bool]:
        """Read the body of a request, but not one of another type, nor more of it than is taken.

        Returns the body and whether each line of it is an item of its own.
        """
        kind = b""
        for name, value in request.scope["headers"]:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                if not value.isdigit():
                    raise _refused(400, "malformed request", f"content-length is {value.decode('latin-1')!r}")
                self._refuse_too_large(int(value))
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise _refused(415, "encoded body", f"content-encoding is {value.decode('latin-1')!r}; send it plain")
        lines = kind != b"application/json" and _lines(kind)
        body: bytes = b""
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise _DisconnectedError
            body = body + message["body"] if body else message["body"]
            self._refuse_too_large(len(body))
            if not message["more_body"]:
                return body, lines

    def _refuse_too_large(self, size: int) -> None:
        if size > self._body_limit:
            detail = f"the body has {size} bytes or more; at most {self._body_limit} are taken: send several requests"
            raise _refused(413, "body too large", detail)

    async def _decide(self, request: Request) -> Response:
        body, lines = await self._body(request)
        rates, client = self._rates, ""
        if rates is not None:
            client = self._client(rates, request.key, (request.scope.get("client") or ("",))[0])
        admitted, future = self._service.accept(body, lines=lines)
        if rates is not None:
            rates.spend(client, admitted.size)
        return _decided(admitted, await future, lines=lines)

    async def _report(self, request: Request) -> Response:
        body, lines = await self._body(request)
        admitted, receipts = await self._desk.report(body, lines=lines)
        if admitted.single:
            return Response(200, _encode(receipts[0]), (_JSON,))
        told = admitted.in_places(receipts)
        return Response(200, _encode_lines(told), (_NDJSON,)) if lines else Response(200, _encode(told), (_JSON,))

    async def _history(self, request: Request) -> Response:
        parts, click_id, view = self._service.parts, request.argument, _view(request.scope.get("query_string", b""))
        if view == "admin" and (self._keys is None or self._keys.check(request.scope["headers"], "admin") is None):
            detail = "?view=admin is for a key with the scope admin, and this service has no keys; `slidr keys add`"
            raise _refused(403, "not allowed", detail)
        entries = await self._service.history(click_id) if len(click_id) <= _LONGEST else []
        if not entries:
            entries = await asyncio.to_thread(self._archive.elsewhere, click_id)
        if not entries:
            raise _refused(404, "unknown click", f"the journal holds no decision of click {click_id[:_LONGEST]!r}")
        deciding = {bundle.id: bundle for bundle in (parts.bundle, parts.challenger) if bundle is not None}
        return Response(200, _encode(await asyncio.to_thread(self._archive.history, entries, view, deciding)), (_JSON,))

    async def _document(self, _: Request) -> Response:
        routes = ((route.method, route.path, route.scope) for route in self.routes)
        return Response(200, _encode(openapi_document(routes, keyless=self._keys is None or self._keys.open)), (_JSON,))

    async def _health(self, _: Request) -> Response:
        return Response(200, _encode({"alive": True}), (_JSON,))

    async def _ready(self, _: Request) -> Response:
        ready = self._service.ready.is_set()
        return Response(200 if ready else 503, _encode({"ready": ready, **self._service.report()}), (_JSON,))

    async def _metrics(self, _: Request) -> Response:
        gathering, metrics = self._gathering, self._service.metrics
        return Response(200, metrics.exposition() if gathering is None else await gathering.gather(), (_TEXT,))


def _decided(admitted: Admitted[Click], answers: list[Answer], *, lines: bool) -> Response:
    """Return the answer to a request whose clicks are decided."""
    if admitted.single:
        return Response(200, _encode(answers[0]), (_JSON,), clicks=1)
    told, clicks = admitted.in_places(answers), len(answers)
    if lines:
        return Response(200, _encode_lines(told), (_NDJSON,), clicks)
    return Response(200, _encode(told), (_JSON,), clicks)


class _DisconnectedError(Exception):
    """Who asked has gone."""


def _view(query: bytes) -> View:
    """Return whose view of a click is asked for; others are refused, lest they show more than was meant."""
    view = _VIEWS.get(query)
    if view is None:
        detail = f"?{query.decode('latin-1')[:_LONGEST]} is not understood; send ?view=advertiser, auditor or admin"
        raise _refused(400, "unknown query", detail)
    return view


def _lines(kind: bytes) -> bool:
    """Return whether a content type is lines of JSON; refuses what is neither that nor JSON."""
    name = kind.partition(b";")[0].strip().lower()
    if name in {b"application/json", b"application/x-ndjson"}:
        return name != b"application/json"
    detail = f"content-type is {kind.decode('latin-1')!r}; send application/json, or application/x-ndjson"
    raise _refused(415, "neither JSON nor NDJSON", detail)


def _refused(status: int, title: str, detail: str) -> RefusedError:
    return RefusedError(Problem(title, status, detail))


def _wrong_method(method: str, path: str, allowed: str) -> RefusedError:
    detail = f"{method} is not answered at {path}; use {allowed}"
    return RefusedError(Problem("wrong method", 405, detail), headers=((b"allow", allowed.encode()),))


def _refusal(fault: SlidrError, request_id: str) -> Response:
    """Return the answer that an error is given; its `instance` names the request."""
    headers: Headers = ()
    if isinstance(fault, RefusedError):
        problem, headers = fault.problem, fault.headers
    elif isinstance(fault, OverloadError):
        problem = Problem("queue full", 429, str(fault))
    else:
        problem = Problem("not deciding", 503, str(fault))
    instance = f"urn:slidr:request:{quote(request_id, safe='')}"
    problem = msgspec.structs.replace(problem, instance=instance)
    return Response(problem.status, _encode(problem), (_PROBLEM, *(headers or _FURTHER.get(problem.status, ()))))
