from __future__ import annotations

import numpy as np

from slidr.simulate import Plan, World, build_world


def test_the_same_seed_builds_the_same_world(world: World) -> None:
    """World and generator are functions of plan and seed."""
    again = build_world(world.plan, np.random.default_rng(20260302))
    assert again.entropy == world.entropy
    assert np.array_equal(again.people.visits, world.people.visits)
    assert np.array_equal(again.addresses.homes, world.addresses.homes)


def test_streams_are_independent(world: World) -> None:
    """A stream always starts the same; another name or another day is another stream."""
    first = world.generator("a", 3).random()
    assert world.generator("a", 3).random() == first
    others = [world.generator("b", 3), world.generator("a", 4), world.generator("a")]
    assert first not in [other.random() for other in others]
    assert world.salt("click") == world.salt("click") != world.salt("user")


def test_worlds_of_other_seeds_differ() -> None:
    """Another seed is another world."""
    plan = Plan(clicks=9_000)
    first, second = (build_world(plan, np.random.default_rng(seed)) for seed in (1, 2))
    assert first.entropy != second.entropy
    assert not np.array_equal(first.addresses.homes[:10], second.addresses.homes[:10])
