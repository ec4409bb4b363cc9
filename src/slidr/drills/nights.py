"""Nights: a day's run on a log whose purchases were spoilt, with guardrails and, on a service of its own, without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slidr.clock import MINUTE, ManualClock
from slidr.daily.flow import Request, Result, run_daily
from slidr.drills.following import follow
from slidr.drills.settling import trace_of
from slidr.drills.stage import WHO, Service, Stage, quiet
from slidr.errors import ServiceError
from slidr.guardrails import guardrails
from slidr.tables import INVALID

BACK = 4
"""Days before today whose purchases are spoilt: the last one that trains."""
Spoil = Callable[[Stage, date, pa.Table], pa.Table]
"""Returns the purchases of a day as they arrive, given the stage and the day."""
Decided = list[list[dict[str, Any]]]
"""Answers by window."""


def spoilt_night(stage: Stage, spoil: Spoil, words: str) -> tuple[dict[str, Any], Decided, Decided]:
    """Run the night, let the day pass, and try what would have come without guardrails.

    Args:
        stage: at the beginning of its day.
        spoil: what goes wrong.
        words: say what goes wrong, behind the number of purchases.

    Returns:
        Figures, the answers of the day, and the answers that there would have been.

    Raises:
        ServiceError: nothing refuses the run.
    """
    undisturbed = stage.undisturbed()
    free, other = stage.copy("unguarded"), stage.copy("spoilt")
    stage.timeline.tell(f"{_spoil(other, spoil):,} {words}")
    refused = _night(other, Request(WHO))
    names = ", ".join(one.name for one in refused.findings if one.refuses)
    champion = other.registry.champion()
    if refused.status != "refused" or champion is None or champion.bundle != stage.champion:
        raise ServiceError(f"the run of the night ended {refused.status}; give the drill more --clicks, or report this")
    stage.timeline.tell(f"slidr daily is refused by {names}; {stage.champion} stays")
    with Service(stage) as service:
        kept = [service.send(window).decisions for window in range(len(stage.windows))]
    stage.ship()
    trace = trace_of(stage, undisturbed)
    stage.timeline.tell(f"the day passes; {trace.differences} differences to a day after a good night")
    forced = _night(other, Request(WHO, overrides=guardrails(), why="what would have happened"))
    free.registry.publish(Path(other.settings.storage.bundles) / forced.bundle)
    with Service(free) as service:
        free.registry.promote(forced.bundle, at=free.start, who=WHO, why="no guardrails")
        follow(service, forced.bundle)
        without = [service.send(window).decisions for window in range(len(free.windows))]
    figures: dict[str, Any] = {"refused_by": names}
    for name, decided in (("", kept), ("_without_guardrails", without)):
        people, robots = by_truth(stage, decided)
        figures |= {f"ivr{name}": ivr(decided), f"people_invalid{name}": people, f"robots_invalid{name}": robots}
    stage.timeline.tell(
        "invalid of people: {people_invalid:.2%}, and without guardrails {people_invalid_without_guardrails:.2%};"
        " of robots: {robots_invalid:.1%} and {robots_invalid_without_guardrails:.1%};"
        " of all: {ivr:.1%} and {ivr_without_guardrails:.1%}".format(**figures)
    )
    return figures | trace.document(), kept, without


def ivr(decided: Decided) -> float:
    """Return the share of clicks that were found invalid."""
    clicks = [one["verdict"] in INVALID for some in decided for one in some]
    return sum(clicks) / max(len(clicks), 1)


def by_truth(stage: Stage, decided: Decided) -> tuple[float, float]:
    """Return the shares of people's and of robots' clicks that were found invalid, by the simulator's truth."""
    robots = robots_of(stage)
    people = ivr([[one for some in decided for one in some if one["click_id"] not in robots]])
    return people, ivr([[one for some in decided for one in some if one["click_id"] in robots]])


def robots_of(stage: Stage) -> frozenset[str]:
    """Return the clicks that robots made."""
    truth = pq.read_table(stage.folder / "logs" / "truth", columns=["click_id", "robot"])
    return frozenset(truth.filter(truth["robot"])["click_id"].to_pylist())


def _spoil(other: Stage, spoil: Spoil) -> int:
    """Spoil the purchases in the log, without all that was made of it; return how many came or went."""
    day = other.day - timedelta(days=BACK)
    path = other.folder / "logs" / "purchases" / f"{day.isoformat()}.parquet"
    before = pq.read_table(path)
    after = spoil(other, day, before)
    pq.write_table(after, path)
    for name in ("lake", "backfill", "networks", "slow"):
        shutil.rmtree(other.folder / name, ignore_errors=True)
    return abs(int(after.num_rows) - int(before.num_rows))


def _night(other: Stage, asked: Request) -> Result:
    return run_daily(other.settings, ManualClock(other.start + MINUTE), asked, quiet)
