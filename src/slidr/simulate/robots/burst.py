"""Burst: one address fires hundreds of clicks at one campaign within minutes, then falls silent.

The loudest family. It comes in campaigns, and its bursts get smaller from day to day, because large ones are noticed.
A burst keeps one user agent; half of the bursts keep one cookie and one session, the others drop their cookie and open
a session for every few clicks. Frequent, because it takes one script on one rented machine.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import DAY, MINUTE
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns
from slidr.simulate.identifiers import draw_addresses
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES, REGIONS
from slidr.simulate.world import World

SHARE = 0.045
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "hundreds of clicks of one address and campaign within minutes"
"""What gives it away, or would."""

_LARGEST_BURST, _SMALLEST_BURST, _SMALLER_EACH_DAY = 900, 300, 150
_SHORTEST, _LONGEST = 4 * MINUTE, 25 * MINUTE
_KEEPS_COOKIE = 0.5
_CLICKS_PER_SESSION = 12


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's bursts."""
    intensity, age = attack(world, "burst", day)
    size = round(SHARE * day.clicks * intensity)
    bursts = max(1, size // max(_SMALLEST_BURST, _LARGEST_BURST - _SMALLER_EACH_DAY * age))
    burst = np.sort(generator.choice(bursts, size=size, p=generator.dirichlet(np.full(bursts, 3.0))))
    length = generator.integers(_SHORTEST, _LONGEST, bursts)
    start = day.start + generator.integers(0, DAY - _LONGEST, bursts)
    time = start[burst] + (length[burst] * generator.random(size)).astype(np.int64)
    sessions = max(1, size // bursts // _CLICKS_PER_SESSION)
    keeps = (generator.random(bursts) < _KEEPS_COOKIE)[burst]
    device = np.full(bursts, DEVICES.index("desktop"), dtype=np.int8)
    address = draw_addresses(world.addresses.hosting, bursts, 0.0, generator)
    return ClickColumns(
        time=time,
        user=np.where(keeps, (day.index << 32) + burst, NOBODY),
        session=burst * sessions + np.where(keeps, 0, generator.integers(0, sessions, size)),
        address=address[burst],
        agent=world.agents.draw(device, generator)[burst],
        device=device[burst],
        region=generator.integers(0, len(REGIONS), bursts, dtype=np.int8)[burst],
        logged_in=np.zeros(size, dtype=np.bool_),
        campaign=world.market.draw_targets(bursts, generator)[burst],
        person=np.full(size, NOBODY, dtype=np.int64),
    )
