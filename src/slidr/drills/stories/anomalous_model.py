"""A model that learnt from a log without most clicks is forced past the guardrails, seen, rolled back, and settled.

It takes for busy who is not. Guardrails refuse it, first over its data and then over what it would decide, and somebody
overrides each of them.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slidr.clock import MINUTE, ManualClock
from slidr.daily.flow import Request, run_daily
from slidr.drills.following import follow, serving
from slidr.drills.replaying import replay_day
from slidr.drills.settling import trace_of
from slidr.drills.stage import WHO, Service, Stage, quiet
from slidr.drills.watching import watching
from slidr.errors import ServiceError

_PROMOTED, _LAST = 96, 252
"""Windows of the day: when the bundle is promoted, and until when it must have been seen."""
_LEFT = 1000
"""Clicks a day that the model learns from."""
_TELLING = frozenset({"ivr", "low_ivr", "trusted", "fpr"})
"""Alarms for which a bundle is rolled back."""
_BETWEEN = 0.05
"""Seconds between two windows that are sent while the rollback is on its way."""


def play(stage: Stage) -> dict[str, Any]:
    """Promote the bundle at eight o'clock, let the monitor roll it back, and rescore the day."""
    undisturbed = stage.undisturbed()
    other = _thinned(stage)
    with Service(stage) as service, watching(stage) as monitor:
        for window in range(_PROMOTED):
            service.send(window)
            monitor.look()
        promoted = stage.clock.now()
        anomalous = _forced(stage, other)
        stage.timeline.tell(f"bundle {anomalous} is published with --override, and promoted")
        follow(service, anomalous)
        window, detected = _PROMOTED, 0
        while True:
            began, seen = time.perf_counter(), monitor.look()
            found = [one.message for one in seen.open if one.metric in _TELLING]
            if found and not detected:
                detected = stage.clock.now()
                stage.timeline.tell(f"alarm: {found[0]}")
            if seen.rolled_back:
                break
            if window == _LAST:
                raise ServiceError("the monitor did not roll back; give the drill more --clicks, or report this")
            service.send(window)
            window += 1
        rolled = stage.clock.now()
        stage.timeline.tell(f"the monitor rolls back to {seen.rolled_back}")
        while serving(service) != stage.champion and window < len(stage.windows):
            service.send(window)
            window += 1
            time.sleep(_BETWEEN)
        seconds = time.perf_counter() - began
        stage.timeline.tell(f"{stage.champion} decides again, {seconds:.2f} s after the monitor's look")
        for rest in range(window, len(stage.windows)):
            service.send(rest)
    replay_day(stage, "rescore", "an anomalous bundle was forced past the guardrails")
    trace = trace_of(stage, undisturbed)
    stage.timeline.tell(f"{trace.differences} differences are left of {trace.wrong:,} clicks decided wrongly")
    return {
        "minutes_to_detect": (detected - promoted) / MINUTE,
        "minutes_to_roll_back": (rolled - promoted) / MINUTE,
        "rollback_seconds": seconds,
        **trace.document(),
    }


def _thinned(stage: Stage) -> Stage:
    """Return a project with the same registry, and few of the clicks."""
    other = stage.copy("thinned")
    other.configure("storage", registry=stage.settings.storage.registry)
    generator = np.random.default_rng(1)
    share = _LEFT / stage.clicks.num_rows
    for path in sorted((other.folder / "logs" / "clicks").iterdir()):
        clicks = pq.read_table(path)
        pq.write_table(clicks.filter(pa.array(generator.random(clicks.num_rows) < share)), path)
    for name in ("lake", "backfill", "networks", "slow"):
        shutil.rmtree(other.folder / name, ignore_errors=True)
    return other


def _forced(stage: Stage, other: Stage) -> str:
    """Run a day, and again with an override of what refused it, until it is published; return its bundle."""
    names: tuple[str, ...] = ()
    while True:
        asked = Request(WHO, overrides=names, why="it has to be out today" if names else "")
        result = run_daily(other.settings, ManualClock(stage.clock.now()), asked, quiet)
        if result.status == "published":
            return result.bundle
        refusing = tuple(one.name for one in result.findings if one.refuses)
        stage.timeline.tell(f"slidr daily on {_LEFT:,} clicks a day is {result.status} by {', '.join(refusing)}")
        names += refusing
