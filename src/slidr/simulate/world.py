"""The world of a simulation: its people, addresses, user agents and campaigns, all fixed before the first day."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from slidr.simulate.market import Market, open_market
from slidr.simulate.plan import Plan
from slidr.simulate.population import Addresses, People, settle_people
from slidr.simulate.user_agents import UserAgents, compose


@dataclass(frozen=True)
class World:
    """Everything that does not change from day to day.

    Attributes:
        plan: what is simulated.
        entropy: the seed of every generator of this world.
        people: everybody who may click or buy.
        addresses: IP addresses of people and robots.
        agents: user agents of people and robots.
        market: campaigns and advertisers.
    """

    plan: Plan
    entropy: tuple[int, ...]
    people: People
    addresses: Addresses
    agents: UserAgents
    market: Market

    def generator(self, stream: str, day: int | None = None) -> np.random.Generator:
        """Return a fresh generator for a purpose, on one day, or for what is the same on every day.

        Streams are independent of each other, so any day can be drawn alone, and a robot family that is added
        changes nothing of what others draw.
        """
        return _generator(self.entropy, stream, day)

    def salt(self, kind: str) -> int:
        """Return the number that scrambles one kind of identifier."""
        return int(_generator(self.entropy, f"salt of {kind}", None).integers(0, 1 << 63))


def build_world(plan: Plan, generator: np.random.Generator) -> World:
    """Draw the world of a plan; the same plan and seed give the same world."""
    entropy = tuple(int(word) for word in generator.integers(0, 1 << 32, size=4, dtype=np.uint64))
    agents = compose()
    people, addresses = settle_people(plan, agents, _generator(entropy, "people", None))
    market = open_market(_generator(entropy, "market", None))
    return World(plan, entropy, people, addresses, agents, market)


def _generator(entropy: tuple[int, ...], stream: str, day: int | None) -> np.random.Generator:
    key = (crc32(stream.encode()), 0 if day is None else day + 1)
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))
