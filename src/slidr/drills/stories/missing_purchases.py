"""Six hours of purchases are lost on their way: the night's run is refused, and the champion goes on deciding.

What would have come without guardrails is tried beside it, on a service of its own.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from slidr.clock import HOUR, MINUTE, ManualClock
from slidr.daily.flow import Request, Result, run_daily
from slidr.drills.following import follow
from slidr.drills.settling import trace_of
from slidr.drills.stage import WHO, Service, Stage, quiet
from slidr.errors import ServiceError
from slidr.guardrails import guardrails
from slidr.tables import INVALID

_BACK = 4
"""Days before today on which the purchases are lost: the last one that trains."""
_FIRST, _HOURS = 8, 6


def play(stage: Stage) -> dict[str, Any]:
    """Run the night on a log that lost purchases, once with guardrails and once without, and let the day pass."""
    undisturbed = stage.undisturbed()
    free, other = stage.copy("unguarded"), stage.copy("lost")
    rows = _lose(other)
    stage.timeline.tell(f"{rows:,} purchases of {_HOURS} hours were lost {_BACK} days ago, and nobody has noticed")
    refused = _night(other, Request(WHO))
    names = [one.name for one in refused.findings if one.refuses]
    champion = other.registry.champion()
    if refused.status != "refused" or champion is None or champion.bundle != stage.champion:
        raise ServiceError(f"the run of the night ended {refused.status}; give the drill more --clicks, or report this")
    stage.timeline.tell(f"slidr daily is refused by {', '.join(names)}; {stage.champion} stays")
    with Service(stage) as service:
        kept = [service.send(window).decisions for window in range(len(stage.windows))]
    stage.ship()
    trace = trace_of(stage, undisturbed)
    stage.timeline.tell(f"the day passes, {_ivr(kept):.1%} of its clicks are invalid; {trace.differences} differences")
    forced = _night(other, Request(WHO, overrides=guardrails(), why="what would have happened"))
    free.registry.publish(Path(other.settings.storage.bundles) / forced.bundle)
    with Service(free) as service:
        free.registry.promote(forced.bundle, at=free.start, who=WHO, why="no guardrails")
        follow(service, forced.bundle)
        without = [service.send(window).decisions for window in range(len(free.windows))]
    first, last = _FIRST * HOUR // (5 * MINUTE), (_FIRST + _HOURS) * HOUR // (5 * MINUTE)
    figures = {
        "refused_by": ", ".join(names),
        "ivr": _ivr(kept),
        "ivr_without_guardrails": _ivr(without),
        "ivr_in_those_hours": _ivr(kept[first:last]),
        "ivr_in_those_hours_without_guardrails": _ivr(without[first:last]),
        "people_invalid": _people(stage, kept),
        "people_invalid_without_guardrails": _people(stage, without),
    }
    stage.timeline.tell(
        f"without guardrails {figures['ivr_without_guardrails']:.1%} had been, in those hours of the day"
        f" {figures['ivr_in_those_hours_without_guardrails']:.1%} instead of {figures['ivr_in_those_hours']:.1%}"
    )
    return {**figures, **trace.document()}


def _lose(other: Stage) -> int:
    """Take purchases out of the log, with all that was made of it; return how many."""
    day = other.day - timedelta(days=_BACK)
    path = other.folder / "logs" / "purchases" / f"{day.isoformat()}.parquet"
    purchases = pq.read_table(path)
    hours = purchases["time"].cast("int64").to_numpy() // HOUR % 24
    kept = purchases.filter((hours < _FIRST) | (hours >= _FIRST + _HOURS))
    pq.write_table(kept, path)
    for name in ("lake", "backfill", "networks", "slow"):
        shutil.rmtree(other.folder / name, ignore_errors=True)
    return int(purchases.num_rows - kept.num_rows)


def _night(other: Stage, asked: Request) -> Result:
    return run_daily(other.settings, ManualClock(other.start + MINUTE), asked, quiet)


def _ivr(decided: list[list[dict[str, Any]]]) -> float:
    clicks = [one["verdict"] in INVALID for some in decided for one in some]
    return sum(clicks) / max(len(clicks), 1)


def _people(stage: Stage, decided: list[list[dict[str, Any]]]) -> float:
    """Return the share of people's clicks that were found invalid, by the simulator's truth."""
    truth = pq.read_table(stage.folder / "logs" / "truth", columns=["click_id", "robot"])
    robots = {click for click, robot in zip(*(column.to_pylist() for column in truth.columns), strict=True) if robot}
    return _ivr([[one for some in decided for one in some if one["click_id"] not in robots]])
