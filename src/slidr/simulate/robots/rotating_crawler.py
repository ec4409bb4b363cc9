"""Rotating crawler: opens a new session every one to three clicks, so that no session or cookie ever looks busy.

Only the address ties its clicks together: a small set of machines, half in data centres and half behind addresses of
homes (residential proxies), at work around the clock. User agents change with the session. It comes in campaigns, and
every three days of one it moves to new addresses.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import DAY
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.identifiers import draw_addresses
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES, REGIONS
from slidr.simulate.world import World

SHARE = 0.045
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "sessions and user agents behind one address, around the clock"
"""What gives it away, or would."""

_CLICKS_PER_MACHINE = 110
_DAYS_ON_AN_ADDRESS = 3
_LARGEST_SESSION = 3
_GAP = (6.0, 0.6)
_HOSTED_SHARE = 0.5
_HAS_COOKIE = 0.55
_DEVICE_SHARES = (0.7, 0.3, 0.0, 0.0)


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's crawling machines."""
    intensity, age = attack(world, "rotating_crawler", day)
    moved = day.index - age % _DAYS_ON_AN_ADDRESS
    fleet = world.generator(f"rotating_crawler, moved on day {moved}")
    machines = max(1, round(SHARE * world.plan.daily_clicks / _CLICKS_PER_MACHINE))
    hosted = draw_addresses(world.addresses.hosting, machines, 0.1, fleet)
    proxied = world.addresses.homes[fleet.integers(0, len(world.addresses.homes), machines)]
    address = np.where(fleet.random(machines) < _HOSTED_SHARE, hosted, proxied)
    region = fleet.integers(0, len(REGIONS), machines, dtype=np.int8)

    sessions = round(2 * SHARE * day.clicks * intensity / (1 + _LARGEST_SESSION))
    machine = generator.integers(0, max(1, round(machines * day.thinness)), sessions)
    starts = day.start + generator.integers(0, DAY, sessions)
    device = generator.choice(len(DEVICES), size=sessions, p=_DEVICE_SHARES).astype(np.int8)
    agent = world.agents.draw(device, generator)
    numbers = (day.index << 32) + np.arange(sessions)
    user = np.where(generator.random(sessions) < _HAS_COOKIE, numbers, NOBODY)
    session, time = space_out(starts, generator.integers(1, _LARGEST_SESSION + 1, sessions), _GAP, generator)
    machine = machine[session]
    return ClickColumns(
        time=time,
        user=user[session],
        session=session,
        address=address[machine],
        agent=agent[session],
        device=device[session],
        region=region[machine],
        logged_in=np.zeros(len(session), dtype=np.bool_),
        campaign=world.market.draw(len(session), generator),
        person=np.full(len(session), NOBODY, dtype=np.int64),
    )
