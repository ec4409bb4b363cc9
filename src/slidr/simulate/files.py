"""Simulated logs as files: what a user would have, and beside it the truth that no user has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan

_FOLDERS = ("clicks", "purchases", "truth")


def write_traffic(
    plan: Plan, generator: np.random.Generator, folder: Path, progress: Callable[[str, float], None]
) -> dict[str, int]:
    """Write simulated logs as Parquet, a file a day, to `folder`/clicks, /purchases and /truth.

    Args:
        plan: what to simulate.
        generator: same seed, same bytes.
        folder: made where missing.
        progress: told 'simulate' and the share that is done.

    Returns:
        How many rows were written, by folder.
    """
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = dict.fromkeys(_FOLDERS, 0)
    days = len(plan.schedule)
    for done, day in enumerate(simulate(plan, generator), 1):
        tables: dict[str, pa.Table] = {"clicks": day.clicks, "purchases": day.purchases, "truth": day.truth}
        for name, table in tables.items():
            if table.num_rows:
                pq.write_table(table, folder / name / f"{day.day.isoformat()}.parquet")
                written[name] += table.num_rows
        progress("simulate", done / days)
    return written
