"""Competitor: clicks away the budget of one campaign, from many addresses, a few clicks each, until it is spent.

It works in the hours before the budget of the day is gone, from rented addresses of homes, with a fresh cookie a
visit. Each attack has one campaign as its target, a dear one more often, and after two days it spreads its clicks over
twice as many addresses. Small, because it lasts until one budget is spent.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import HOUR
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES
from slidr.simulate.world import World

SHARE = 0.015
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "one campaign's clicks rise while its conversion falls; counts by campaign and network would show it"
"""What gives it away, or would."""

_CLICKS_PER_ADDRESS = 24
_CLICKS_PER_VISIT = 3.0
_WARY_AFTER = 2
_GAP = (20.0, 0.7)
_FIRST, _LAST = 6, 15
_DEVICE_SHARES = (0.7, 0.3, 0.0, 0.0)


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks against a day's campaign."""
    intensity, age = attack(world, "competitor", day)
    size = SHARE * day.clicks * intensity
    visits = round(size / _CLICKS_PER_VISIT)
    addresses = max(1, round(size / _CLICKS_PER_ADDRESS)) * (2 if age >= _WARY_AFTER else 1)
    # One target a campaign of the attack: the day on which it began names it.
    target = world.generator(f"competitor, begun on day {day.index - age}").choice(
        len(world.market.price), p=world.market.price / world.market.price.sum()
    )
    home = generator.integers(0, len(world.addresses.homes), addresses)
    place = generator.integers(0, addresses, visits)
    device = generator.choice(len(DEVICES), size=visits, p=_DEVICE_SHARES).astype(np.int8)
    agent = world.agents.draw(device, generator)
    starts = day.start + generator.integers(_FIRST * HOUR, _LAST * HOUR, visits)
    visit, time = space_out(starts, 1 + generator.poisson(_CLICKS_PER_VISIT - 1.0, visits), _GAP, generator)
    return ClickColumns(
        time=time,
        user=(day.index << 32) + visit,
        session=visit,
        address=world.addresses.homes[home[place[visit]]],
        agent=agent[visit],
        device=device[visit],
        region=world.addresses.home_region[home[place[visit]]],
        logged_in=np.zeros(len(visit), dtype=np.bool_),
        campaign=np.full(len(visit), target, dtype=np.int32),
        person=np.full(len(visit), NOBODY, dtype=np.int64),
    )
