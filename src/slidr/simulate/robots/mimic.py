"""Mimic: a botnet that has studied people: their hours, their gaps, their visits, their taste for campaigns.

A machine stands in a household, clicks in visits of the sizes and gaps of people's, at people's hours, on the campaigns
that people click, and is logged in as often as a desktop's owner. Only that it clicks more days than people do, and
never buys, sets it apart. Costly to run, hence small; it works every day alike.
"""

from __future__ import annotations

import numpy as np

from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.plan import Day
from slidr.simulate.population import MEAN_VISIT, draw_visit_sizes
from slidr.simulate.rhythm import DEVICES, VOLUME, visit_starts
from slidr.simulate.world import World

SHARE = 0.01
"""Share of a counted day's clicks."""

SIGNAL = "nothing in a click; over weeks it never buys, so purchases per click of its network and agent would show it"
"""What gives it away, or would."""

_VISITS_PER_MACHINE = 3.0
_GAP = (25.0, 1.1)
_DEVICE_SHARES = (0.45, 0.45, 0.0, 0.1)
_LOGGED_IN_SHARE = 0.3


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's machines."""
    fleet = world.generator("mimic")
    machines = max(1, round(SHARE * world.plan.daily_clicks / (_VISITS_PER_MACHINE * MEAN_VISIT)))
    home = fleet.integers(0, len(world.addresses.homes), machines)
    device = fleet.choice(len(DEVICES), size=machines, p=_DEVICE_SHARES).astype(np.int8)
    agent = world.agents.draw(device, fleet)
    logged_in = fleet.random(machines) < _LOGGED_IN_SHARE

    week = VOLUME[world.addresses.home_region[home], day.weekday]
    at_work = day.thinness * week * attack(world, "mimic", day, steady=True).intensity
    machine = np.repeat(np.arange(machines), generator.poisson(_VISITS_PER_MACHINE * at_work))
    region = world.addresses.home_region[home[machine]]
    starts = visit_starts(device[machine], region, day, generator)
    visit, time = space_out(starts, draw_visit_sizes(len(machine), generator), _GAP, generator)
    machine = machine[visit]
    return ClickColumns(
        time=time,
        user=machine,
        session=visit,
        address=world.addresses.homes[home[machine]],
        agent=agent[machine],
        device=device[machine],
        region=region[visit],
        logged_in=logged_in[machine],
        campaign=world.market.draw(len(visit), generator),
        person=np.full(len(visit), NOBODY, dtype=np.int64),
    )
