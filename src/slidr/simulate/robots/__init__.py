"""Robot families: one module a family, found by its name.

A family is a module with

- `SHARE`: its share of a counted day's clicks, in the mean over a week;
- `SIGNAL`: in words, what gives it away, or what would if a click log had it;
- `CONVERSION`, where it buys: the chance that a click of it leads to a purchase;
- `HIJACKS`, where its users are people's: true;
- `clicks(world, day, generator) -> ClickColumns`: its clicks of one day, in any order, `person` NOBODY throughout.

What a family keeps from day to day, such as its machines, it draws anew each day from `world.generator(name)`, which
always starts the same. It numbers its users from 0 up; they never become those of people or of another family, unless
it hijacks. `slidr.simulate.attacks` says when it is at work.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np

from slidr import extensions
from slidr.simulate.columns import ClickColumns
from slidr.simulate.plan import Day
from slidr.simulate.world import World


class Family(Protocol):
    """What a module of a robot family has."""

    SHARE: float
    SIGNAL: str

    def clicks(self, world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
        """Draw the family's clicks of a day."""
        ...


def families() -> tuple[str, ...]:
    """Return the names of all robot families, sorted."""
    return extensions.names(__name__)


def load(name: str) -> Family:
    """Return the robot family of this name.

    Raises:
        SettingsError: there is no such family; the nearest is suggested.
    """
    return cast("Family", extensions.load(__name__, name))
