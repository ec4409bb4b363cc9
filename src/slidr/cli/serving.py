"""Commands of serving: serve, rotate-key. They need no training or lake packages."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from slidr.cli.options import Outcome, account, printed, settings_option
from slidr.clock import SECOND, SystemClock
from slidr.features.catalogue import default_catalogue
from slidr.features.keys import rotate_secret
from slidr.features.layout import compile_catalogue
from slidr.service.assembly import assemble
from slidr.service.log import set_up
from slidr.service.opening import check_shared
from slidr.service.server import serve as serve_parts
from slidr.service.workers import serve_workers
from slidr.settings import Settings

_Section = TypeVar("_Section", bound=msgspec.Struct)


@click.command(short_help="Decide clicks over HTTP.")
@settings_option
@click.option("--host", help="Address to listen on, instead of the settings' one.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on, instead of the settings' one; 0 takes a free one.",
)
@click.option("--state", help="Snapshot of the service's feature state, instead of the settings' one.")
@click.option("--journal", help="Journal to keep, instead of the settings' one.")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes that serve, instead of the settings' number; needs Redis."
)
@click.option(
    "--store",
    "stores",
    multiple=True,
    help="Address of Redis, redis://host:port, instead of the settings' ones; repeat it for several servers.",
)
def serve(settings: Settings, *, stores: tuple[str, ...], **chosen: Any) -> None:
    """Decide clicks over HTTP with the champion of the registry, until SIGTERM or Ctrl-C.

    POST a click, or an array of clicks, to /v1/decisions; the service answers once the decision is in its journal.

    With --workers several processes serve at one address and share their state through Redis; each keeps a journal of
    its own, journal.1.sqlite and so on. SIGHUP replaces them one after another, without a failed request.
    """
    for name in ("state", "journal"):
        chosen[name] = str(Path(chosen[name]).absolute()) if chosen[name] else None
    servers = stores or tuple(os.environ.get("SLIDR_REDIS", "").split()) or settings.store.redis
    settings = msgspec.structs.replace(
        settings,
        service=_replaced(settings.service, chosen, "host", "port", "workers"),
        storage=_replaced(settings.storage, chosen, "state", "journal"),
        store=msgspec.structs.replace(settings.store, redis=servers),
    )
    set_up(settings.service.log, settings.service.log_level)
    parts = assemble(settings, SystemClock(), account())

    def announce(state: str, url: str) -> None:
        # One line each on the standard output, so that who started the service can wait for it.
        sys.stdout.write(f"slidr {state} {url} bundle {parts.bundle.id}\n")
        sys.stdout.flush()

    if settings.service.workers > 1:
        serve_workers(parts, partial(assemble, settings, SystemClock(), account()), announce=announce)
    else:
        check_shared(parts)
        serve_parts(parts, announce=announce)


def _replaced(section: _Section, chosen: dict[str, Any], *names: str) -> _Section:
    """Return a section of the settings with what was chosen on the command line."""
    return msgspec.structs.replace(section, **{name: chosen[name] for name in names if chosen[name] is not None})


@click.command("rotate-key", short_help="Let a new secret key follow the one in use.")
@settings_option
@printed
def rotate_key(settings: Settings) -> Outcome:
    """Add a new secret key to the key file, with which clicks are hashed too from now on.

    Restart the services afterwards, all of one key file at once, and run `slidr backfill`. The new key serves once its
    state is as old as the longest window; bundles made with the old one go on serving.
    """
    path = Path(settings.storage.key_file)
    horizon = compile_catalogue(default_catalogue(settings.features)).horizon
    now = SystemClock().now()
    ring = rotate_secret(path, now=now, horizon=horizon)
    serves = ring.changes(now, horizon)
    at = datetime.fromtimestamp((serves or now) / SECOND, UTC).isoformat(timespec="seconds")
    fingerprint = ring.newest.fingerprint
    return Outcome(
        f"{path} has a new secret key, {fingerprint}: restart the services now, then run `slidr backfill`; it serves"
        f" from {at}",
        {"fingerprint": fingerprint, "serves_from": at},
    )
