"""Commands of the registry: bundles, promote, rollback, challenge, diff. They need no training or lake packages."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from tabulate import tabulate

from slidr.bundle import Bundle, read_bundle
from slidr.cli.options import Outcome, account, printed, settings_option
from slidr.clock import SECOND, SystemClock
from slidr.decide import check_serves
from slidr.difference import Difference, Moved, difference
from slidr.registry import HistoryEntry, Registry, open_registry
from slidr.settings import Settings

_MOST = 20  # thresholds and metrics that are shown to people


@click.command(short_help="List the bundles and the champions' history.")
@settings_option
@printed
def bundles(settings: Settings) -> Outcome:
    """List the bundles of the registry with their roles, and the history of champions, newest last.

    A candidate never was champion; a stable one was, for registry.stable_after without an alarm; a rollback goes to the
    one marked so, and never to one that was rolled back.
    """
    registry = open_registry(settings)
    now = SystemClock().now()
    history, target = registry.history(), registry.target(now)
    listed = [
        {"bundle": one, "role": role, "rollback_target": one == target, "certified": _certified(registry, one)}
        for one, role in registry.roles(now).items()
    ]
    past = [_told(entry) for entry in history]
    shown = [
        (one["bundle"], one["role"], "a rollback goes here" if one["rollback_target"] else "", one["certified"])
        for one in listed
    ]
    columns = ("number", "kind", "bundle", "at", "who", "why")
    text = "\n\n".join(
        (
            tabulate(shown, headers=("bundle", "role", "", "certified")),
            tabulate([[entry[name] for name in columns] for entry in past], headers=columns),
        )
    )
    return Outcome(text, {"bundles": listed, "history": past})


def _told(entry: HistoryEntry) -> dict[str, Any]:
    at = datetime.fromtimestamp(entry.at / SECOND, UTC).isoformat(timespec="seconds")
    told: dict[str, Any] = msgspec.to_builtins(entry) | {"at": at}
    return told


def _certified(registry: Registry, identity: str) -> bool:
    return msgspec.json.decode(registry.read(identity, "calibration.json")).get("certificate") is not None


@click.command(short_help="Make a bundle the champion.")
@settings_option
@click.argument("bundle")
@click.option("--why", required=True, help="The reason, for the history.")
@click.option("--cold", is_flag=True, help="Let it decide even where its features' state is too young to be measured.")
@click.option("--again", is_flag=True, help="Promote it although it was rolled back.")
@printed
def promote(settings: Settings, bundle: str, *, why: str, cold: bool, again: bool) -> Outcome:
    """Make BUNDLE the champion, once it has been fetched and has loaded exactly; services follow by themselves."""
    registry = open_registry(settings)
    _loaded(settings, registry, bundle)
    entry = registry.promote(bundle, at=SystemClock().now(), who=account(), why=why, cold=cold, again=again)
    return Outcome(f"champion {entry.number}: {entry.bundle}", msgspec.to_builtins(entry))


@click.command(short_help="Go back to the newest stable bundle.")
@settings_option
@click.option("--to", metavar="BUNDLE", help="A bundle that was champion before, instead of the newest stable one.")
@click.option("--why", required=True, help="The reason, for the history.")
@printed
def rollback(settings: Settings, to: str | None, why: str) -> Outcome:
    """Let the newest stable bundle decide instead of the champion; services follow by themselves, within seconds.

    The champion is marked as rolled back: no rollback ever goes to it, and it is promoted again only with --again. What
    it has decided stands until `slidr replay` decides it anew. Services keep the state of the newest stable bundle
    warm; where that of another one is cold, its clicks are unmeasurable until it is not.
    """
    registry = open_registry(settings)
    entry = registry.rollback(at=SystemClock().now(), who=account(), why=why, to=to)
    text = f"champion {entry.number}: {entry.bundle}, instead of {entry.instead}"
    return Outcome(text, msgspec.to_builtins(entry))


@click.command(short_help="Let a bundle decide in the champion's shadow.")
@settings_option
@click.argument("bundle", required=False)
@click.option("--why", required=True, help="The reason, for the history.")
@printed
def challenge(settings: Settings, bundle: str | None, why: str) -> Outcome:
    """Let BUNDLE decide beside the champion: journalled and compared, never answered; without BUNDLE, none does."""
    registry = open_registry(settings)
    if bundle is not None:
        _loaded(settings, registry, bundle)
    entry = registry.challenge(bundle, at=SystemClock().now(), who=account(), why=why)
    return Outcome(f"challenger {entry.number}: {entry.bundle or 'none'}", msgspec.to_builtins(entry))


def _loaded(settings: Settings, registry: Registry, identity: str) -> Bundle:
    """Return a bundle that has been found to serve."""
    bundle = read_bundle(registry.fetch(identity, Path(settings.storage.bundles)))
    check_serves(bundle)
    return bundle


@click.command(short_help="Say what one bundle has otherwise than another.")
@settings_option
@click.argument("first")
@click.argument("second")
@printed
def diff(settings: Settings, first: str, second: str) -> Outcome:
    """Say what SECOND has otherwise than FIRST: data, features, weights, thresholds and metrics."""
    registry, folder = open_registry(settings), Path(settings.storage.bundles)
    found = difference(read_bundle(registry.fetch(first, folder)), read_bundle(registry.fetch(second, folder)))
    return Outcome(_described(first, second, found), {"first": first, "second": second} | _document(found))


def _document(found: Difference) -> dict[str, Any]:
    """Return a difference for machines; JSON has no infinite numbers, so that a threshold may be a word."""
    thresholds = [{"slice": one.slice, "was": _finite(one.was), "now": _finite(one.now)} for one in found.thresholds]
    return {
        "data": found.data,
        "features": found.features._asdict(),
        "weights": found.weights._asdict(),
        "thresholds": thresholds,
        "metrics": found.metrics,
    }


def _finite(threshold: float | None) -> float | str | None:
    return threshold if threshold is None or math.isfinite(threshold) else str(threshold)


def _described(first: str, second: str, found: Difference) -> str:
    """Return a difference for people."""
    features, weights = found.features, found.weights
    catalogue = [*(f"+ {name}" for name in features.added), *(f"- {name}" for name in features.removed)]
    if features.cold:
        catalogue.append(f"its state is cold where only {first} serves: {', '.join(features.cold)}")
    apart = "of other shapes" if weights.distance is None else f"{weights.distance:.2%} apart"
    network = (
        "the same" if weights.same else f"{weights.parameters[0]:,} and {weights.parameters[1]:,} weights, {apart}"
    )
    parts = {
        "data": _values(found.data, first, second),
        "features": "\n".join(catalogue) or "the same",
        "weights": network,
        "thresholds": _moved(found.thresholds, first, second),
        "metrics": _values(found.metrics, first, second),
    }
    return "\n\n".join(f"{name}\n{text}" for name, text in parts.items())


def _values(found: dict[str, list[Any]], first: str, second: str) -> str:
    rows = [(path, _short(was), _short(now)) for path, (was, now) in found.items()]
    return _some(rows, ("", first, second))


def _moved(found: tuple[Moved, ...], first: str, second: str) -> str:
    rows = [(one.slice, _short(one.was), _short(one.now)) for one in found]
    return _some(rows, ("slice", first, second))


def _some(rows: list[tuple[str, str, str]], headers: tuple[str, str, str]) -> str:
    if not rows:
        return "the same"
    more = f"\nand {len(rows) - _MOST} more; --json has all" if len(rows) > _MOST else ""
    return tabulate(rows[:_MOST], headers=headers, disable_numparse=True) + more


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


_WIDEST = 40
