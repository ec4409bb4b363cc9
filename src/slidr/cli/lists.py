"""The command that shows the lists of the list rules."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from tabulate import tabulate

from slidr import extensions
from slidr.cli.options import Bars, Outcome, printed
from slidr.clock import DAY, SECOND, SystemClock
from slidr.lists import Listed
from slidr.rules import ListRule, prepare_rules
from slidr.settings import Settings, duration, read_settings

_HEADERS = ("rule", "a hit is", "list", "entries", "version", "updated", "age", "")
_NAME = 44
"""Letters of a path that are shown, the last ones."""


@click.command(short_help="Show the lists of the list rules, and what they find in a log.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="The settings file; without one, the lists of the defaults are shown.",
)
@click.option("--log", default="", help="Count the hits on this click log; without it, on none, see --hits.")
@click.option("--source", default="", help="The adapter that reads the log; without it, that of the settings.")
@click.option("--hits", is_flag=True, help="Count the hits on the click log of the settings.")
@printed
def lists(settings: Path | None, log: str, source: str, hits: bool) -> Outcome:  # noqa: FBT001 click gives it
    """Show every list with its version, entries and age, and check it: a list that cannot be used is an error.

    With a log, the clicks that each list names are counted. Headers are in no log, so that their rule finds nothing
    there. Sources: talkingdata, weblog, table.
    """
    found = read_settings(settings) if settings else Settings()
    rules = prepare_rules(found.rules)
    rows = [_described(rule, found) for rule in rules]
    document: dict[str, Any] = {"stale_after": found.rules.stale_after, "rules": rows}
    off = sorted(set(extensions.names("slidr.rules")) - {rule.name for rule in rules})
    texts = [_table(rows), *([f"off: {', '.join(off)}"] if off else [])]
    if log or source or hits:
        chosen = {"path": str(Path(log).absolute()) if log and "://" not in log else log, "source": source}
        given = {key: value for key, value in chosen.items() if value}
        found = msgspec.structs.replace(found, clicks=msgspec.structs.replace(found.clicks, **given))
        bars = Bars()
        # Reading logs takes packages that serving does without.
        counted = importlib.import_module("slidr.cli.hits").count_hits(found, rules, bars.counting("lists"))
        bars.close()
        document["hits"] = counted.document
        texts.append(counted.text)
    return Outcome("\n\n".join(texts), document)


def _described(rule: ListRule, settings: Settings) -> dict[str, Any]:
    """Return a rule and its lists for machines."""
    return {
        "rule": rule.name,
        "action": rule.action,
        "version": rule.version,
        "lists": [_described_list(listed, settings) for listed in rule.lists],
    }


def _described_list(listed: Listed, settings: Settings) -> dict[str, Any]:
    age = None if listed.updated is None else SystemClock().now() - listed.updated
    return {
        "list": listed.name,
        "entries": listed.entries,
        "version": listed.version,
        "updated": None if listed.updated is None else datetime.fromtimestamp(listed.updated / SECOND, UTC).isoformat(),
        "age_days": None if age is None else round(age / DAY, 1),
        "stale": age is not None and age > duration(settings.rules.stale_after),
    }


def _table(rules: list[dict[str, Any]]) -> str:
    rows = []
    for rule in rules:
        for listed in rule["lists"] or [{"list": "", "entries": None, "version": rule["version"]}]:
            age = listed.get("age_days")
            rows.append(
                (
                    rule["rule"],
                    "valid" if rule["action"] == "allow" else "invalid",
                    listed["list"] if len(listed["list"]) <= _NAME else f"...{listed['list'][-_NAME:]}",
                    listed["entries"],
                    listed["version"],
                    (listed.get("updated") or "")[:10],
                    "" if age is None else f"{age:,.0f} d",
                    "stale" if listed.get("stale") else "",
                )
            )
    return tabulate(rows, headers=_HEADERS, intfmt=",")
