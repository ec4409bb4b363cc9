"""A wave of robots from addresses that nobody has seen comes at ten: the monitor tells of it, and rolls nothing back.

The champion has been stable for hours, so that more invalid clicks tell of other traffic, which another bundle would
meet too. The decisions of everybody else's clicks are held against those of a day without the wave.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.clock import HOUR, MINUTE
from slidr.drills.nights import Decided, ivr
from slidr.drills.settling import trace_of
from slidr.drills.stage import Service, Stage
from slidr.drills.watching import watching
from slidr.errors import ServiceError
from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan
from slidr.tables import DECISIONS

_FAMILY = "rotating_crawler"
_FIRST, _LAST = 10 * HOUR, 16 * HOUR
_SHARE = 0.5
"""Clicks of the wave, at most, as a share of those of the day."""
_WORLD = 25
"""Clicks of the world that the wave is drawn from, in days of the stage."""
_TELLING = frozenset({"ivr", "clicks"})


def play(stage: Stage) -> dict[str, Any]:
    """Let the day pass with the wave, under the eyes of the monitor, and without it."""
    wave = _wave(stage)
    attacked = Stage(stage.folder, pa.concat_tables([stage.clicks, wave]).sort_by("time"), stage.clock, stage.timeline)
    calm, unwatched = stage.undisturbed(), attacked.undisturbed("unwatched")
    come, detected, decided = attacked.start + _FIRST, 0, list[list[dict[str, Any]]]()
    with Service(attacked) as service, watching(attacked) as monitor:
        for window in range(len(attacked.windows)):
            decided.append(service.send(window).decisions)
            seen = monitor.look()
            if seen.rolled_back:
                raise ServiceError("the monitor rolled back for other traffic; this is a fault of slidr")
            found = [one.message for one in seen.open if one.metric in _TELLING and one.at >= come]
            if found and not detected:
                detected = attacked.clock.now()
                stage.timeline.tell(f"alarm: {found[0]}")
    if not detected:
        stage.timeline.tell("the monitor raises no alarm: neither the clicks nor the invalid ones are more than usual")
    attacked.ship()
    trace = trace_of(attacked, unwatched)
    waves = frozenset(wave["click_id"].to_pylist())
    before = _otherwise(decided, calm, waves)
    caught = ivr([[one for some in decided for one in some if one["click_id"] in waves]])
    stage.timeline.tell(
        f"{stage.champion} decides on, and finds {caught:.1%} of {len(waves):,} clicks of the wave invalid;"
        f" {before} clicks of others are decided otherwise"
    )
    return {
        "minutes_to_detect": (detected - come) / MINUTE if detected else None,
        "wave_invalid": caught,
        "others_decided_otherwise": before,
        **trace.document(),
    }


def _wave(stage: Stage) -> pa.Table:
    """Return clicks of a family of another world, with identifiers of its own, in some hours of the stage's day."""
    most = round(_SHARE * stage.clicks.num_rows)
    for seed in range(100):
        plan = Plan(clicks=_WORLD * stage.clicks.num_rows, days=1, burn_in=0, start=stage.day, settle=1)
        (day, *_) = simulate(plan, np.random.default_rng([seed, 7]))
        family = day.truth.filter(pc.equal(day.truth["family"], _FAMILY))["click_id"].combine_chunks()
        times = day.clicks["time"].cast(pa.int64()).to_numpy() - stage.start
        inside = pa.array((times >= _FIRST) & (times < _LAST))
        clicks = day.clicks.filter(pc.and_(inside, pc.is_in(day.clicks["click_id"], family))).slice(0, most)
        if clicks.num_rows >= most // 2:
            stage.timeline.tell(f"{clicks.num_rows:,} clicks of a {_FAMILY.replace('_', ' ')} will come from ten on")
            named = pc.binary_join_element_wise("wave", clicks["click_id"], "-")
            return clicks.set_column(0, "click_id", named).cast(stage.clicks.schema)
    raise ServiceError(f"no world has a {_FAMILY} at work on {stage.day}; this is a fault of slidr")


def _otherwise(decided: Decided, calm: Stage, waves: frozenset[str]) -> int:
    """Return how many clicks that are not the wave's have another verdict than on the calm day."""
    told = calm.lake.read(DECISIONS, columns=["click_id", "verdict"])
    verdicts = dict(zip(told["click_id"].to_pylist(), told["verdict"].to_pylist(), strict=True))
    return sum(
        one["verdict"] != verdicts[one["click_id"]] for some in decided for one in some if one["click_id"] not in waves
    )
