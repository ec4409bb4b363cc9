"""The people of the world, and the addresses that they and the robots click from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidr.simulate.columns import NOBODY
from slidr.simulate.identifiers import draw_addresses, draw_networks
from slidr.simulate.plan import Plan
from slidr.simulate.rhythm import DEVICES, REGIONS
from slidr.simulate.user_agents import UserAgents

PEOPLE_SHARE = 0.715
"""Share of a plan's clicks that people make; the robot families add theirs."""

_PEOPLE_PER_DAILY_CLICK = 2.2
_LEAST_PEOPLE = 500
_REGION_SHARES = (0.35, 0.25, 0.22, 0.18)
_DEVICE_SHARES = (0.38, 0.34, 0.20, 0.08)
_HOUSEHOLD_SHARES = (0.36, 0.32, 0.14, 0.12, 0.06)
_ACCOUNT_SHARES = np.array([0.66, 0.62, 0.95, 0.64])
_OFFICE_SHARE = 0.2
_OFFICE_DESKTOP = 0.4
_PEOPLE_PER_GATEWAY = 5_000
_CARRIERS = 4
_PEOPLE_PER_CARRIER_ADDRESS = 250
_ACTIVITY_TAIL = 1.2
_ACTIVITY_CAP = 150.0
# Who clicks twice as often as others buys a third less often per click, and so on.
_CLICKERS_BUY = -0.6
_SHOPPER_SHARE = 0.03
_SHOPPERS_BUY = 5.0
_SHOPPERS_SPEND = 2.0
_ADDRESSES_PER_NETWORK = 24
_HOSTING_NETWORKS = 12

_VISIT_SIZE_CAP = 40
_SIZES = np.arange(1, _VISIT_SIZE_CAP + 1)
_SIZE_SHARES = _SIZES**-2.0 / (_SIZES**-2.0).sum()
MEAN_VISIT = float((_SIZES * _SIZE_SHARES).sum())
"""Mean clicks of a person's visit."""


def draw_visit_sizes(size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw how many clicks visits have, Zipf with exponent 2 up to 40, int64[size]."""
    return 1 + np.searchsorted(np.cumsum(_SIZE_SHARES)[:-1], generator.random(size), side="right").astype(np.int64)


@dataclass(frozen=True)
class Addresses:
    """IP addresses as `slidr.simulate.identifiers` writes them.

    Attributes:
        homes: one address a household, uint64[households].
        home_region: index into REGIONS, int8[households].
        gateways: offices with thousands of people behind each, uint64[gateways].
        carriers: addresses that each mobile carrier shares out, uint64[carriers, addresses].
        hosting: networks of data centres, uint64[networks].
    """

    homes: NDArray[np.uint64]
    home_region: NDArray[np.int8]
    gateways: NDArray[np.uint64]
    carriers: NDArray[np.uint64]
    hosting: NDArray[np.uint64]


@dataclass(frozen=True)
class People:
    """Everybody who may click or buy; arrays of one length, a person's number is the row.

    Attributes:
        visits: mean visits on a counted day.
        propensity: how readily the person buys after a click, mean 1 over clicks: heavy clickers buy less per click,
            and a few heavy shoppers much more.
        spending: size of the person's purchases, median 1, twice that of heavy shoppers.
        account: whether the person has an account to log in to.
        device: kind of device preferred, index into DEVICES.
        agents: user agent on each kind of device, int32[people, devices].
        home: index into the addresses of homes.
        region: index into REGIONS.
        gateway: index into the gateways, NOBODY for people who work elsewhere.
        carrier: index into the mobile carriers.
    """

    visits: NDArray[np.float64]
    propensity: NDArray[np.float64]
    spending: NDArray[np.float64]
    account: NDArray[np.bool_]
    device: NDArray[np.int8]
    agents: NDArray[np.int32]
    home: NDArray[np.int64]
    region: NDArray[np.int8]
    gateway: NDArray[np.int64]
    carrier: NDArray[np.int8]

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.visits)


def settle_people(plan: Plan, agents: UserAgents, generator: np.random.Generator) -> tuple[People, Addresses]:
    """Draw the people of a world and the addresses they click from."""
    size = max(_LEAST_PEOPLE, round(_PEOPLE_PER_DAILY_CLICK * plan.daily_clicks))
    home = _share_homes(size, generator)
    addresses = _draw_places(size, int(home[-1]) + 1, generator)
    device = generator.choice(len(DEVICES), size=size, p=_DEVICE_SHARES).astype(np.int8)
    in_office = generator.random(size) < _OFFICE_SHARE
    device[in_office & (generator.random(size) < _OFFICE_DESKTOP)] = DEVICES.index("desktop")
    activity = np.minimum(1.0 + generator.pareto(_ACTIVITY_TAIL, size), _ACTIVITY_CAP)
    visits = PEOPLE_SHARE * plan.daily_clicks / MEAN_VISIT * activity / activity.sum()
    gateways = len(addresses.gateways)
    gateway_share = 1.0 / np.arange(2, gateways + 2)
    gateway = generator.choice(gateways, size=size, p=gateway_share / gateway_share.sum())
    shopper = generator.random(size) < _SHOPPER_SHARE
    propensity = np.exp(generator.standard_normal(size) - 0.5) * activity**_CLICKERS_BUY
    propensity *= np.where(shopper, _SHOPPERS_BUY, 1.0)
    # Mean 1 over clicks, which is what a slice's conversion is of.
    propensity *= visits.sum() / (propensity * visits).sum()
    every_device = np.repeat(np.arange(len(DEVICES), dtype=np.int8), size)
    people = People(
        visits=visits,
        propensity=propensity,
        spending=np.exp(0.5 * generator.standard_normal(size)) * np.where(shopper, _SHOPPERS_SPEND, 1.0),
        account=generator.random(size) < _ACCOUNT_SHARES[device],
        device=device,
        agents=agents.draw(every_device, generator).reshape(len(DEVICES), size).T,
        home=home,
        region=addresses.home_region[home],
        gateway=np.where(in_office, gateway, NOBODY),
        carrier=generator.integers(0, _CARRIERS, size, dtype=np.int8),
    )
    return people, addresses


def _share_homes(people: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the household of each person, int64[people]; households have one to five people."""
    sizes = 1 + generator.choice(len(_HOUSEHOLD_SHARES), size=people, p=_HOUSEHOLD_SHARES)
    homes: NDArray[np.int64] = np.repeat(np.arange(people), sizes)[:people]
    return homes


def _draw_places(people: int, homes: int, generator: np.random.Generator) -> Addresses:
    networks = draw_networks(generator, max(1, homes // _ADDRESSES_PER_NETWORK))
    gateways = max(1, round(_OFFICE_SHARE * people / _PEOPLE_PER_GATEWAY))
    carrier_size = max(2, people // (_CARRIERS * _PEOPLE_PER_CARRIER_ADDRESS))
    carrier_networks = draw_networks(generator, max(1, carrier_size // 8))
    return Addresses(
        homes=draw_addresses(networks, homes, 0.1, generator),
        home_region=generator.choice(len(REGIONS), size=homes, p=_REGION_SHARES).astype(np.int8),
        gateways=draw_addresses(draw_networks(generator, gateways), gateways, 0.0, generator),
        carriers=draw_addresses(carrier_networks, _CARRIERS * carrier_size, 0.2, generator).reshape(_CARRIERS, -1),
        hosting=draw_networks(generator, _HOSTING_NETWORKS),
    )
