"""Operations: replays, kills, nine days with a newcomer, twenty million decisions, and a drill; each runs alone too.

    python -m benchmarks.operations

The parts run one after another, each in a process of its own: `replays`, `kills`, `days`, `records`, and the drill of
an anomalous model, which tells the seconds of a rollback. `guardrails.py` and `monitor.py` beside this file measure
what a bad day does without guardrails and what the monitor sees. The last line is one JSON object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.budgets import show
from benchmarks.machine import apart
from benchmarks.operations import days, drill, kills, records, replays

SEED = 1


def main() -> None:
    """Run every part and print."""
    parts: tuple[tuple[Callable[..., dict[str, Any]], tuple[Any, ...]], ...] = (
        (replays.measured, (1_000_000,)),
        (drill.measured, ("anomalous_model",)),
        (days.measured, (20_000, "headless")),
        (kills.measured, (100_000, 50, SEED)),
        (records.measured, (20_000_000, 10)),
    )
    found: dict[str, Any] = {}
    for measured, arguments in parts:
        # The first that tells a figure holds: a replay's differences are not a drill's.
        found = {**apart(measured, *arguments), **found}
    show("operations", found)


if __name__ == "__main__":
    main()
