"""Clockwork: a crawler that clicks every so many seconds, almost exactly, for hours, in one session.

Its counts stay below a burst's; its regular gaps give it away. Over a campaign it learns to stray: gaps vary by 2 % at
first, and by 10 % after four days. One machine in ten says what it is in its user agent,
so that list rules have something to find.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import DAY, HOUR
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.identifiers import draw_addresses
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES, REGIONS
from slidr.simulate.world import World

SHARE = 0.04
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "gaps of one length, to a few percent, for hours"
"""What gives it away, or would."""

_CLICKS_PER_RUN = (60, 240)
_SHORTEST_PERIOD, _LONGEST_PERIOD = 15.0, 90.0
_JITTER, _MORE_EACH_DAY, _MOST_JITTER = 0.02, 0.02, 0.1
_DECLARED_SHARE = 0.1
_HOSTED_SHARE = 0.7
_LOGGED_IN_SHARE = 0.01
_DEVICE_SHARES = (0.6, 0.25, 0.15, 0.0)


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's runs, each by a machine of its own."""
    intensity, age = attack(world, "clockwork", day)
    expected = 2 * SHARE * day.clicks * intensity / sum(_CLICKS_PER_RUN)
    # Rounded up or down by chance: a thin day may expect less than one run.
    runs = int(expected + generator.random())
    device = generator.choice(len(DEVICES), size=runs, p=_DEVICE_SHARES).astype(np.int8)
    declared = (generator.random(runs) < _DECLARED_SHARE) & (device == DEVICES.index("desktop"))
    agent = np.where(declared, world.agents.declared(runs, generator), world.agents.draw(device, generator))
    hosted = draw_addresses(world.addresses.hosting, runs, 0.1, generator)
    homes = world.addresses.homes[generator.integers(0, len(world.addresses.homes), runs)]
    address = np.where((device == DEVICES.index("desktop")) & (generator.random(runs) < _HOSTED_SHARE), hosted, homes)
    region = generator.integers(0, len(REGIONS), runs, dtype=np.int8)
    logged_in = ~declared & (generator.random(runs) < _LOGGED_IN_SHARE)

    period = generator.uniform(_SHORTEST_PERIOD, _LONGEST_PERIOD, runs)
    sizes = generator.integers(_CLICKS_PER_RUN[0], _CLICKS_PER_RUN[1] + 1, runs)
    # The longest run takes six hours: all of them end before midnight.
    starts = day.start + generator.integers(0, DAY - 7 * HOUR, runs)
    run, unit = space_out(
        np.zeros(runs, dtype=np.int64), sizes, (1.0, min(_MOST_JITTER, _JITTER + _MORE_EACH_DAY * age)), generator
    )
    time = starts[run] + (unit * period[run]).astype(np.int64)
    return ClickColumns(
        time=time,
        user=(day.index << 32) + run,
        session=run,
        address=address[run],
        agent=agent[run],
        device=device[run],
        region=region[run],
        logged_in=logged_in[run],
        campaign=world.market.draw(len(run), generator),
        person=np.full(len(run), NOBODY, dtype=np.int64),
    )
