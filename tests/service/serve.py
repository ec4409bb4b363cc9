"""A server in a process of its own: `python -m tests.service.serve FOLDER`, with one bundle in FOLDER/bundles."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.service.making import NOW, make_parts

from slidr.bundle import read_bundle
from slidr.clock import ManualClock
from slidr.service.server import serve


def main() -> None:
    """Serve until told to stop, and print what happens."""
    root = Path(sys.argv[1])
    (place,) = (root / "bundles").iterdir()
    serve(
        make_parts(root, read_bundle(place)),
        announce=lambda state, url: print(state, url, flush=True),  # noqa: T201 whoever started it reads this
        clock=ManualClock(NOW),
    )


if __name__ == "__main__":
    main()
