"""Clicks as columns of numbers, as people and robot families draw them, before ids and text are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from slidr.clock import SECOND

NOBODY = -1
"""Stands where a click has no user, or no person behind it."""


@dataclass(frozen=True)
class ClickColumns:
    """Clicks of one day, in any order; all arrays are of one length.

    Attributes:
        time: microseconds UTC.
        user: number of the account or cookie, NOBODY where there is none.
        session: number of the visit, from 0 up within these columns.
        address: IP address as `slidr.simulate.identifiers` writes it.
        agent: index into the world's user agents.
        device: index into DEVICES.
        region: index into REGIONS.
        logged_in: whether the user was logged in.
        campaign: index into the market's campaigns.
        person: number of the person who clicked and may buy, NOBODY for a robot.
    """

    time: NDArray[np.int64]
    user: NDArray[np.int64]
    session: NDArray[np.int64]
    address: NDArray[np.uint64]
    agent: NDArray[np.int32]
    device: NDArray[np.int8]
    region: NDArray[np.int8]
    logged_in: NDArray[np.bool_]
    campaign: NDArray[np.int32]
    person: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of clicks."""
        return len(self.time)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> ClickColumns:
        """Return the clicks of these rows, or those where a mask is true."""
        return ClickColumns(*(getattr(self, field.name)[rows] for field in fields(self)))


def join(parts: Sequence[ClickColumns]) -> ClickColumns:
    """Join columns one below the other; sessions are numbered on, so that none is shared between parts."""
    firsts = np.cumsum([0] + [int(part.session.max(initial=-1)) + 1 for part in parts])
    joined = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(parts[0])}
    joined["session"] += np.repeat(firsts[:-1], [len(part) for part in parts])
    return ClickColumns(**joined)


def space_out(
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    gap: tuple[float, float],
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spread visits out into clicks with lognormal gaps between them.

    Args:
        starts: time of each visit's first click, int64[visits], microseconds.
        sizes: clicks of each visit, at least one, int64[visits].
        gap: median seconds between two clicks, and the standard deviation of their logarithm.
        generator: source of randomness.

    Returns:
        The visit of each click and its time, both int64[clicks]; each visit's clicks stand in order.
    """
    median, deviation = gap
    visit = np.repeat(np.arange(len(sizes)), sizes)
    gaps = (median * SECOND * np.exp(deviation * generator.standard_normal(len(visit)))).astype(np.int64)
    first = np.cumsum(sizes) - sizes
    gaps[first] = 0
    elapsed = np.cumsum(gaps)
    return visit, starts[visit] + elapsed - elapsed[first][visit]
