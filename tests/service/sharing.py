"""Services that share a Redis server, each with a folder and a journal of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from tests.redis_servers import Server
from tests.service.making import NOW, SECRET, make_parts

from slidr.bundle import Bundle
from slidr.clock import ManualClock
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.redis.seeding import seed
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.service.lifecycle import Parts, Service
from slidr.settings import StoreSettings

FINGERPRINT = Pseudonymiser(SECRET).fingerprint


def shared_parts(folder: Path, bundle: Bundle, server: Server, *, timeout_ms: int = 2000, **service: int) -> Parts:
    """Return what a service over a server is made of."""
    # Patient, for no test is to fail where the machine is busy.
    parts = make_parts(folder, bundle, **{"deadline_ms": 20_000} | service)
    store = StoreSettings(redis=(server.url,), timeout_ms=timeout_ms)
    return parts._replace(settings=msgspec.structs.replace(parts.settings, store=store))


def seed_empty(bundle: Bundle, server: Server, store: EmbeddedStore | None = None) -> None:
    """Give a server the state of a store, or of one that has folded nothing."""
    seed([server.url], store or EmbeddedStore(compile_catalogue(bundle.catalogue)), secret=FINGERPRINT)


@asynccontextmanager
async def sharing(*parts: Parts) -> AsyncIterator[list[Service]]:
    """Start services one after another, and stop them at the end."""
    services = [Service(one, clock=ManualClock(NOW)) for one in parts]
    try:
        for service in services:
            await service.start()
        yield services
    finally:
        for service in services:
            await service.stop()


def held(parts: Parts) -> tuple[list[Entry], list[Entry]]:
    """Return what a service journalled: what was folded, and what was not."""
    with Journal(parts.journal_path, write=False) as journal:
        return [entry for chunk in journal.entries() for entry in chunk], journal.unfolded(0)
