"""A model that finds almost everything invalid is forced past the guardrails, seen, rolled back, and settled.

Its bundle is the champion with thresholds that somebody has set by hand, promoted although no daily run made it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from slidr.bundle import Parts, write_bundle
from slidr.clock import MINUTE
from slidr.drills.replaying import replay_day
from slidr.drills.settling import trace_of
from slidr.drills.stage import WHO, Answered, Service, Stage
from slidr.drills.watching import watching

_PROMOTED, _LAST = 96, 192
"""Windows of the day: when the bundle is promoted, and until when it must have been seen."""
_THRESHOLD = 0.02


def play(stage: Stage) -> dict[str, Any]:
    """Promote the bundle at eight o'clock, let the monitor roll it back, and rescore the day."""
    undisturbed = stage.undisturbed()
    anomalous = _anomalous(stage)
    with Service(stage) as service, watching(stage) as monitor:
        for window in range(_PROMOTED):
            service.send(window)
            monitor.look()
        promoted = stage.clock.now()
        stage.registry.promote(anomalous, at=promoted, who=WHO, why="thresholds set by hand, guardrails not asked")
        stage.timeline.tell(f"bundle {anomalous} is promoted past the guardrails")
        window = _until(service, anomalous, _PROMOTED)
        detected = 0
        while not (seen := monitor.look()).rolled_back and window < _LAST:
            if seen.open and not detected:
                detected = stage.clock.now()
                stage.timeline.tell(f"alarm: {seen.open[0].message}")
            service.send(window)
            window += 1
        began, rolled = time.perf_counter(), stage.clock.now()
        stage.timeline.tell(f"the monitor rolls back to {seen.rolled_back or 'nothing'}")
        window = _until(service, stage.champion, window)
        seconds = time.perf_counter() - began
        stage.timeline.tell(f"{stage.champion} decides again, {seconds:.2f} s after the command")
        for rest in range(window, len(stage.windows)):
            service.send(rest)
    replay_day(stage, "rescore", "an anomalous bundle was forced past the guardrails")
    trace = trace_of(stage, undisturbed)
    stage.timeline.tell(f"{trace.differences} differences are left of {trace.wrong:,} clicks decided wrongly")
    return {
        "minutes_to_detect": ((detected or rolled) - promoted) / MINUTE,
        "minutes_to_roll_back": (rolled - promoted) / MINUTE,
        "rollback_seconds": seconds,
        **trace.document(),
    }


def _anomalous(stage: Stage) -> str:
    """Publish the champion with thresholds that hardly a click keeps, and return the bundle's id."""
    good = stage.bundle()
    parts = Parts(
        **{name: getattr(good, name) for name in Parts.__struct_fields__}
        | {"thresholds": tuple(msgspec.structs.replace(one, threshold=_THRESHOLD) for one in good.thresholds)}
    )
    made = write_bundle(Path(stage.settings.storage.bundles), parts, created_at=stage.clock.now(), version="drill")
    stage.registry.publish(Path(stage.settings.storage.bundles) / made.id)
    return made.id


def _until(service: Service, bundle: str, window: int) -> int:
    """Send windows until a bundle decides them; returns the next one."""
    while True:
        answered: Answered = service.send(window)
        window += 1
        if answered.bundles == {bundle}:
            return window
