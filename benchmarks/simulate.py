"""Clicks a second that the simulator draws on one core, burn-in included.

    python -m benchmarks.simulate

The last line is one JSON object.
"""

from __future__ import annotations

import numpy as np
from benchmarks.budgets import show
from benchmarks.machine import peak_rss_mb, pin, seconds_of

from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan

PLAN = Plan(clicks=3_000_000)


def draw() -> int:
    """Draw every day and return how many clicks there were."""
    return sum(day.clicks.num_rows for day in simulate(PLAN, np.random.default_rng(1)))


def main() -> None:
    """Measure and print."""
    pin()
    elapsed, clicks = seconds_of(draw)
    show("simulate", {"clicks": clicks, "clicks_per_second": round(clicks / elapsed), "peak_rss_mb": peak_rss_mb()})


if __name__ == "__main__":
    main()
