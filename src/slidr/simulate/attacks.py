"""Attacks: when the robots of a family are at work, and for how long they have been.

Most families come in campaigns: they start small, grow while nobody stops them, end, and come back. A family draws its
calendar from its own generator, the same on every day, so that any day can be drawn alone.
"""

from __future__ import annotations

from typing import NamedTuple

from slidr.simulate.plan import Day
from slidr.simulate.world import World

_SHORTEST, _LONGEST = 6, 12
_AT_WORK = 0.85
_GROWTH = 0.6


class Attack(NamedTuple):
    """A family on a day.

    Attributes:
        intensity: its clicks as a multiple of those that it has in the mean; 0 on a day off.
        age: days since its campaign began, from 0; robots adapt as it grows.
    """

    intensity: float
    age: int


def attack(world: World, family: str, day: Day, *, steady: bool = False) -> Attack:
    """Return what a family does on a day.

    A cycle lasts six to twelve days, one or two of them off. The intensity rises over a campaign from 0.7 to
    1.3 of its mean. A steady family never rests, and its age is counted from the first day of its first cycle. The
    plan's newcomer does nothing before the day on which it comes, when its first campaign begins.

    Args:
        world: the world.
        family: name of the family.
        day: the day.
        steady: whether it works every day alike.
    """
    calendar = world.generator(f"calendar of {family}")
    cycle = int(calendar.integers(_SHORTEST, _LONGEST + 1))
    since = day.index + int(calendar.integers(0, cycle))
    if family == world.plan.newcomer:
        since = day.index - world.plan.newcomer_day
        if since < 0:
            return Attack(0.0, 0)
    if steady:
        return Attack(1.0, since)
    working, age = round(_AT_WORK * cycle), since % cycle
    if age >= working:
        return Attack(0.0, age)
    growth = _GROWTH * (age / (working - 1) - 0.5)
    return Attack((1 + growth) * cycle / working, age)
