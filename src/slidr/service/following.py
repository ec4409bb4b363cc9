"""Following: the service takes over the champion and the challenger that the registry names, without a restart."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import NamedTuple

from slidr.clock import MINUTE
from slidr.decide import read_named
from slidr.errors import ServiceError
from slidr.registry import Named, Registry
from slidr.service.lifecycle import Service
from slidr.service.opening import Parts
from slidr.service.queue import UnavailableError

_AGAIN = MINUTE  # after which bundles that could not be fetched or read are tried again
_LATER = 10 * MINUTE  # after which those are whose state is too young, which costs more to find out
_log = logging.getLogger("slidr.service")


class _Refused(NamedTuple):
    """What could not be taken over, when that was tried, and for how long it is left alone."""

    named: Named
    at: int
    pause: int


class Follower:
    """Looks at the registry for as long as a service runs.

    Args:
        service: takes over what is found.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry: Registry | None = None
        self._refused: _Refused | None = None
        self._fault = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every `service.follow_seconds`, until the event is set."""
        seconds = self._service.parts.settings.service.follow_seconds
        while not stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)
            if not stopping.is_set() and self._service.ready.is_set():
                await self._look()

    async def _look(self) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        named: Named | None = None
        try:
            if self._registry is None:
                self._registry = await loop.run_in_executor(None, _registry, service.parts)
            registry = self._registry
            named = await loop.run_in_executor(None, _named, service.parts, registry)
            if named is None or self._tried(named):
                return
            await service.swap(await loop.run_in_executor(None, _fetched, service.parts, registry, named))
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
            service.metrics.swaps.inc()
            _log.info("bundle %s decides, beside it %s", named.champion, named.challenger or "no challenger")

    def _tried(self, named: Named) -> bool:
        """Return whether it was tried in vain a short while ago."""
        refused = self._refused
        # A clock that was set back does not make the pause longer.
        return (
            refused is not None
            and refused.named == named
            and 0 <= self._service.clock.now() - refused.at < refused.pause
        )


def _registry(parts: Parts) -> Registry:
    location = parts.settings.storage.registry
    return Registry(location if "://" in location else parts.root / location)


def _named(parts: Parts, registry: Registry) -> Named | None:
    """Return what the registry names where that is other than what decides."""
    named = registry.named()
    if named is None:
        return None
    challenger = parts.challenger.id if parts.challenger is not None else None
    same = (named.champion, named.challenger) == (parts.bundle.id, challenger)
    return None if same else named


def _fetched(parts: Parts, registry: Registry, named: Named) -> Parts:
    """Return the parts with the bundles of these names, checked to the last byte.

    Raises:
        SlidrError: a bundle cannot be fetched, or does not load exactly.
    """
    champion, challenger = read_named(registry, named, parts.root / parts.settings.storage.bundles)
    return parts._replace(bundle=champion, challenger=challenger, cold=named.cold)
