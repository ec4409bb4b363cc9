"""Hijacked accounts: passwords stolen from people, who go on clicking and buying themselves.

A thief logs in from an address of his own and clicks a few times in some visits, at his own hours. The account's
history is a person's: its purchases, its RFM score, its clicks from home. It comes in campaigns, and every day of one
it uses other accounts, from other addresses, out of a long list that was stolen once; after three days all of
them are addresses of homes, because data centres are noticed. Small, because lists are bought.
"""

from __future__ import annotations

import numpy as np

from slidr.clock import DAY
from slidr.simulate.attacks import attack
from slidr.simulate.columns import NOBODY, ClickColumns, space_out
from slidr.simulate.identifiers import draw_addresses
from slidr.simulate.plan import Day
from slidr.simulate.rhythm import DEVICES
from slidr.simulate.world import World

SHARE = 0.01
"""Share of a counted day's clicks, in the mean over its campaigns."""

SIGNAL = "the account's clicks come from an address and a device that it never used; a history of devices would show it"
"""What gives it away, or would."""

HIJACKS = True
"""Its users are people's: their numbers are not moved apart."""

_CLICKS_PER_ACCOUNT = 14.0
_CLICKS_PER_VISIT = 5.0
_ACCOUNTS_PER_ADDRESS = 8
_HOSTED_SHARE = 0.4
_WARY_AFTER = 3
_GAP = (12.0, 0.8)
_TARGETS = 30


def clicks(world: World, day: Day, generator: np.random.Generator) -> ClickColumns:
    """Draw the clicks that thieves make on a day."""
    intensity, age = attack(world, "hijacked", day)
    stolen = round(SHARE * day.clicks * intensity / _CLICKS_PER_ACCOUNT)
    owners = np.flatnonzero(world.people.account)
    account = generator.choice(owners, size=min(stolen, len(owners)), replace=False)
    places = max(1, len(account) // _ACCOUNTS_PER_ADDRESS)
    hosted = draw_addresses(world.addresses.hosting, places, 0.1, generator)
    proxied = world.addresses.homes[generator.integers(0, len(world.addresses.homes), places)]
    in_data_centres = _HOSTED_SHARE if age < _WARY_AFTER else 0.0
    address = np.where(generator.random(places) < in_data_centres, hosted, proxied)
    place = generator.integers(0, places, len(account))
    device = np.full(len(account), DEVICES.index("desktop"), dtype=np.int8)
    agent = world.agents.draw(device, generator)
    targets = world.market.draw_targets(_TARGETS, generator)

    victim = np.repeat(
        np.arange(len(account)), generator.poisson(_CLICKS_PER_ACCOUNT / _CLICKS_PER_VISIT, len(account))
    )
    starts = day.start + generator.integers(0, DAY, len(victim))
    sizes = 1 + generator.poisson(_CLICKS_PER_VISIT - 1.0, len(victim))
    visit, time = space_out(starts, sizes, _GAP, generator)
    victim = victim[visit]
    return ClickColumns(
        time=time,
        user=account[victim],
        session=visit,
        address=address[place[victim]],
        agent=agent[victim],
        device=device[victim],
        region=world.people.region[account[victim]],
        logged_in=np.ones(len(visit), dtype=np.bool_),
        campaign=targets[generator.integers(0, _TARGETS, len(visit))],
        person=np.full(len(visit), NOBODY, dtype=np.int64),
    )
