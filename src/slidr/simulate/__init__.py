"""The simulator: people, robots and purchases whose truth is known."""

from slidr.simulate.days import SimulatedDay, simulate, simulate_day
from slidr.simulate.faults import Fault, parse_fault
from slidr.simulate.plan import VERSION, Day, Phase, Plan
from slidr.simulate.truth import HUMAN, TRUTH
from slidr.simulate.world import World, build_world

__all__ = [
    "HUMAN",
    "TRUTH",
    "VERSION",
    "Day",
    "Fault",
    "Phase",
    "Plan",
    "SimulatedDay",
    "World",
    "build_world",
    "parse_fault",
    "simulate",
    "simulate_day",
]
