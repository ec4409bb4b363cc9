"""Truth: on simulated traffic, how many robots are caught, how many people are hit, and who is missed.

No log has a truth; whatever is measured here can only be measured on a simulation. It takes the number u that orders
clicks by how robotic they look, a score or what a calibration makes of it, or the marks themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr import extensions
from slidr.errors import LabelError
from slidr.evaluation.results import Caught, FamilyCaught, MissedFamily
from slidr.metrics import Bools, Int64s, hours_of_week
from slidr.simulate.truth import HUMAN

FAMILIES = "slidr.simulate.robots"
MISSED = 0.5
"""Recall under which a family counts as missed."""
_NIGHT = 6


@dataclass(frozen=True, eq=False)
class Truth:
    """Who made each click.

    Attributes:
        family: int32[n], place in `families`; 0 is people.
        families: the names, people first.
    """

    family: NDArray[np.int32]
    families: tuple[str, ...]

    @property
    def robot(self) -> Bools:
        """Whether a robot made the click, bool[n]."""
        return self.family > 0

    def among(self, rows: Bools | Int64s) -> Truth:
        """Return the truth of some clicks, which are those where true, or those at some places."""
        return Truth(self.family[rows], self.families)


def read_truth(table: pa.Table, click_ids: Sequence[str | None]) -> Truth:
    """Return the truth of clicks, in their order.

    Args:
        table: rows of `slidr.simulate.TRUTH` that hold the clicks.
        click_ids: of the clicks.

    Raises:
        LabelError: the truth is that of another log.
    """
    known = dict(zip(table["click_id"].to_pylist(), table["family"].to_pylist(), strict=True))
    named = [known.get(click_id, "") for click_id in click_ids]
    if "" in named:
        raise LabelError(
            f"the truth lacks {named.count('')} of {len(named)} judged clicks; name the one that was written"
            " beside this log"
        )
    families = (HUMAN, *sorted(set(named) - {HUMAN}))
    codes = {name: code for code, name in enumerate(families)}
    return Truth(np.fromiter((codes[name] for name in named), np.int32, len(named)), families)


def catch(marked: Bools, truth: Truth) -> Caught:
    """Return what marks are worth, in all and for every family that made a click.

    >>> found = catch(np.array([True, False, True, False]), Truth(np.int32([1, 1, 0, 0]), (HUMAN, "burst")))
    >>> found.recall, found.precision, found.true_fpr
    (0.5, 0.5, 0.5)
    """
    families = []
    for code, name in enumerate(truth.families):
        mine = truth.family == code
        if code and mine.any():
            families.append(FamilyCaught(name, int(mine.sum()), float(marked[mine].mean())))
    robot = truth.robot
    return Caught(_share(marked, robot), _share(robot, marked), _share(marked, ~robot), tuple(families))


def level_at(u: NDArray[Any], among: Bools, limit: float) -> float:
    """Return the lowest level above which lies at most this share of some clicks.

    Args:
        u: what orders the clicks, any[n].
        among: the clicks that count, bool[n]: purchasing ones for a proxy, people's for the truth.
        limit: share of them, from 0 to below 1.

    >>> level_at(np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, True, True, False]), 0.34)
    2.0
    """
    counted = np.sort(u[among])[::-1]
    return float(counted[int(limit * len(counted))])


def catch_at_true_fpr(u: NDArray[Any], truth: Truth, limit: float) -> Caught:
    """Return what is caught where at most this share of people's clicks is marked: how methods compare in truth."""
    return catch(u > level_at(u, ~truth.robot, limit), truth)


def missed(caught: Caught) -> tuple[MissedFamily, ...]:
    """Return the families of which less than half is caught, the worst first, with the signal that each gives.

    The signal is empty for a family that the simulator does not have.

    >>> found = missed(Caught(0.1, 1.0, 0.0, (FamilyCaught("burst", 9, 0.1), FamilyCaught("mimic", 9, 0.5))))
    >>> [(one.family, one.signal) for one in found]
    [('burst', 'hundreds of clicks of one address and campaign within minutes')]
    """
    known = extensions.names(FAMILIES)
    found = sorted((one for one in caught.families if one.recall < MISSED), key=lambda one: (one.recall, one.family))
    return tuple(
        MissedFamily(
            one.family,
            one.clicks,
            one.recall,
            extensions.load(FAMILIES, one.family).SIGNAL if one.family in known else "",
        )
        for one in found
    )


def sparse_hours(times: Int64s, zone: str) -> Bools:
    """Tell which clicks fall in the six hours of the day that have the fewest clicks: bool[n].

    Args:
        times: int64[n], microseconds since the epoch, UTC.
        zone: time zone whose clock is read.
    """
    hour = hours_of_week(times, zone) % 24
    return np.isin(hour, np.argsort(np.bincount(hour, minlength=24), kind="stable")[:_NIGHT])


def _share(marked: Bools, among: Bools) -> float | None:
    return float(marked[among].mean()) if among.any() else None
