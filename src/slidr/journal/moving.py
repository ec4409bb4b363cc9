"""Moving: a process of its own moves a journal's log into its file, on a core while nobody else wants it.

In a thread of the service the move takes whole slices of the core from the requests, 3.6 ms each, however nice the
thread is; and one that yields to everybody would hold Python's lock while it waits for its turn. A process holds
nothing that a request needs: neither that lock nor, in WAL mode, one of the journal's.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from slidr.errors import JournalError
from slidr.journal.file import move_log

PATIENCE = 10.0
"""Seconds that a process may take which yields to everybody, first to be there and then for each move; one that takes
its share of the core goes on then."""
_NICE, _NICEST = 10, 19  # of that one; and of one that yields where the system has no better word for it


class Mover:
    """Moves the logs of journals, through a process that is started for the first one.

    Args:
        patience: see `PATIENCE`; a core that is never idle is why it takes longer.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._there = False

    @property
    def begins(self) -> bool:
        """Whether the process was started and is not there yet; may be asked by another thread than moves logs."""
        process = self._process
        if process is None or process.stdout is None or self._there:
            return False
        with suppress(OSError, ValueError):  # it was ended meanwhile
            return not select.select([process.stdout], [], [], 0)[0]
        return False

    def start(self) -> None:
        """Start the process, so that the first move need not wait for it.

        Raises:
            JournalError: that cannot be done.
        """
        try:
            self._begin(yielding=True)
        except OSError as fault:
            raise JournalError(f"the process that moves the journal's log cannot be started ({fault})") from fault

    def move(self, path: Path) -> int:
        """Move the log of a journal into its file, sync both, and return the log's bytes; see `file.move_log`.

        Raises:
            JournalError: the disk is full or reports an error, or the process cannot be started or has ended.
        """
        self.start()
        try:
            told = self._ask(path, self._patience)
            if told is None:
                self.close()
                self._begin(yielding=False)
                told = self._ask(path, None)
                self.close()
        except OSError as fault:
            self.close()
            raise JournalError(f"journal {path}: the process that moves its log failed ({fault})") from fault
        found = json.loads(told or b"{}")
        if "bytes" not in found:
            self.close()
            raise JournalError(str(found.get("fault", f"journal {path}: the process that moves its log ended")))
        return int(found["bytes"])

    def close(self) -> None:
        """End the process; a log that it is about to move is moved by the next one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _begin(self, *, yielding: bool) -> None:
        if self._process is None:
            self._there = False
            self._process = _started(yielding=yielding)

    def _ask(self, path: Path, patience: float | None) -> bytes | None:
        """Return what the process says of a journal: a line, or nothing where it has ended; None if it takes too long.

        Raises:
            OSError: it has ended before.
        """
        process = self._process
        if process is None or process.stdin is None:
            raise OSError("it is not there")
        if not self._there and self._answer(patience) is None:
            return None
        self._there = True
        process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
        return self._answer(patience)

    def _answer(self, patience: float | None) -> bytes | None:
        process = self._process
        if process is None or process.stdout is None:
            raise OSError("it is not there")
        ready, _, _ = select.select([process.stdout], [], [], patience)
        return process.stdout.readline() if ready else None


def _started(*, yielding: bool) -> subprocess.Popen[bytes]:
    """Return a process that waits for the paths of journals, and yields to everybody, or to most."""
    command = [sys.executable, "-m", "slidr.journal.moving"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)  # noqa: S603 our own module
    # From its first moment on: to import what it needs takes longer than to move a log.
    with suppress(OSError):  # a system that refuses both: it takes its share
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICEST if yielding else _NICE)
        if yielding and sys.platform == "linux":
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    return process


def main() -> None:
    """Say that it is there, and move the log of each journal whose path is a line of what comes in, until none can."""
    # Whoever ends the service ends this by closing the pipe; a signal to the group is not meant for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _tell({})
    for line in sys.stdin.buffer:
        try:
            _tell({"bytes": move_log(Path(json.loads(line)))})
        except JournalError as fault:
            _tell({"fault": str(fault)})


def _tell(told: dict[str, int | str]) -> None:
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
