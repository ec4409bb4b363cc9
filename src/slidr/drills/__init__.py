"""Drills: incidents played end to end against real processes on simulated traffic, with what they cost."""

from __future__ import annotations

from typing import Any

from slidr import extensions
from slidr.drills.stage import Stage

STORIES = "slidr.drills.stories"


def stories() -> dict[str, str]:
    """Return what each story is about, by its name."""
    return {
        name: (extensions.load(STORIES, name).__doc__ or "").partition("\n")[0] for name in extensions.names(STORIES)
    }


def play(name: str, stage: Stage) -> dict[str, Any]:
    """Play a story."""
    found: dict[str, Any] = extensions.load(STORIES, name).play(stage)
    return found
