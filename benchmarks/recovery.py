"""A service killed (kill -9) at random moments of a load, restarted each time over the one journal.

    python -m benchmarks.recovery [--kills 20] [--seed 1]

At the end every journalled row is compared with that of one store which folds the same clicks undisturbed.
`recovery_seconds` is from the start of the process until it is ready. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.budgets import show
from tests.service.killing import compare, kill_during_load
from tests.service.making import make_bundle

PENDING = 20_000
LONGEST = 1.0


def main() -> None:
    """Kill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often the service is killed")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "bundles")
        generator = np.random.default_rng(chosen.seed)
        killed = kill_during_load(Path(folder), generator, kills=chosen.kills, clicks=PENDING, longest=LONGEST)
        compared = compare(Path(folder), bundle, killed)
    figures = {
        "kills": killed.kills,
        "clicks": len(killed.acknowledged),
        "rows_compared": compared.rows,
        "differences": compared.differences,
        "lost": compared.lost,
        "double": compared.double,
        "recovery_seconds": {
            "p50": round(float(np.median(killed.recovery_seconds)), 2),
            "max": round(max(killed.recovery_seconds), 2),
        },
    }
    show("recovery", figures)


if __name__ == "__main__":
    main()
