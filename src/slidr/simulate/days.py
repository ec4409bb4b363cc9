"""Days of a simulation: each can be drawn alone, and comes out the same as in sequence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr.errors import SettingsError
from slidr.simulate import people, robots
from slidr.simulate.columns import NOBODY, ClickColumns, join
from slidr.simulate.faults import check_faults, spoil
from slidr.simulate.identifiers import address_text, blank, hexadecimal, mix
from slidr.simulate.plan import Day, Phase, Plan
from slidr.simulate.purchases import PurchaseColumns, conversions, unprompted
from slidr.simulate.rhythm import DEVICES, MARKETPLACE_OF_REGION, MARKETPLACES, REGIONS
from slidr.simulate.truth import HUMAN
from slidr.simulate.world import World, build_world

_TIME = pa.timestamp("us", "UTC")
_CURRENCY = "EUR"
_ROBOT_USERS = np.uint64(1 << 62)
# Headers get lost on the way, whoever sent them.
_LOST_SESSION, _LOST_ADDRESS, _LOST_AGENT = 0.003, 0.002, 0.005


@dataclass(frozen=True)
class SimulatedDay:
    """One day of the log, sorted by time.

    Attributes:
        day: the date, UTC.
        phase: burn-in, counted or settle.
        clicks: columns of `slidr.tables.CLICKS`, and `region` and `marketplace`.
        purchases: columns of `slidr.tables.PURCHASES`.
        truth: columns of `slidr.simulate.TRUTH`, one row a click.
    """

    day: dt.date
    phase: Phase
    clicks: pa.Table
    purchases: pa.Table
    truth: pa.Table


@dataclass(frozen=True)
class _Draw:
    """A day's clicks, sorted, with the numbers their ids are made of, and the purchases they lead to."""

    day: Day
    clicks: ClickColumns
    numbers: NDArray[np.uint64]
    family: NDArray[np.int8]
    conversions: PurchaseColumns


def simulate(plan: Plan, generator: np.random.Generator) -> Iterator[SimulatedDay]:
    """Simulate every day of a plan in order; the same plan and seed give the same bytes.

    Raises:
        SettingsError: a newcomer that is no family, or a fault that hits nothing.

    >>> days = simulate(Plan(clicks=500, days=1, burn_in=0, settle=1), np.random.default_rng(1))
    >>> [day.phase.value for day in days]
    ['counted', 'settle']
    """
    if plan.newcomer:
        robots.load(plan.newcomer)  # refuses a name that no family has
    check_faults(plan, REGIONS)
    world = build_world(plan, generator)
    yield from spoil(_days(world), plan.faults, plan.burn_in, world.generator("faults"))


def _days(world: World) -> Iterator[SimulatedDay]:
    yesterday = None
    for day in world.plan.schedule:
        today = _draw(world, day)
        yield _write(world, today, yesterday)
        yesterday = today


def simulate_day(world: World, index: int) -> SimulatedDay:
    """Simulate one day of the world's plan alone, by its place in the schedule, before anything goes wrong with it.

    The day before is drawn too, because some purchases follow its clicks after midnight.

    Raises:
        SettingsError: the plan has no such day.
    """
    schedule = world.plan.schedule
    if not 0 <= index < len(schedule):
        raise SettingsError(f"day {index} is not in the plan; choose one of 0 to {len(schedule) - 1}")
    yesterday = _draw(world, schedule[index - 1]) if index else None
    return _write(world, _draw(world, schedule[index]), yesterday)


def _draw(world: World, day: Day) -> _Draw:
    parts = [people.clicks(world, day, world.generator(HUMAN, day.index))]
    if day.phase is not Phase.SETTLE:
        parts += [_draw_family(world, day, name) for name in robots.families()]
    family = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts])
    clicks = join(parts)
    # A visit ends at midnight, so that a day never depends on the one before.
    inside = (clicks.time >= day.start) & (clicks.time < day.end)
    clicks, family = clicks.take(inside), family[inside]
    # Numbers are shuffled before anything is ordered by them: neither an id nor the order of ties tells the family.
    shuffled = world.generator("order", day.index).permutation(len(clicks)).astype(np.uint64)
    numbers = mix(np.uint64(day.index << 32) + shuffled, world.salt("click"))
    order = np.lexsort((numbers, clicks.time))
    clicks, numbers, family = clicks.take(order), numbers[order], family[order]
    bought = conversions(
        world, day, 0, clicks.take(family == 0), 0.0, numbers[family == 0], world.generator("conversions", day.index)
    )
    # Each family that buys has a stream of its own: one that is away changes nobody else's purchases.
    for code, name in enumerate(robots.families(), 1):
        if chance := getattr(robots.load(name), "CONVERSION", 0.0):
            rows, stream = family == code, world.generator(f"conversions of {name}", day.index)
            bought += conversions(world, day, len(bought), clicks.take(rows), chance, numbers[rows], stream)
    return _Draw(day, clicks, numbers, family, bought)


def _draw_family(world: World, day: Day, name: str) -> ClickColumns:
    family = robots.load(name)
    clicks = family.clicks(world, day, world.generator(name, day.index))
    if getattr(family, "HIJACKS", False):
        return clicks
    # Each family numbers its users from 0; here they move to numbers that nobody else has.
    apart = mix(clicks.user.astype(np.uint64), world.salt(f"users of {name}")) >> np.uint64(2)
    user = np.where(clicks.user == NOBODY, NOBODY, (apart | _ROBOT_USERS).astype(np.int64))
    return replace(clicks, user=user)


def _write(world: World, today: _Draw, yesterday: _Draw | None) -> SimulatedDay:
    clicks = _write_clicks(world, today)
    families = pa.array([HUMAN, *robots.families()])
    truth = pa.table(
        {
            "click_id": clicks["click_id"],
            "time": clicks["time"],
            "robot": pa.array(today.family != 0),
            "family": families.take(pa.array(today.family)),
        }
    )
    return SimulatedDay(
        day=today.day.date,
        phase=today.day.phase,
        clicks=clicks,
        purchases=_write_purchases(world, today, yesterday),
        truth=truth,
    )


def _write_clicks(world: World, draw: _Draw) -> pa.Table:
    clicks, market = draw.clicks, world.market
    generator = world.generator("lost and costs", draw.day.index)
    lost_session, lost_address, lost_agent = (
        generator.random(len(clicks)) < share for share in (_LOST_SESSION, _LOST_ADDRESS, _LOST_AGENT)
    )
    session = mix(np.uint64(draw.day.index << 32) + clicks.session.astype(np.uint64), world.salt("session"))
    campaign = pa.array(clicks.campaign)
    return pa.table(
        {
            "click_id": hexadecimal(draw.numbers),
            "time": pa.array(clicks.time).cast(_TIME),
            "user": _write_users(world, clicks.user),
            "session": hexadecimal(session, lost_session),
            "ip": blank(address_text(clicks.address), lost_address),
            "user_agent": blank(world.agents.text.take(pa.array(clicks.agent)), lost_agent),
            "device": pa.array(DEVICES).take(pa.array(clicks.device)),
            "logged_in": pa.array(clicks.logged_in),
            "campaign": market.campaign.take(campaign),
            "advertiser": market.advertiser.take(campaign),
            "cost": pa.array(market.costs(clicks.campaign, generator)),
            "currency": market.currency.take(campaign),
            "region": pa.array(REGIONS).take(pa.array(clicks.region)),
            "marketplace": pa.array(MARKETPLACES).take(pa.array(MARKETPLACE_OF_REGION[clicks.region])),
        }
    )


def _write_purchases(world: World, today: _Draw, yesterday: _Draw | None) -> pa.Table:
    bought = today.conversions
    drawn = unprompted(world, today.day, len(bought), world.generator("unprompted", today.day.index))
    late = [yesterday.conversions] if yesterday else []
    purchases = sum([bought, *late], start=drawn)
    purchases = purchases.take((purchases.time >= today.day.start) & (purchases.time < today.day.end))
    purchases = purchases.take(np.lexsort((purchases.number, purchases.time)))
    return pa.table(
        {
            "purchase_id": hexadecimal(mix(purchases.number, world.salt("purchase"))),
            "time": pa.array(purchases.time).cast(_TIME),
            "user": _write_users(world, purchases.user),
            "click_id": hexadecimal(purchases.click, ~purchases.attributed),
            "value": pa.array(purchases.value),
            "currency": pa.repeat(_CURRENCY, len(purchases)),
        }
    )


def _write_users(world: World, user: NDArray[np.int64]) -> pa.Array:
    return hexadecimal(mix(user.astype(np.uint64), world.salt("user")), user == NOBODY)
