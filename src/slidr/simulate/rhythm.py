"""When people click: hour of day and day of week, by kind of device, in the local time of their region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slidr.clock import HOUR
from slidr.simulate.plan import Day

DEVICES = ("desktop", "mobile", "app", "tablet")
"""Kinds of device; a click's `device` is an index into it until the table is written."""

REGIONS = ("north", "south", "east", "west")
"""Regions of the simulated market; a click's `region` is an index into it."""

MARKETPLACES = ("home", "south", "new")
"""Shops of the simulated retailer; a region buys in one of them."""

MARKETPLACE_OF_REGION = np.array([0, 1, 2, 0], dtype=np.int8)
"""The marketplace of each region, int8[regions]."""

OFFSETS = np.array([1.0, 1.0, 2.0, 0.0])
"""Local time of each region, in hours ahead of UTC."""

VOLUME = np.array(
    [
        [1.03, 1.02, 1.00, 1.00, 0.97, 0.94, 1.04],
        [1.00, 1.00, 1.01, 1.01, 0.98, 0.96, 1.04],
        [1.02, 1.03, 1.03, 1.02, 0.92, 0.93, 1.05],
        [1.05, 1.04, 1.02, 1.01, 0.96, 0.90, 1.02],
    ]
)
"""People's clicks by region and day of the week, Monday first, mean 1: float64[regions, 7]."""

_NIGHT = 0.12
# Height, local hour and width in hours of each bump above the night's level: a working day, then a free one.
_BUMPS: dict[str, tuple[tuple[tuple[float, float, float], ...], tuple[tuple[float, float, float], ...]]] = {
    "desktop": (
        ((1.6, 10.5, 2.0), (1.5, 15.0, 2.4), (1.1, 20.5, 1.8)),
        ((0.8, 11.5, 2.5), (0.8, 16.0, 3.0), (1.3, 20.5, 2.0)),
    ),
    "mobile": (
        ((1.0, 7.8, 1.3), (0.9, 12.7, 1.5), (1.9, 20.5, 2.2)),
        ((1.0, 10.5, 2.2), (1.1, 15.0, 3.0), (1.7, 20.8, 2.2)),
    ),
    "tablet": (
        ((0.5, 8.0, 1.5), (0.6, 13.0, 2.0), (2.3, 20.3, 2.0)),
        ((1.0, 10.5, 2.2), (1.0, 15.5, 2.6), (2.0, 20.3, 2.0)),
    ),
    "app": (
        ((0.8, 8.0, 1.4), (0.8, 13.0, 1.8), (2.1, 21.0, 2.0)),
        ((0.9, 11.0, 2.4), (1.0, 16.0, 3.0), (1.9, 21.0, 2.0)),
    ),
}
_SATURDAY = 5
_MIDNIGHT = 24.0


def intensity(device: str, weekday: int) -> NDArray[np.float64]:
    """Return the share of a day's visits that start in each hour, float64[24], local time.

    >>> evening, night = intensity("app", 0)[[21, 3]]
    >>> bool(evening > 5 * night)
    True
    """
    hours = np.arange(24) + 0.5
    level = np.full(24, _NIGHT)
    for height, centre, width in _BUMPS[device][int(weekday >= _SATURDAY)]:
        distance = np.abs(hours - centre)
        distance = np.minimum(distance, _MIDNIGHT - distance)
        level += height * np.exp(-0.5 * (distance / width) ** 2)
    share: NDArray[np.float64] = level / level.sum()
    return share


def visit_starts(
    device: NDArray[np.int8], region: NDArray[np.int8], day: Day, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw when visits start, in microseconds, within the day, int64[n].

    Args:
        device: index into DEVICES, [n].
        region: index into REGIONS, [n].
        day: the day.
        generator: source of randomness.
    """
    place = generator.random(len(device))
    local = np.empty(len(device))
    for code, name in enumerate(DEVICES):
        cumulative = np.concatenate(([0.0], np.cumsum(intensity(name, day.weekday))))
        chosen = device == code
        local[chosen] = np.interp(place[chosen], cumulative, np.arange(25.0))
    utc = (local - OFFSETS[region]) % _MIDNIGHT
    starts: NDArray[np.int64] = day.start + (utc * HOUR).astype(np.int64)
    return starts


def local_hours(time: NDArray[np.int64], region: NDArray[np.int8], day: Day) -> NDArray[np.float64]:
    """Return the local hour of day of times within a day, float64[n] in [0, 24)."""
    local: NDArray[np.float64] = ((time - day.start) / HOUR + OFFSETS[region]) % _MIDNIGHT
    return local
