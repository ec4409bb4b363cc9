"""Six hours of purchases are lost on their way: the night's run is refused, and the champion goes on deciding.

What would have come without guardrails is tried beside it, on a service of its own.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa

from slidr.clock import HOUR
from slidr.drills.nights import ivr, spoilt_night
from slidr.drills.stage import WINDOW, Stage

_FIRST, _HOURS = 8, 6


def play(stage: Stage) -> dict[str, Any]:
    """Lose them, run the night, and let the day pass."""
    words = f"purchases of {_HOURS} hours were lost four days ago, and nobody has noticed"
    figures, kept, without = spoilt_night(stage, _lose, words)
    hours = slice(_FIRST * HOUR // WINDOW, (_FIRST + _HOURS) * HOUR // WINDOW)
    return figures | {
        "ivr_in_those_hours": ivr(kept[hours]),
        "ivr_in_those_hours_without_guardrails": ivr(without[hours]),
    }


def _lose(stage: Stage, day: date, purchases: pa.Table) -> pa.Table:
    """Return the purchases without those of six hours."""
    del stage, day
    hours = purchases["time"].cast(pa.int64()).to_numpy() // HOUR % 24
    return purchases.filter(pa.array((hours < _FIRST) | (hours >= _FIRST + _HOURS)))
