"""A service at work without a socket: started, asked and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.service.making import NOW, body

from slidr.clock import ManualClock
from slidr.journal import Journal
from slidr.service.answers import Answer
from slidr.service.lifecycle import Parts, Service


@asynccontextmanager
async def started(parts: Parts) -> AsyncIterator[Service]:
    """Start a service, and stop it at the end."""
    service = Service(parts, clock=ManualClock(NOW))
    try:
        await service.start()
        yield service
    finally:
        await service.stop()


async def ask(service: Service, *places: int) -> list[Answer]:
    """Have clicks decided, an array at a time."""
    _, future = service.accept(body(*places))
    return await future


def scores(parts: Parts) -> list[float | None]:
    """Return the journalled scores of a service."""
    with Journal(parts.root / parts.settings.storage.journal, write=False) as journal:
        return [entry.score for entries in journal.entries() for entry in entries]
