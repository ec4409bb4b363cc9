"""The clicks of people: visits in a human rhythm, from homes, offices and phones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.plan import Day
from slidr.simulate.population import draw_visit_sizes
from slidr.simulate.rhythm import DEVICES, VOLUME, local_hours, visit_starts
from slidr.simulate.world import World

_GAP = (25.0, 1.1)
_PREFERRED_DEVICE = 0.8
_LOGGED_IN_SHARES = np.array([0.5, 0.4, 0.9, 0.45])
_KNOWN_BY_COOKIE = 0.72
_AT_HOME = 0.55
_OFFICE_HOURS = (8.0, 18.0)
_SATURDAY = 5


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks that people make on a day."""
    people = world.people
    visits = generator.poisson(people.visits * day.thinness * VOLUME[people.region, day.weekday])
    visitor = np.repeat(np.arange(len(people)), visits)
    device = _draw_devices(people.device[visitor], generator)
    region = people.region[visitor]
    starts = visit_starts(device, region, day, generator)
    logged_in = people.account[visitor] & (generator.random(len(visitor)) < _LOGGED_IN_SHARES[device])
    known = logged_in | (generator.random(len(visitor)) < _KNOWN_BY_COOKIE)
    address = _draw_addresses(world, visitor, device, local_hours(starts, region, day), day, generator)
    agent = people.agents[visitor, device]
    visit, time = space_out(starts, draw_visit_sizes(len(visitor), generator), _GAP, generator)
    return ClickColumns(
        time=time,
        user=np.where(known, visitor, NOBODY)[visit],
        session=visit,
        address=address[visit],
        agent=agent[visit],
        device=device[visit],
        region=region[visit],
        logged_in=logged_in[visit],
        campaign=world.market.draw(len(visit), generator),
        person=visitor[visit],
    )


def _draw_devices(preferred: NDArray[np.int8], generator: np.random.Generator) -> NDArray[np.int8]:
    """Draw the device of each visit: mostly the preferred one."""
    other = (preferred + generator.integers(1, len(DEVICES), len(preferred), dtype=np.int8)) % len(DEVICES)
    return np.where(generator.random(len(preferred)) < _PREFERRED_DEVICE, preferred, other).astype(np.int8)


def _draw_addresses(
    world: World,
    visitor: NDArray[np.int64],
    device: NDArray[np.int8],
    hour: NDArray[np.float64],
    day: Day,
    generator: np.random.Generator,
) -> NDArray[np.uint64]:
    """Return where each visit comes from: the office in its hours, a phone on the road, otherwise the home."""
    people, addresses = world.people, world.addresses
    pool = generator.integers(0, addresses.carriers.shape[1], len(visitor))
    on_the_road = (device != DEVICES.index("desktop")) & (generator.random(len(visitor)) >= _AT_HOME)
    opening, closing = _OFFICE_HOURS
    gateway = people.gateway[visitor]
    at_work = (gateway != NOBODY) & (hour >= opening) & (hour < closing) & (day.weekday < _SATURDAY)
    return np.select(
        [on_the_road, at_work],
        [addresses.carriers[people.carrier[visitor], pool], addresses.gateways[gateway]],
        addresses.homes[people.home[visitor]],
    )
