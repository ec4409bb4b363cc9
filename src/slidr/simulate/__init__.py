"""The simulator: people, robots and purchases whose truth is known."""

from slidr.simulate.days import SimulatedDay, simulate, simulate_day
from slidr.simulate.plan import Day, Phase, Plan
from slidr.simulate.truth import HUMAN, TRUTH
from slidr.simulate.world import World, build_world

__all__ = [
    "HUMAN",
    "TRUTH",
    "Day",
    "Phase",
    "Plan",
    "SimulatedDay",
    "World",
    "build_world",
    "simulate",
    "simulate_day",
]
