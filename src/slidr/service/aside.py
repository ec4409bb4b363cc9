"""Aside: a piece of work in a forked process, which has the memory as it was when it began.

A copy of the state would hold up every request for as long as it takes. A fork shares the pages and copies those that
are written to afterwards, as they are; Redis saves its data in the same way.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress

_LOOK = 0.01  # seconds between two looks at whether it is done
_LONGEST = 600.0  # seconds after which it hangs
_NICE = 19
_FAULT_BYTES = 4096
_FILES = 1 << 16


class Aside:
    """Work in a process of its own, begun with this; it can change nothing but files.

    Args:
        work: runs in the other process; nobody there holds a lock, an open file or an event loop.
        yielding: whether it gets the core while nobody else wants it, and not a small share of it.

    Attributes:
        process: the id of the process.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, work: Callable[[], object], *, yielding: bool = True) -> None:
        self._told, telling = os.pipe()
        try:
            with warnings.catch_warnings():
                # Other threads are not there in the child, which calls nothing that they could hold a lock of.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process = os.fork()
        except OSError:
            os.close(self._told)
            raise
        finally:
            if getattr(self, "process", None) != 0:
                os.close(telling)
        if self.process == 0:
            _work(work, telling, yielding=yielding)

    async def done(self, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Wait until the work is done, or is no longer wanted.

        Args:
            wanted: asked every 10 ms; once it says no, the process is killed. To wait for its end would hold up the
                requests for as long as the system takes to give its memory back.

        Returns:
            whether the work was done.

        Raises:
            OSError: it failed, or hangs; the message has the reason.
        """
        left = _LONGEST
        given_up = False
        try:
            while (status := self._status()) is None and left > 0:
                if not given_up and not wanted():
                    given_up = True
                    os.kill(self.process, signal.SIGKILL)
                left -= _LOOK
                await asyncio.sleep(_LOOK)
            told = os.read(self._told, _FAULT_BYTES).decode(errors="replace") if status else ""
        finally:
            os.close(self._told)
            self._end()
        if status is None:
            raise OSError(f"process {self.process} was not done within {_LONGEST:.0f} s")
        if status != 0 and not given_up:
            raise OSError(told or f"process {self.process} ended with status {status}")
        return status == 0

    def _status(self) -> int | None:
        """Return what the process ended with; None while it works."""
        process, status = os.waitpid(self.process, os.WNOHANG)
        return status if process else None

    def _end(self) -> None:
        """Let nothing of the process remain, if it is there still."""
        with suppress(ProcessLookupError, ChildProcessError):
            if self._status() is None:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)


def _work(work: Callable[[], object], telling: int, *, yielding: bool) -> None:
    """Do the work, tell the fault where there is one, and end without whatever the process would do at its end."""
    status = 1
    try:
        gc.disable()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The lock of the journal, the port and the clients' connections are the service's alone.
        os.dup2(telling, 3)
        os.closerange(4, _FILES)
        os.nice(_NICE)
        if yielding and sys.platform == "linux":
            with suppress(OSError):  # a sandbox may forbid it
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        work()
        status = 0
    except BaseException:  # noqa: BLE001 nothing may return into what the other process goes on with
        with suppress(OSError):
            os.write(3, traceback.format_exc(limit=-3).encode()[-_FAULT_BYTES:])
    finally:
        os._exit(status)
