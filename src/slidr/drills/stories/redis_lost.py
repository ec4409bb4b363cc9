"""Redis crashes and comes back empty: clicks are unmeasurable until it is seeded, and recomputing settles the day.

Clicks that came meanwhile are in the journal, but were not folded; rows of those behind them count too little.
"""

from __future__ import annotations

import time
from typing import Any

from slidr.clock import MINUTE
from slidr.drills.redis_server import RedisServer
from slidr.drills.replaying import replay_day
from slidr.drills.settling import trace_of
from slidr.drills.stage import Service, Stage
from slidr.drills.watching import alarm, watching
from slidr.errors import ServiceError
from slidr.tables import Verdict

_LOST, _LAST = 120, 216
"""Windows of the day: when Redis crashes, and until when that must have been seen."""


def play(stage: Stage) -> dict[str, Any]:
    """Let Redis crash at ten o'clock, seed it once the monitor has seen it, and recompute the day."""
    undisturbed = stage.undisturbed()
    with RedisServer(stage.folder) as redis:
        stage.configure("store", redis=[redis.url])
        _seed(stage)
        with Service(stage) as service, watching(stage) as monitor:
            for window in range(_LOST):
                service.send(window)
                monitor.look()
            redis.kill()
            redis.start()
            lost = stage.clock.now()
            stage.timeline.tell("Redis crashes, and comes back empty")
            window, unmeasurable = _LOST, 0
            while not (said := alarm(monitor, "unmeasurable")):
                if window == _LAST:
                    raise ServiceError("the monitor raised no alarm; give the drill more --clicks, or report this")
                unmeasurable += _unmeasurable(service, window)
                window += 1
            detected = stage.clock.now()
            stage.timeline.tell(f"alarm: {said}")
            began = time.perf_counter()
            said = _seed(stage)
            seconds = time.perf_counter() - began
            stage.timeline.tell(f"slidr seed took {seconds:.2f} s: {said.splitlines()[0]}")
            while window < len(stage.windows) - 1 and (left := _unmeasurable(service, window)):
                unmeasurable, window = unmeasurable + left, window + 1
            stage.timeline.tell(f"clicks are measured again; {unmeasurable:,} were not")
            for rest in range(window + 1, len(stage.windows)):
                service.send(rest)
    replayed = replay_day(stage, "recompute", "Redis lost its data")
    trace = trace_of(stage, undisturbed)
    stage.timeline.tell(f"{trace.differences} differences are left of {trace.wrong:,} clicks decided wrongly")
    return {
        "minutes_to_detect": (detected - lost) / MINUTE,
        "seed_seconds": seconds,
        "unmeasurable": unmeasurable,
        "unmeasurable_left": replayed.tally.left,
        **trace.document(),
    }


def _seed(stage: Stage) -> str:
    """Run `slidr seed` and return what it said."""
    status, said = stage.slidr("seed")
    if status:
        raise ServiceError(f"slidr seed ended with status {status}: {said.strip()}")
    return said


def _unmeasurable(service: Service, window: int) -> int:
    """Send a window and return how many of its clicks could not be measured."""
    return sum(one["verdict"] == Verdict.UNMEASURABLE for one in service.send(window).decisions)
