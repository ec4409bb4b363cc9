"""Headless browser: real browsers without a screen in data centres, loading page after page in sessions of a scraper.

It runs scripts, keeps cookies for a session and looks like a desktop browser, from addresses of hosting companies. It
comes in campaigns and slows down over one, from a click every four seconds to one every twelve. Less frequent than a
crawler without a browser, because browsers cost far more computing.
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

SHARE = 0.03
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "long quick sessions around the clock; a list of data centres knows its addresses"
"""What gives it away, or would."""

_CLICKS_PER_SESSION = 18
_SESSIONS_PER_ADDRESS = 40
_GAP, _SPREAD, _SLOWER_EACH_DAY, _SLOWEST = 4.0, 0.5, 2.0, 12.0


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's sessions."""
    intensity, age = attack(world, "headless", day)
    sessions = round(SHARE * day.clicks * intensity / _CLICKS_PER_SESSION)
    addresses = draw_addresses(world.addresses.hosting, max(1, sessions // _SESSIONS_PER_ADDRESS), 0.2, generator)
    device = np.full(sessions, DEVICES.index("desktop"), dtype=np.int8)
    agent = world.agents.draw(device, generator)
    region = generator.integers(0, len(REGIONS), sessions, dtype=np.int8)
    address = addresses[generator.integers(0, len(addresses), sessions)]
    starts = day.start + generator.integers(0, DAY, sessions)
    gap = (min(_SLOWEST, _GAP + _SLOWER_EACH_DAY * age), _SPREAD)
    session, time = space_out(starts, 1 + generator.poisson(_CLICKS_PER_SESSION - 1.0, sessions), gap, generator)
    return ClickColumns(
        time=time,
        user=((day.index << 32) + session),
        session=session,
        address=address[session],
        agent=agent[session],
        device=device[session],
        region=region[session],
        logged_in=np.zeros(len(session), dtype=np.bool_),
        campaign=world.market.draw(len(session), generator),
        person=np.full(len(session), NOBODY, dtype=np.int64),
    )
