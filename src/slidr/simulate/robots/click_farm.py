"""Click farm: hired hands with shelves of phones, in business hours of one region, from a few addresses.

Real phones, real hands and human gaps; each phone clicks all day long, far more than a person does, and a shelf of
them shares an address as a small office would. A quarter of the phones are logged in. A business, it works
every week alike.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import HOUR
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.identifiers import draw_addresses
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES, OFFSETS, REGIONS
from slidr.simulate.world import World

SHARE = 0.04
"""Share of a counted day's clicks, in the mean over a week."""

SIGNAL = "clicks of one phone all day long, and a shelf of such phones behind one address"
"""What gives it away, or would."""

_CLICKS_PER_PHONE = 45
_CLICKS_PER_VISIT = 8
_PHONES_PER_ADDRESS = 12
_GAP = (16.0, 0.6)
_OPENING, _CLOSING = 9.0, 18.0
_STAFF = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0)
_DAYS_A_WEEK = 5.5
_LOGGED_IN_SHARE = 0.25
_APP_SHARE = 0.4
_TARGETS = 15
_REGION = REGIONS.index("east")


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks of a day's shift; there is none on Sunday."""
    fleet = world.generator("click_farm")
    working_day = SHARE * 7.0 / _DAYS_A_WEEK
    phones = max(1, round(working_day * world.plan.daily_clicks / _CLICKS_PER_PHONE))
    app, mobile = np.int8(DEVICES.index("app")), np.int8(DEVICES.index("mobile"))
    device = np.where(fleet.random(phones) < _APP_SHARE, app, mobile)
    agent = world.agents.draw(device, fleet)
    networks = world.addresses.homes[fleet.integers(0, len(world.addresses.homes), 3)] & ~np.uint64(255)
    shelves = draw_addresses(networks, -(-phones // _PHONES_PER_ADDRESS), 0.0, fleet)
    logged_in = fleet.permutation(phones) < _LOGGED_IN_SHARE * phones
    targets = world.market.draw_targets(_TARGETS, fleet)

    staff = _STAFF[day.weekday] * attack(world, "click_farm", day, steady=True).intensity
    staffed = int(generator.binomial(phones, min(1.0, staff * day.thinness)))
    visits = generator.poisson(_CLICKS_PER_PHONE / _CLICKS_PER_VISIT, staffed)
    phone = np.repeat(generator.permutation(phones)[:staffed], visits)
    opening = day.start + int((_OPENING - OFFSETS[_REGION]) * HOUR)
    starts = opening + generator.integers(0, int((_CLOSING - _OPENING) * HOUR), len(phone))
    sizes = 1 + generator.poisson(_CLICKS_PER_VISIT - 1.0, len(phone))
    visit, time = space_out(starts, sizes, _GAP, generator)
    phone = phone[visit]
    return ClickColumns(
        time=time,
        user=phone,
        session=visit,
        address=shelves[phone // _PHONES_PER_ADDRESS],
        agent=agent[phone],
        device=device[phone],
        region=np.full(len(visit), _REGION, dtype=np.int8),
        logged_in=logged_in[phone],
        campaign=targets[generator.integers(0, _TARGETS, len(visit))],
        person=np.full(len(visit), NOBODY, dtype=np.int64),
    )
