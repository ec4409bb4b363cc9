"""Robots report purchases of their own for a day, to pass for people: the night's run is refused, the champion stays.

What would have come without guardrails is tried beside it, on a service of its own.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slidr.clock import MINUTE
from slidr.drills.nights import robots_of, spoilt_night
from slidr.drills.stage import Stage

_SHARE = 0.5


def play(stage: Stage) -> dict[str, Any]:
    """Poison the labels, run the night, and let the day pass."""
    words = "purchases came four days ago that robots have made up"
    return spoilt_night(stage, _poison, words)[0]


def _poison(stage: Stage, day: date, purchases: pa.Table) -> pa.Table:
    """Return the purchases, and one more for every other click of a robot that names an account."""
    clicks = pq.read_table(stage.folder / "logs" / "clicks" / f"{day.isoformat()}.parquet")
    made = pc.and_(pc.is_in(clicks["click_id"], pa.array(robots_of(stage))), pc.is_valid(clicks["user"]))
    chosen = clicks.filter(made)
    chosen = chosen.filter(pa.array(np.random.default_rng(1).random(chosen.num_rows) < _SHARE))
    forged = {
        "purchase_id": pc.binary_join_element_wise("forged", chosen["click_id"], "-"),
        "time": pc.add(chosen["time"].cast(pa.int64()), MINUTE).cast(purchases.schema.field("time").type),
        "user": chosen["user"],
        "click_id": chosen["click_id"],
        "value": pa.array(np.full(chosen.num_rows, 10_000_000)),
        "currency": pa.array(["EUR"] * chosen.num_rows),
    }
    return pa.concat_tables([purchases, pa.table(forged).cast(purchases.schema)]).sort_by("time")
