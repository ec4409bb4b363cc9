"""The fold, slow and obvious: every feature from the list of an entity's clicks, as docs/features.md words it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from slidr.clock import HOUR, SECOND
from slidr.features.layout import HOPS


@dataclass
class Entity:
    """What an entity's clicks were, in the order of the fold."""

    horizon: int
    clicks: list[tuple[int, int]] = field(default_factory=list)  # (time, value), late ones with their own time
    latest: int = 0
    gaps: list[float] = field(default_factory=list)
    on_time: list[int] = field(default_factory=list)
    gap: float = 0.0

    def join(self, time: int, value: int = 0) -> int:
        """Add a click and return the entity's now."""
        if self.clicks and time - self.latest > self.horizon:
            self.clicks, self.gaps, self.latest = [], [], 0
        if not self.clicks:
            self.gap = self.horizon / SECOND
        else:
            self.gap = max(time - self.latest, 0) / SECOND
            if time >= self.latest:
                self.gaps.append(self.gap)
        self.clicks.append((time, value))
        self.latest = max(self.latest, time)
        return self.latest

    def exact(self, window: int) -> int:
        """Clicks with time in (now - window, now]."""
        return sum(self.latest - window < time for time, _ in self.clicks)

    def hops(self, window: int) -> int:
        """Clicks in the newest HOPS hops of the window's grid: what a ring must count, late ones excepted."""
        hop = window // HOPS
        return sum(self.latest // hop - time // hop < HOPS for time, _ in self.clicks)

    def rate(self, half_life: int) -> float:
        """Decayed clicks an hour."""
        weights: list[float] = [2.0 ** (-(self.latest - time) / half_life) for time, _ in self.clicks]
        return math.log(2) / (half_life / HOUR) * sum(weights)

    def distinct(self, window: int, unit: int) -> int:
        """Distinct values whose last sight lies in the newest units of the window."""
        seen: dict[int, int] = {}
        for time, value in self.clicks:
            if value:
                seen[value] = max(seen.get(value, 0), time)
        return sum(self.latest // unit - time // unit < window // unit for time in seen.values())
