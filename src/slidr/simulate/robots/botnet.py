"""Botnet: infected machines in people's homes, each clicking a few times a day at nearly a person's pace.

Quiet and steady. A machine shares its address with the household it stands in, keeps its cookie for good, is
sometimes logged in as its owner's household would be, and keeps half of a person's rhythm. What gives it away in the
mean is a flatter day, shorter gaps and a taste for few campaigns; a single click of it looks like a person's.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import DAY
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES, visit_starts
from slidr.simulate.world import World

SHARE = 0.04
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "a flatter day and few campaigns in the mean; a single machine would need its history over weeks"
"""What gives it away, or would."""

_CLICKS_PER_MACHINE = 7.5
_VISITS_PER_MACHINE = 3.0
_AWAKE = 0.5
_GAP = (18.0, 0.9)
_KEEPS_RHYTHM = 0.5
_LOGGED_IN_SHARE = 0.06
_DEVICE_SHARES = (0.6, 0.25, 0.15, 0.0)
_TARGETS = 24
_AT_TARGETS = 0.6


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's waking machines."""
    fleet = world.generator("botnet")
    machines = max(1, round(SHARE * world.plan.daily_clicks / _CLICKS_PER_MACHINE / _AWAKE))
    home = fleet.integers(0, len(world.addresses.homes), machines)
    device = fleet.choice(len(DEVICES), size=machines, p=_DEVICE_SHARES).astype(np.int8)
    agent = world.agents.draw(device, fleet)
    logged_in = fleet.random(machines) < _LOGGED_IN_SHARE
    targets = world.market.draw_targets(_TARGETS, fleet)

    at_work = _AWAKE * day.thinness * attack(world, "botnet", day, steady=True).intensity
    awake = np.flatnonzero(generator.random(machines) < at_work)
    machine = np.repeat(awake, generator.poisson(_VISITS_PER_MACHINE, len(awake)))
    region = world.addresses.home_region[home[machine]]
    starts = np.where(
        generator.random(len(machine)) < _KEEPS_RHYTHM,
        visit_starts(device[machine], region, day, generator),
        day.start + generator.integers(0, DAY, len(machine)),
    )
    # One click and more, so that a machine makes 7.5 clicks a day in the mean.
    sizes = 1 + generator.poisson(_CLICKS_PER_MACHINE / _VISITS_PER_MACHINE - 1.0, len(machine))
    visit, time = space_out(starts, sizes, _GAP, generator)
    machine, at_target = machine[visit], generator.random(len(visit)) < _AT_TARGETS
    aimed = targets[generator.integers(0, _TARGETS, len(visit))]
    return ClickColumns(
        time=time,
        user=machine,
        session=visit,
        address=world.addresses.homes[home[machine]],
        agent=agent[machine],
        device=device[machine],
        region=region[visit],
        logged_in=logged_in[machine],
        campaign=np.where(at_target, aimed, world.market.draw(len(visit), generator)),
        person=np.full(len(visit), NOBODY, dtype=np.int64),
    )
