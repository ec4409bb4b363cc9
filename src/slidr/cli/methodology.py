"""The command of the description of methodology."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from slidr.bundle import read_bundle
from slidr.cli.options import Outcome, printed, settings_option
from slidr.clock import SystemClock
from slidr.errors import BundleError
from slidr.methodology import View, describe
from slidr.registry import open_registry
from slidr.report.document import as_html, as_markdown
from slidr.rules import prepare_rules
from slidr.settings import Settings


@click.command(short_help="Describe how a bundle filters clicks, for auditors or advertisers.")
@settings_option
@click.argument("bundle", required=False)
@click.option(
    "--for",
    "view",
    type=click.Choice(["auditor", "advertiser"]),
    default="auditor",
    show_default=True,
    help="Who reads it; advertisers are shown no thresholds.",
)
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write an HTML page, too.")
@printed
def methodology(settings: Settings, bundle: str | None, *, view: View, page: Path | None) -> Outcome:
    """Describe how BUNDLE, or the champion, filters clicks, as Markdown.

    It is written from the bundle, its lists with their versions, and the settings.
    """
    registry = open_registry(settings)
    champion = registry.champion()
    identity = bundle or (champion.bundle if champion else "")
    if not identity:
        raise BundleError(f"registry {settings.storage.registry} has no champion to describe; run `slidr daily` first")
    registry.require(identity)
    found = read_bundle(registry.fetch(identity, Path(settings.storage.bundles)))
    role = registry.roles(SystemClock().now())[identity]
    document = describe(found, role=role, rules=prepare_rules(settings.rules), settings=settings, view=view)
    if page is not None:
        page.write_text(as_html(document), encoding="utf-8")
    return Outcome(
        as_markdown(document), {"bundle": identity, "role": role, "view": view, **msgspec.to_builtins(document)}
    )
