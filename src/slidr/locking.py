"""Locking: one run of a kind at a time on a machine, by a lock that the system drops with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slidr.errors import BusyError


@contextmanager
def only_run(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where missing, with its folder.

    The file stays, its lock does not: a process that is killed leaves nothing that blocks the next one.

    Raises:
        BusyError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BusyError(
                f"another run is going on: process {holder} holds {path}; wait for its end, this one has done nothing"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
