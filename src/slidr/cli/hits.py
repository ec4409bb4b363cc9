"""What the lists find in a click log, for `slidr lists`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

import msgspec
import numpy as np
from tabulate import tabulate

from slidr import extensions
from slidr.cli.options import Outcome
from slidr.clock import SystemClock
from slidr.daily.listed import listed
from slidr.ingest import read_log
from slidr.rules import ListRule
from slidr.settings import RulesSettings, Settings


def count_hits(settings: Settings, rules: Sequence[ListRule], progress: Callable[[int], None]) -> Outcome:
    """Return how many clicks of the log of the settings each rule, each list of it alone, and all together hit."""
    log = read_log(msgspec.structs.replace(settings, purchases=type(settings.purchases)()), SystemClock(), progress)
    clicks, count = log.clicks, log.clicks.num_rows
    found = listed(rules, clicks)
    invalid = [found[rule.name] for rule in rules if rule.action == "invalid"]
    together = int(np.logical_or.reduce([np.zeros(count, np.bool_), *invalid]).sum())
    rows: list[tuple[str, str, int]] = []
    for rule in rules:
        alone = _each_alone(rule, settings.rules)
        for name, single in alone:
            rows.append((rule.name, PurePath(name).name, int(listed([single], clicks)[rule.name].sum())))
        rows.append((rule.name, "together" if alone else "", int(found[rule.name].sum())))
    rows.append(("invalid", "all rules together", together))
    table = tabulate(
        [(rule, name, hits, f"{hits / count:.2%}") for rule, name, hits in rows],
        headers=("rule", "list", "clicks", "share"),
        intfmt=",",
        colalign=("left", "left", "right", "right"),
    )
    lines = [f"{settings.clicks.path}: {count:,} clicks", *(f"rejected: {line}" for line in log.rejections.summary())]
    document = {
        "clicks": count,
        "rejected": log.rejections.total,
        "invalid": together,
        "rules": {rule.name: int(found[rule.name].sum()) for rule in rules},
        "lists": [{"rule": rule, "list": name, "clicks": hits} for rule, name, hits in rows[:-1]],
    }
    return Outcome("\n".join(lines) + f"\n\n{table}", document)


def _each_alone(rule: ListRule, settings: RulesSettings) -> list[tuple[str, ListRule]]:
    """Return the rule with each of its lists alone, by the list's name; nothing where it has but one."""
    if len(rule.lists) < 2:  # noqa: PLR2004 one list and all lists are the same
        return []
    prepare = extensions.load("slidr.rules", rule.name).prepare
    names: tuple[str, ...] = getattr(settings, rule.name)
    return [(name, prepare(msgspec.structs.replace(settings, **{rule.name: (name,)}))) for name in names]
