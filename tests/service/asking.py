"""Requests to an application as an ASGI server makes them, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from tests.service.making import NOW

from slidr.clock import ManualClock
from slidr.service.app import App
from slidr.service.lifecycle import Parts, Service

DECISIONS = "/v1/decisions"
PURCHASES = "/v1/purchases"
JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}


class Answered(NamedTuple):
    """An answer as the server would send it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


async def ask(
    app: App, method: str, path: str, *pieces: bytes, headers: dict[str, str] | None = None, cut: bool = False
) -> Answered | None:
    """Send a request as an ASGI server does, its body in pieces; None where no answer was sent."""
    sent: list[dict[str, Any]] = []
    parts = pieces or (b"",)
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1 or cut} for at, part in enumerate(parts)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path.partition("?")[0]),
        "raw_path": path.partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode(),
        "headers": [(name.encode(), value.encode()) for name, value in (JSON if headers is None else headers).items()],
    }
    await app(scope, receive, send)
    if not sent:
        return None
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert int(found["content-length"]) == len(sent[1]["body"])
    return Answered(sent[0]["status"], found, sent[1]["body"])


@asynccontextmanager
async def serving(parts: Parts) -> AsyncIterator[App]:
    """Start a service behind an application."""
    service = Service(parts, clock=ManualClock(NOW))
    await service.start()
    try:
        yield App(service, parts.settings.service.body_limit)
    finally:
        await service.stop()


def run(parts: Parts, work: Callable[[App], Awaitable[None]]) -> None:
    """Run work with an application."""

    async def main() -> None:
        async with serving(parts) as app:
            await work(app)

    asyncio.run(main())


async def answer(app: App, method: str, path: str, *pieces: bytes, **more: Any) -> Answered:
    """Send a request that gets an answer."""
    found = await ask(app, method, path, *pieces, **more)
    assert found is not None
    return found
