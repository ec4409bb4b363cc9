"""Budgets: what a benchmark must reach, and how it prints what it reached."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tabulate import tabulate

_FILE = Path(__file__).parent / "budgets.toml"


def show(benchmark: str, result: Mapping[str, object]) -> None:
    """Print figures beside their budgets, and last the figures as one JSON object on one line.

    A mapping among the values is shown figure by figure, each under a dotted name.
    """
    budgets = tomllib.loads(_FILE.read_text(encoding="utf-8"))[benchmark]
    rows = []
    for key, value in _flat(result):
        least, most = budgets.get("at_least", {}).get(key), budgets.get("at_most", {}).get(key)
        budget = f">= {least:,}" if least is not None else f"<= {most:,}" if most is not None else ""
        met = (least is None or value >= least) and (most is None or value <= most)
        shown = value if isinstance(value, str) else f"{value:,}"
        rows.append((key, shown, budget, ("met" if met else "MISSED") if budget else ""))
    print(tabulate(rows, headers=("figure", "measured", "budget", ""), disable_numparse=True))
    print(json.dumps(result))


def _flat(figures: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float | str]]:
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            assert isinstance(value, int | float | str), f"{prefix}{key} = {value!r} is no figure and no name"
            yield f"{prefix}{key}", value
