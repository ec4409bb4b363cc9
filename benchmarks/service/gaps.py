"""Gaps: how long the machine leaves a process that only reads the clock standing, which no service can mend.

    python -m benchmarks.service.gaps CORE SECONDS

prints one JSON object. A request that arrives at a random moment falls into a gap as often as the gap is long, and
waits for its end: `p999_ms` is what one such request in a thousand waits, on a machine that has nothing else to do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from benchmarks.service.serving import LOAD, SERVICE

LEAST = 20_000  # nanoseconds: shorter ones are the interpreter's own
SHARES = {"p50_ms": 0.5, "p99_ms": 0.01, "p999_ms": 0.001, "p9999_ms": 0.0001}


def spin(core: int, seconds: float) -> list[int]:
    """Read the clock again and again on a core, and return the gaps, in nanoseconds."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    read = time.perf_counter_ns
    gaps, last = [], read()
    end = last + int(seconds * 1e9)
    while last < end:
        now = read()
        if now - last > LEAST:
            gaps.append(now - last)
        last = now
    return gaps


def waits(gaps: Sequence[int], seconds: float) -> dict[str, float]:
    """Return quantiles of the wait of a request that comes at a random moment, the share of the time lost, and more.

    With a share q of all moments a wait of more than x is left: the sum over gaps g of max(0, g - x), by the seconds.
    """
    found = np.sort(np.array(gaps, np.float64))[::-1] / 1e6
    total = seconds * 1000
    # At x = found[k] the gaps before it stick out by their sum less k times x.
    beyond = np.concatenate([[0.0], np.cumsum(found)])
    excess = beyond[:-1] - np.arange(len(found)) * found
    figures = {}
    for name, share in SHARES.items():
        wanted = share * total
        reached = int(np.searchsorted(excess, wanted))
        figures[name] = round(max(0.0, (beyond[reached] - wanted) / reached), 3) if reached else 0.0
    return {
        **figures,
        "max_ms": round(float(found[0]), 3) if len(found) else 0.0,
        "lost_percent": round(100 * float(found.sum()) / total, 2),
    }


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Return the waits on the service's core and on the load's, measured one after the other: two would disturb."""
    return {
        name: json.loads(
            subprocess.run(  # noqa: S603 this very module
                [sys.executable, "-m", "benchmarks.service.gaps", str(core), str(seconds)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        for name, core in (("service_core", SERVICE), ("load_core", LOAD))
    }


if __name__ == "__main__":
    _core, _seconds = int(sys.argv[1]), float(sys.argv[2])
    print(json.dumps(waits(spin(_core, _seconds), _seconds)))
