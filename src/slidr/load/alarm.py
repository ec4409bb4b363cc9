"""Alarm: an event loop that is called at a time, to some hundredths of a millisecond, and sleeps until then.

The timers of uvloop are a millisecond coarse. A generator that waits for the rest awake keeps its core busy all the
time, and on a machine whose two cores are one with two threads that slows the service down which it measures.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

_NEAR = 0.002  # seconds: what is nearer is waited for awake where the system has no timer that can be polled
_MONOTONIC = 1  # the clock that time.perf_counter reads
_ABSOLUTE = 1
_NANOSECONDS = 1_000_000_000


class _Moment(ctypes.Structure):
    """Two timespecs of Linux: interval and value."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """Calls back once at a time that is set.

    Args:
        loop: calls back.
        ring: what is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._at = 0.0  # where 0, no time is set
        self._moment = _Moment()
        self._awaiting: asyncio.Handle | None = None
        self._timer = self._settime = None
        if sys.platform == "linux":
            system = ctypes.CDLL(None, use_errno=True)
            timer = system.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            if timer >= 0:
                self._timer, self._settime = timer, system.timerfd_settime
                self._address = ctypes.byref(self._moment)
                loop.add_reader(timer, self._wake)

    def set(self, at: float) -> None:
        """Call back at a time of `time.perf_counter`, instead of the time that was set before."""
        if at == self._at:
            return
        self._at = at
        if self._settime is not None:
            nanoseconds = int(at * _NANOSECONDS)
            self._moment.seconds, self._moment.nanoseconds = divmod(nanoseconds, _NANOSECONDS)
            self._settime(self._timer, _ABSOLUTE, self._address, None)
        else:
            if self._awaiting is not None:
                self._awaiting.cancel()
            self._await()

    def _await(self) -> None:
        ahead = self._at - time.perf_counter()
        if ahead > _NEAR:
            self._awaiting = self._loop.call_later(ahead - _NEAR, self._await)
        else:
            self._awaiting = self._loop.call_soon(self._wake if ahead <= 0 else self._await)

    def _wake(self) -> None:
        if self._timer is not None:
            try:
                os.read(self._timer, 8)
            except BlockingIOError:
                return  # It was set anew after it had gone off.
        at, self._at = self._at, 0.0
        if at:
            self._ring()

    def close(self) -> None:
        """Give the timer back."""
        if self._timer is not None:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = self._settime = None
