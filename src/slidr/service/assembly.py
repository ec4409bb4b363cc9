"""Assembly: what a service is made of, as settings and registry name it now."""

from __future__ import annotations

import logging
from pathlib import Path

from slidr.clock import Clock
from slidr.contest import read_contest
from slidr.errors import RegistryError
from slidr.features.keys import read_secrets
from slidr.features.layout import compile_catalogue
from slidr.registry import open_registry, record_changes
from slidr.rules import prepare_rules
from slidr.service.following import read_fallback
from slidr.service.opening import Parts
from slidr.settings import Settings

_log = logging.getLogger("slidr.service")


def assemble(settings: Settings, clock: Clock, who: str) -> Parts:
    """Return the parts of a service, and note in the audit log what settings and lists it starts with.

    Args:
        settings: all of them.
        clock: tells which secret key serves.
        who: starts the service.

    Raises:
        SlidrError: the registry names nothing that can serve, or the secret key or a list cannot be used.
    """
    folder, now = Path(settings.storage.bundles), clock.now()
    bundle, challenger = read_contest(settings.storage.registry, folder)
    ring = read_secrets(Path(settings.storage.key_file))
    pseudonymiser = ring.at(now, compile_catalogue(bundle.catalogue).horizon)
    rules = prepare_rules(settings.rules)
    registry = open_registry(settings)
    named = registry.named()
    fallback = None if named is None else read_fallback(registry, named, folder, pseudonymiser.known)
    try:
        record_changes(registry.audit, settings, rules, subject="service", at=now, who=who, why="start of the service")
    except RegistryError as fault:
        # Who may only read the registry serves all the same.
        _log.warning("what settings and lists the service starts with is not in the audit log: %s", fault)
    return Parts(
        settings, bundle, pseudonymiser, rules, ring=ring, challenger=challenger, follow=True, fallback=fallback
    )
