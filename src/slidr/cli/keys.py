"""Commands of the API keys: keys add, keys list, keys revoke."""

from __future__ import annotations

from pathlib import Path

import click
from tabulate import tabulate

from slidr.cli.options import Outcome, printed, settings_option
from slidr.clock import SystemClock
from slidr.service.key_file import SCOPES, Scope, add_key, read_keys, revoke_key
from slidr.settings import Settings, duration


@click.group(short_help="Say who may ask the service.")
def keys() -> None:
    """Make, list and revoke the API keys of the service, which asks for one as soon as there is a key file.

    A client shows its key as `Authorization: Bearer slidr_...`. A running service sees a change within a second.
    """


@keys.command(short_help="Make a key and show it once.")
@settings_option
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="What the key is good for: decide clicks and report purchases, read decisions and metrics, or admin, which"
    " includes both. May be given more than once.",
)
@click.option("--expires", help="How long the key is good for, such as 90d; for ever where not given.")
@printed
def add(settings: Settings, name: str, scopes: tuple[Scope, ...], expires: str | None) -> Outcome:
    """Make a key for NAME and show it: this once, since the file has a hash of it alone."""
    path = Path(settings.storage.api_keys)
    lifetime = duration(expires) if expires else None
    secret = add_key(path, name, scopes, now=SystemClock().now(), lifetime=lifetime)
    made = next(key for key in read_keys(path) if key.name == name)
    until = "for ever" if made.expires is None else f"until {made.expires.isoformat(timespec='seconds')}"
    text = f"{secret}\n\nThe key of {name}, good for {', '.join(made.scopes)} {until}. It is not shown again."
    return Outcome(text, {"name": name, "scopes": made.scopes, "expires": made.expires, "key": secret})


@keys.command("list", short_help="List the keys, without their secrets.")
@settings_option
@printed
def list_(settings: Settings) -> Outcome:
    """List who has a key, what it is good for, and whether it still is."""
    now = SystemClock().now()
    found = read_keys(Path(settings.storage.api_keys))
    listed = [
        {
            "name": key.name,
            "scopes": ", ".join(key.scopes),
            "state": key.state(now),
            "created": key.created.isoformat(timespec="seconds"),
            "expires": key.expires.isoformat(timespec="seconds") if key.expires else "never",
        }
        for key in found
    ]
    text = tabulate(listed, headers="keys") if listed else f"{settings.storage.api_keys} has no API keys"
    told = ("name", "scopes", "created", "expires", "revoked")
    documents = [{**{field: getattr(key, field) for field in told}, "state": key.state(now)} for key in found]
    return Outcome(text, {"keys": documents})


@keys.command(short_help="Revoke a key.")
@settings_option
@click.argument("name")
@printed
def revoke(settings: Settings, name: str) -> Outcome:
    """Refuse the key of NAME from now on; its name stays in the file and is not given again."""
    key = revoke_key(Path(settings.storage.api_keys), name, now=SystemClock().now())
    at = "" if key.revoked is None else f" at {key.revoked.isoformat(timespec='seconds')}"
    return Outcome(f"the key of {name} was revoked{at}", {"name": name, "revoked": key.revoked})
