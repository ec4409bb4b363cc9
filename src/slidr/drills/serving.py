"""A service that goes by the clock of a drill: `python -m slidr.drills.serving SETTINGS CLOCK`."""

from __future__ import annotations

import sys
from pathlib import Path

from slidr.drills.clock import SharedClock
from slidr.service.assembly import assemble
from slidr.service.opening import check_shared
from slidr.service.server import serve
from slidr.settings import read_settings


def main() -> None:
    """Serve until SIGTERM."""
    settings, clock = read_settings(Path(sys.argv[1])), SharedClock(Path(sys.argv[2]))
    parts = assemble(settings, clock, "drill")
    check_shared(parts, clock)

    def announce(state: str, url: str) -> None:
        sys.stdout.write(f"slidr {state} {url} bundle {parts.bundle.id}\n")
        sys.stdout.flush()

    serve(parts, announce=announce, clock=clock)


if __name__ == "__main__":
    main()
