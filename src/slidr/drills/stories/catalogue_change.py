"""A bundle with new features is forced into service cold, and rolled back by the command; recomputing settles the day.

The state of the champion before is folded on all the while, so that the rollback finds it warm.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from slidr.clock import MINUTE, ManualClock
from slidr.daily.flow import Request, run_daily
from slidr.drills.following import follow, serving
from slidr.drills.replaying import replay_day
from slidr.drills.settling import trace_of
from slidr.drills.stage import WHO, Service, Stage, quiet
from slidr.drills.watching import alarm, watching
from slidr.errors import ServiceError
from slidr.guardrails import guardrails
from slidr.tables import Verdict

_PROMOTED, _LAST = 96, 216
"""Windows of the day: when the bundle is promoted, and until when that must have been seen."""
_WINDOWS = ["1m", "10m", "30m", "1h", "6h", "24h"]
"""Of the click counts; half an hour is new."""
_BETWEEN = 0.2
"""Seconds between two windows that are sent while the rollback is on its way."""


def play(stage: Stage) -> dict[str, Any]:
    """Promote at eight o'clock, roll back once the monitor has seen it, and recompute the day."""
    bundle = _learnt(stage)
    stage.timeline.tell(f"bundle {bundle} is learnt, which counts clicks in half an hour too")
    undisturbed = stage.undisturbed()
    # Unmeasurable clicks are no reason for the monitor to roll back: whoever is on call does.
    stage.configure("monitor", rollback=False)
    with Service(stage) as service, watching(stage) as monitor:
        for window in range(_PROMOTED):
            service.send(window)
            monitor.look()
        promoted = stage.clock.now()
        stage.registry.promote(bundle, at=promoted, who=WHO, why="it is better", cold=True)
        follow(service, bundle)
        stage.timeline.tell("it is promoted with --cold")
        window = _PROMOTED
        while not (said := alarm(monitor, "unmeasurable")):
            if window == _LAST:
                raise ServiceError("the monitor raised no alarm; give the drill more --clicks, or report this")
            service.send(window)
            window += 1
        detected = stage.clock.now()
        stage.timeline.tell(f"alarm: {said}")
        window, seconds = _rolled_back(stage, service, window)
        stage.timeline.tell(f"{stage.champion} decides again, {seconds:.2f} s after the start of slidr rollback")
        left = sum(
            one["verdict"] == Verdict.UNMEASURABLE
            for rest in range(window, len(stage.windows))
            for one in service.send(rest).decisions
        )
        stage.timeline.tell(f"{left} clicks behind the rollback could not be measured")
    replayed = replay_day(stage, "recompute", "a bundle was promoted whose state was cold")
    trace = trace_of(stage, undisturbed)
    stage.timeline.tell(f"{trace.differences} differences are left of {trace.wrong:,} clicks decided wrongly")
    return {
        "minutes_to_detect": (detected - promoted) / MINUTE,
        "rollback_seconds": seconds,
        "unmeasurable_behind_the_rollback": left,
        "unmeasurable_left": replayed.tally.left,
        **trace.document(),
    }


def _learnt(stage: Stage) -> str:
    """Run the next day with a further feature in a copy of the project, and publish what comes of it."""
    other = stage.copy("next")
    other.configure("features", windows=_WINDOWS)
    asked = Request(WHO, overrides=guardrails(), why="new features")
    result = run_daily(other.settings, ManualClock(stage.clock.now()), asked, quiet)
    stage.registry.publish(Path(other.settings.storage.bundles) / result.bundle)
    return result.bundle


def _rolled_back(stage: Stage, service: Service, window: int) -> tuple[int, float]:
    """Run `slidr rollback` while traffic goes on; return the next window, and how many seconds that took."""
    command = [sys.executable, "-m", "slidr", "rollback", "--why", "its state is cold", "--settings"]
    command.append(str(stage.folder / "slidr.toml"))
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 our own command
        while serving(service) != stage.champion:
            if window < len(stage.windows):
                service.send(window)
                window += 1
            time.sleep(_BETWEEN)
            if process.poll():
                raise ServiceError(f"slidr rollback ended with status {process.returncode}")
        seconds = time.perf_counter() - began
    return window, seconds
