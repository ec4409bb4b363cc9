"""Shopper: robots that buy a little, with gift cards or stolen ones, so that their accounts look like customers'.

Accounts made in bulk, logged in from a few addresses of homes, that click more than people and lead to a purchase now
and then: a fifth as often as a person's logged-in click. It works every day alike.
"""

from __future__ import annotations

import numpy as np

from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES, visit_starts
from slidr.simulate.world import World

SHARE = 0.01
"""Share of a counted day's clicks."""

SIGNAL = "many clicks per purchase, and accounts that share addresses and means of payment, which a click log lacks"
"""What gives it away, or would."""

CONVERSION = 0.008
"""Chance that a click of it leads to a purchase."""

_CLICKS_PER_ACCOUNT = 16.0
_CLICKS_PER_VISIT = 4.0
_ACCOUNTS_PER_ADDRESS = 4
_GAP = (20.0, 0.9)
_DEVICE_SHARES = (0.5, 0.4, 0.0, 0.1)


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's accounts."""
    fleet = world.generator("shopper")
    accounts = max(1, round(SHARE * world.plan.daily_clicks / _CLICKS_PER_ACCOUNT))
    homes = fleet.integers(0, len(world.addresses.homes), max(1, accounts // _ACCOUNTS_PER_ADDRESS))
    home = homes[fleet.integers(0, len(homes), accounts)]
    device = fleet.choice(len(DEVICES), size=accounts, p=_DEVICE_SHARES).astype(np.int8)
    agent = world.agents.draw(device, fleet)

    at_work = day.thinness * attack(world, "shopper", day, steady=True).intensity
    visits = generator.poisson(_CLICKS_PER_ACCOUNT / _CLICKS_PER_VISIT * at_work, accounts)
    account = np.repeat(np.arange(accounts), visits)
    region = world.addresses.home_region[home[account]]
    starts = visit_starts(device[account], region, day, generator)
    sizes = 1 + generator.poisson(_CLICKS_PER_VISIT - 1.0, len(account))
    visit, time = space_out(starts, sizes, _GAP, generator)
    account = account[visit]
    return ClickColumns(
        time=time,
        user=account,
        session=visit,
        address=world.addresses.homes[home[account]],
        agent=agent[account],
        device=device[account],
        region=region[visit],
        logged_in=np.ones(len(visit), dtype=np.bool_),
        campaign=world.market.draw(len(visit), generator),
        person=np.full(len(visit), NOBODY, dtype=np.int64),
    )
