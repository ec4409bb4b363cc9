"""`python -m slidr` is `slidr`."""

from __future__ import annotations

from slidr.cli import main

if __name__ == "__main__":
    main()
