"""A drill's figures: the seconds of its rollback, and the trace that it left.

    python -m benchmarks.operations.drill [NAME]

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.budgets import show

from slidr.drills import play
from slidr.drills.stage import prepare

CLICKS, SEED = 10_000, 1


def measured(name: str) -> dict[str, Any]:
    """Return what a drill came to."""
    with tempfile.TemporaryDirectory(prefix="slidr-drill-") as folder:
        figures = play(name, prepare(Path(folder) / "project", CLICKS, SEED, print))
    return {f"drill_{key}": value for key, value in figures.items() if key != "rollback_seconds"} | {
        "rollback_seconds": figures["rollback_seconds"]
    }


def main() -> None:
    """Play the drill and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="anomalous_model")
    show("operations", measured(parser.parse_args().name))


if __name__ == "__main__":
    main()
