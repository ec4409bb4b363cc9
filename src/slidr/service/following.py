"""Following: the service takes over the champion and the challenger that the registry names, without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from slidr.bundle import Bundle, read_bundle
from slidr.clock import MINUTE
from slidr.contest import read_named
from slidr.decide import check_serves
from slidr.errors import BundleError, ServiceError, SlidrError
from slidr.registry import Named, Registry
from slidr.service.lifecycle import Service
from slidr.service.opening import Parts
from slidr.service.queue import UnavailableError
from slidr.settings import duration

_AGAIN = MINUTE  # after which bundles that could not be fetched or read are tried again
_LATER = 10 * MINUTE  # after which those are whose state is too young, which costs more to find out
_log = logging.getLogger("slidr.service")


class _Refused(NamedTuple):
    """What could not be taken over, when that was tried, and for how long it is left alone."""

    named: Named
    at: int
    pause: int


async def look_often(service: Service, stopping: asyncio.Event, look: Callable[[], Awaitable[None]]) -> None:
    """Look every `service.follow_seconds` while the service is ready, until the event is set."""
    seconds = service.parts.settings.service.follow_seconds
    while not stopping.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)
        if not stopping.is_set() and service.ready.is_set():
            await look()


class Follower:
    """Looks at the registry for as long as a service runs.

    Args:
        service: takes over what is found.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry: Registry | None = None
        self._refused: _Refused | None = None
        self._named: Named | None = None  # what was taken over last, as far as it could be
        self._fault = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every `service.follow_seconds`, until the event is set."""
        await look_often(self._service, stopping, self._look)

    async def _look(self) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        named: Named | None = None
        try:
            if self._registry is None:
                self._registry = await loop.run_in_executor(None, registry_of, service.parts)
            registry = self._registry
            named = await loop.run_in_executor(None, registry.named)
            if named is None or named == self._named or self._tried(named):
                return
            before = service.parts
            if (named.champion, named.challenger) != _deciding(before) or self._unkept(named):
                await self._take_over(await loop.run_in_executor(None, _fetched, before, registry, named))
        except Exception as fault:  # noqa: BLE001 whatever it was, what decides goes on, and so does the looking
            service.metrics.swap_errors.inc()
            if str(fault) != self._fault:
                self._fault = str(fault)
                _log.error("bundle %s goes on deciding: %s", service.parts.bundle.id, fault)
            if named is not None and not isinstance(fault, UnavailableError):
                pause = _LATER if isinstance(fault, ServiceError) else _AGAIN
                self._refused = _Refused(named, service.clock.now(), pause)
        else:
            self._fault, self._refused = "", None
            self._named = named
            if (named.champion, named.challenger) != _deciding(before):
                service.metrics.swaps.inc()
                _log.info("bundle %s decides, beside it %s", named.champion, named.challenger or "no challenger")

    def _unkept(self, named: Named) -> bool:
        """Return whether the state of another bundle is to be kept for a rollback than is."""
        held = self._service.parts.fallback
        return named.fallback != (None if held is None else held.id)

    async def _take_over(self, parts: Parts) -> None:
        """Let other bundles decide, and keep the state of what a rollback goes to warm, where that can be done."""
        service = self._service
        alone = parts._replace(fallback=None)
        if _deciding(parts) == _deciding(service.parts) and parts.bundles == service.parts.bundles:
            # The state that is kept is that of the other one too.
            service.parts = service.parts._replace(fallback=parts.fallback)
            return
        try:
            await service.swap(parts)
        except SlidrError as fault:
            if parts.bundles == alone.bundles or isinstance(fault, UnavailableError):
                raise
            _log.warning("a rollback to %s would be cold: %s", parts.fallback and parts.fallback.id, fault)
            if _deciding(parts) != _deciding(service.parts):
                await service.swap(alone)

    def _tried(self, named: Named) -> bool:
        """Return whether it was tried in vain a short while ago."""
        refused = self._refused
        # A clock that was set back does not make the pause longer.
        return (
            refused is not None
            and refused.named == named
            and 0 <= self._service.clock.now() - refused.at < refused.pause
        )


def registry_of(parts: Parts) -> Registry:
    """Return the registry that a service follows."""
    storage = parts.settings.storage
    location = storage.registry if "://" in storage.registry else str(parts.root / storage.registry)
    return Registry(location, secret=parts.ring, stable_after=duration(parts.settings.registry.stable_after))


def _deciding(parts: Parts) -> tuple[str, str | None]:
    """Return the names of the bundles that decide."""
    return parts.bundle.id, None if parts.challenger is None else parts.challenger.id


def read_fallback(registry: Registry, named: Named, folder: Path, known: Collection[str]) -> Bundle | None:
    """Return the bundle that a rollback goes to, fetched into a folder; None, and a warning, where it cannot be used.

    Args:
        registry: holds it.
        named: names it.
        folder: where bundles are fetched into.
        known: fingerprints of the secret keys of which one must be its own.
    """
    if named.fallback is None:
        return None
    try:
        bundle = read_bundle(registry.fetch(named.fallback, folder))
        check_serves(bundle)
        if bundle.contract.key_fingerprint not in known:
            raise BundleError(f"bundle {bundle.id} was made with a secret key that is not in the key file")
    except (SlidrError, OSError) as fault:
        _log.warning("a rollback to %s would not be taken over: %s", named.fallback, fault)
        return None
    return bundle


def _fetched(parts: Parts, registry: Registry, named: Named) -> Parts:
    """Return the parts with the bundles of these names, checked to the last byte.

    Raises:
        SlidrError: a bundle cannot be fetched, or does not load exactly.
    """
    folder = parts.root / parts.settings.storage.bundles
    champion, challenger = read_named(registry, named, folder)
    fallback = read_fallback(registry, named, folder, parts.pseudonymiser.known)
    return parts._replace(
        bundle=champion, challenger=challenger, cold=named.cold, fallback=fallback, order=parts.bundles
    )
