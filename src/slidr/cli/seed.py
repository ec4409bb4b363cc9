"""Command of the shared store: seed. It needs no training or lake packages."""

from __future__ import annotations

import os
from pathlib import Path

import click

from slidr.cli.options import Outcome, printed, settings_option
from slidr.clock import SystemClock
from slidr.decide import read_champion
from slidr.errors import SettingsError
from slidr.features.keys import read_secrets
from slidr.features.layout import compile_catalogue
from slidr.features.redis.seeding import seed as seed_redis
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.service.recovery import recover
from slidr.settings import Settings


@click.command(short_help="Make the state of backfill and journal that of Redis.")
@settings_option
@click.option("--empty", is_flag=True, help="Begin from nothing, as a first deployment without a log does.")
@printed
def seed(settings: Settings, *, empty: bool) -> Outcome:
    """Make the state behind the last backfill, with the journal's clicks folded in, that of the Redis of `store.redis`.

    Run it before the first click, and after Redis has lost its data: until then every click that reads it is
    unmeasurable. What Redis held before is not read again.
    """
    addresses = redis_addresses(settings)
    bundle = read_champion(settings.storage.registry, Path(settings.storage.bundles))
    layout = compile_catalogue(bundle.catalogue)
    secret = read_secrets(Path(settings.storage.key_file)).at(SystemClock().now(), layout.horizon).fingerprint
    store = EmbeddedStore(layout, most=settings.features.most_entities)
    folded = 0 if empty else _restore(store, settings, secret)
    written = seed_redis(addresses, store, partitions=settings.store.partitions, secret=secret)
    return Outcome(
        f"{written:,} entities as of click {store.sequence:,}, {folded:,} clicks of them from the journal",
        {"entities": written, "sequence": store.sequence, "folded": folded},
    )


def redis_addresses(settings: Settings) -> tuple[str, ...]:
    """Return the addresses of the Redis servers: of SLIDR_REDIS, separated by blanks, or of the settings.

    Raises:
        SettingsError: there are none.
    """
    addresses = tuple(os.environ.get("SLIDR_REDIS", "").split()) or settings.store.redis
    if not addresses:
        raise SettingsError("store.redis names no server; set it, such as ['redis://127.0.0.1:6379'], or SLIDR_REDIS")
    return addresses


def _restore(store: EmbeddedStore, settings: Settings, fingerprint: str) -> int:
    """Bring a store to where the journal ends, from the service's own snapshot or the last backfill's."""
    storage = settings.storage
    own, seeded, journal = Path(storage.state), Path(storage.seed), Path(storage.journal)
    start = own if own.exists() else seeded
    if not start.exists() and not journal.exists():
        raise SettingsError(f"neither {seeded} nor {journal} exists; run `slidr backfill`, or begin with --empty")
    if not journal.exists():
        store.restore(start, fingerprint=fingerprint)
        return 0
    with Journal(journal, write=False) as opened:
        return recover(store, opened, start, fingerprint=fingerprint, seed=seeded)
