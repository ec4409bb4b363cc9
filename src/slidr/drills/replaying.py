"""Replaying the day of a drill, as `slidr replay` would."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from slidr.clock import DAY
from slidr.drills.stage import WHO, Stage
from slidr.replay.methods import decided_again
from slidr.replay.plan import Plan, declared
from slidr.replay.running import Outcome, publish
from slidr.service.state_files import kept_states
from slidr.tables import ROWS


def replay_day(stage: Stage, method: Literal["rescore", "recompute"], why: str) -> Outcome:
    """Ship what was decided, and decide the day again by the champion of its beginning.

    Raises:
        SlidrError: the day cannot be decided again.
    """
    stage.ship()
    lake, settings = stage.lake, stage.settings
    plan = Plan(
        id="drill", method=method, bundle=stage.champion, start=stage.start, end=stage.start + DAY,
        rows=lake.version(ROWS), at=stage.clock.now(),
    )  # fmt: skip
    plan = declared(stage.registry.audit, plan, who=WHO, why=why)
    states = [*kept_states(Path(settings.storage.state)), Path(settings.storage.seed)]
    again = decided_again(settings, lake, plan, stage.bundle(), states, lambda _clicks: None)
    done = publish(lake, plan, again, settings.timezone)
    stage.timeline.tell(f"{method}: {done.tally.corrected:,} decisions are superseded, {done.tally.left:,} left")
    return done
