"""What people buy: after a click, or without one."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from slidr.clock import DAY, HOUR, MINUTE
from slidr.simulate.columns import NOBODY, ClickColumns
from slidr.simulate.plan import Day, Phase
from slidr.simulate.population import PEOPLE_SHARE
from slidr.simulate.rhythm import MARKETPLACE_OF_REGION, visit_starts
from slidr.simulate.world import World

CONVERSION = np.array([[0.016, 0.045], [0.0058, 0.024], [0.020, 0.058], [0.011, 0.032]])
"""Share of people's clicks that lead to a purchase, float64[devices, 2]: logged out, logged in; ten times apart."""

MARKETPLACE_CONVERSION = np.array([1.0, 0.8, 0.6])
"""Factor of the conversion in each marketplace."""

_MEAN_CONVERSION = 0.0205
_WITHOUT_CLICK = 0.35
_ATTRIBUTED_SHARE = 0.6
_LARGEST_CONVERSION = 0.5
_MEDIAN_DELAY = 20 * MINUTE
_DELAY_DEVIATION = 1.5
_LONGEST_DELAY = DAY - HOUR
_MEDIAN_VALUE = 32_000_000
_VALUE_DEVIATION = 0.7
_CENT = 10_000


@dataclass(frozen=True)
class PurchaseColumns:
    """Purchases in any order; all arrays are of one length.

    Attributes:
        number: unique over the whole simulation.
        time: microseconds UTC.
        user: number of the account or cookie, NOBODY where the buyer is a guest.
        click: number of the click it is attributed to; meaningless where not attributed.
        attributed: whether it is attributed to a click.
        value: micros.
    """

    number: NDArray[np.uint64]
    time: NDArray[np.int64]
    user: NDArray[np.int64]
    click: NDArray[np.uint64]
    attributed: NDArray[np.bool_]
    value: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of purchases."""
        return len(self.time)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> PurchaseColumns:
        """Return the purchases of these rows, or those where a mask is true."""
        return PurchaseColumns(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __add__(self, other: PurchaseColumns) -> PurchaseColumns:
        """Return these purchases followed by others."""
        return PurchaseColumns(
            *(np.concatenate([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self))
        )


def conversions(
    world: World,
    day: Day,
    first: int,
    clicks: ClickColumns,
    robots_buy: float,
    numbers: NDArray[np.uint64],
    generator: np.random.Generator,
) -> PurchaseColumns:
    """Draw the purchases that clicks of a day lead to, minutes to hours later, some on the next day.

    Args:
        world: the world.
        day: the day of the clicks.
        first: purchases of the day that are numbered already.
        clicks: clicks of the day, people's or one robot family's.
        robots_buy: chance that a click leads to a purchase although no person made it.
        numbers: the number that each click's id is made of, uint64[n].
        generator: source of randomness.
    """
    people = world.people
    human = clicks.person != NOBODY
    person = np.where(human, clicks.person, 0)
    base = CONVERSION[clicks.device, clicks.logged_in.astype(np.int64)]
    base *= MARKETPLACE_CONVERSION[MARKETPLACE_OF_REGION[clicks.region]]
    chance = np.where(human, base * people.propensity[person], robots_buy)
    rows = np.flatnonzero(generator.random(len(clicks)) < np.minimum(chance, _LARGEST_CONVERSION))
    person, human = person[rows], human[rows]
    delay = _MEDIAN_DELAY * np.exp(_DELAY_DEVIATION * generator.standard_normal(len(rows)))
    delay = np.where(delay < _LONGEST_DELAY, delay, generator.uniform(0, _LONGEST_DELAY, len(rows)))
    # People are known by their account even where the click was not; a robot by what it clicked with.
    known = (human & people.account[person]) | (clicks.user[rows] != NOBODY)
    return PurchaseColumns(
        number=_numbers(day, first, len(rows)),
        time=clicks.time[rows] + MINUTE + delay.astype(np.int64),
        user=np.where(known, np.where(human, person, clicks.user[rows]), NOBODY),
        click=numbers[rows],
        attributed=~known | (generator.random(len(rows)) < _ATTRIBUTED_SHARE),
        value=_draw_values(np.where(human, people.spending[person], 1.0), generator),
    )


def unprompted(world: World, day: Day, first: int, generator: np.random.Generator) -> PurchaseColumns:
    """Draw the purchases of a day that no click in the log led to.

    Some people just buy. On a burn-in day so do those whose clicks are left out, which keeps purchases full; on a
    settle day they do not, since their purchases would be taken for those of the day before's clicks.

    Args:
        world: the world.
        day: the day.
        first: purchases of the day that are numbered already.
        generator: source of randomness.
    """
    people = world.people
    from_clicks = PEOPLE_SHARE * world.plan.daily_clicks * _MEAN_CONVERSION
    left_out = 1.0 - day.thinness if day.phase is Phase.BURN_IN else 0.0
    size = int(generator.poisson(from_clicks * (_WITHOUT_CLICK + left_out)))
    likelihood = np.cumsum(people.visits * people.propensity * CONVERSION.mean(axis=1)[people.device])
    person = np.searchsorted(likelihood, likelihood[-1] * generator.random(size), side="right")
    return PurchaseColumns(
        number=_numbers(day, first, size),
        time=visit_starts(people.device[person], people.region[person], day, generator),
        user=person.astype(np.int64),
        click=np.zeros(size, dtype=np.uint64),
        attributed=np.zeros(size, dtype=np.bool_),
        value=_draw_values(people.spending[person], generator),
    )


def _numbers(day: Day, first: int, size: int) -> NDArray[np.uint64]:
    return np.uint64(day.index << 32) + np.arange(first, first + size, dtype=np.uint64)


def _draw_values(spending: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    value = _MEDIAN_VALUE * np.exp(_VALUE_DEVIATION * generator.standard_normal(len(spending)))
    cents = np.maximum(np.rint(value * spending / _CENT), 1)
    return cents.astype(np.int64) * _CENT
