"""Timelines: what happens in a drill and when, by its clock and by the machine's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from slidr.clock import SECOND, Clock


class Event(NamedTuple):
    """Something that happens: by the drill's clock, in seconds since it began, and in words."""

    at: str
    seconds: float
    what: str

    def __str__(self) -> str:
        """Return it as it is printed."""
        return f"{self.at}  {self.seconds:6.1f} s  {self.what}"


class Timeline:
    """Events in order."""

    def __init__(self, clock: Clock, told: Callable[[Event], None]) -> None:
        self._clock, self._told, self._begun = clock, told, time.monotonic()

    def tell(self, what: str) -> None:
        """Tell of something that happens now."""
        at = f"{datetime.fromtimestamp(self._clock.now() // SECOND, UTC):%Y-%m-%d %H:%M}"
        self._told(Event(at, round(time.monotonic() - self._begun, 1), what))
