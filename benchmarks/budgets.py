"""Budgets: what a benchmark must reach, and how it prints what it reached."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

_FILE = Path(__file__).parent / "budgets.toml"


def show(benchmark: str, result: Mapping[str, float]) -> None:
    """Print figures beside their budgets, and last the figures as one JSON object on one line."""
    budgets = tomllib.loads(_FILE.read_text(encoding="utf-8"))[benchmark]
    rows = []
    for key, value in result.items():
        least, most = budgets["at_least"].get(key), budgets["at_most"].get(key)
        budget = f">= {least:,}" if least is not None else f"<= {most:,}" if most is not None else ""
        met = (least is None or value >= least) and (most is None or value <= most)
        rows.append((key, f"{value:,}", budget, ("met" if met else "MISSED") if budget else ""))
    print(tabulate(rows, headers=("figure", "measured", "budget", ""), disable_numparse=True))
    print(json.dumps(dict(result)))
