"""Publishes and promotes, and is killed: `python -m tests.registry.killed REGISTRY BUNDLE PUT before|after`.

The process kills itself as kill -9 would, before or after its PUT-th object is written; where it comes to the end, it
prints how many it wrote.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import obstore

from slidr.registry import Registry


def main() -> None:
    """Publish and promote."""
    location, folder, at, when = sys.argv[1:]
    put, written = obstore.put, 0

    def counted(*arguments: Any, **options: Any) -> object:
        nonlocal written
        written += 1
        if written == int(at) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = put(*arguments, **options)
        if written == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(obstore, "put", counted)  # noqa: B010 of another type
    registry = Registry(location)
    registry.publish(Path(folder))
    registry.promote(Path(folder).name, at=2, who="killed", why="because")
    print(written)  # noqa: T201 whoever started it reads this


if __name__ == "__main__":
    main()
