"""The clock of a drill: several processes read it from a file, and it moves only when the drill moves it.

So a day of traffic passes as fast as it can be sent, and everything that is dated is dated as it would have been.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_TIME = struct.Struct("<q")


class SharedClock:
    """A clock in a file of eight bytes.

    Args:
        path: the file.
        now: the time to begin with, microseconds UTC; where None the file tells it.
    """

    def __init__(self, path: Path, now: int | None = None) -> None:
        self.path = path
        if now is not None:
            path.write_bytes(_TIME.pack(now))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _TIME.size)

    def now(self) -> int:
        """Return the time it was set to, in microseconds, UTC."""
        return int(_TIME.unpack(self._memory[: _TIME.size])[0])

    def set(self, now: int) -> None:
        """Move the clock to a time, microseconds UTC."""
        self._memory[: _TIME.size] = _TIME.pack(now)
