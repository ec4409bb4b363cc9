"""A promotion that is killed: `python -m slidr.drills.mortal SETTINGS CLOCK BUNDLE WRITES`.

It publishes a bundle and makes it the champion, as the end of a daily run does, and kills itself by SIGKILL before it
writes one object more to the registry than it may.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slidr.drills.clock import SharedClock
from slidr.objects import Objects
from slidr.registry import open_registry
from slidr.settings import read_settings

WHO = "drill"


def main() -> None:
    """Promote, or die."""
    settings, clock = read_settings(Path(sys.argv[1])), SharedClock(Path(sys.argv[2]))
    bundle, left = sys.argv[3], [int(sys.argv[4])]
    for name in ("put", "create"):
        setattr(Objects, name, _mortal(getattr(Objects, name), left))
    registry = open_registry(settings)
    registry.publish(Path(settings.storage.bundles) / bundle)
    registry.promote(bundle, at=clock.now(), who=WHO, why="a new day's bundle", once=True)


def _mortal(write: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    @functools.wraps(write)
    def writing(*arguments: Any) -> Any:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return write(*arguments)

    return writing


if __name__ == "__main__":
    main()
