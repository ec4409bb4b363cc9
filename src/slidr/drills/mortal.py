"""Promotions that are killed: `python -m slidr.drills.mortal SETTINGS CLOCK BUNDLE`, told on its standard input.

For each number that it reads it forks a process that publishes the bundle and makes it the champion, as the end of a
daily run does, and that kills itself by SIGKILL before it writes one object more to the registry than that number. It
prints the process's exit status: -9 where it was killed.
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
    """Promote as often as is asked."""
    for line in sys.stdin:
        # Nothing of the registry is open before the fork, so that each process has all of it for itself.
        if not (process := os.fork()):
            _promote(Path(sys.argv[1]), SharedClock(Path(sys.argv[2])), sys.argv[3], int(line))
            os._exit(0)
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _promote(path: Path, clock: SharedClock, bundle: str, writes: int) -> None:
    """Promote, or die."""
    left = [writes]
    for name in ("put", "create"):
        setattr(Objects, name, _mortal(getattr(Objects, name), left))
    settings = read_settings(path)
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
