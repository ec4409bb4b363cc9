"""A rule on click velocity, the paper's second baseline: the faster somebody clicks, the more robotic."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slidr.errors import TrainingError
from slidr.model.graph import GraphBuilder
from slidr.model.training import Curve, Progress, Trained, TrainingSet
from slidr.settings import ModelSettings, duration

ENTITIES = ("user", "session", "ip")
"""Whose velocity is taken: the first of these that the click has."""

_HALFWAY = 60.0  # clicks per hour that score one half; it spreads the scores, and moves no click past another


def fit(
    training: TrainingSet,
    settings: ModelSettings,
    generator: np.random.Generator,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Return the rule as an ONNX graph: score = v / (v + 60), with v in clicks per hour over the longest half-life.

    Nothing is learnt, and the curve is empty; settings, generator and checkpoint are taken because every network takes
    them.

    Raises:
        TrainingError: the features hold no velocity of a user, a session or an ip.
    """
    del settings, generator, checkpoint
    graph = GraphBuilder()
    velocities = {entity: name for entity in ENTITIES if (name := _slowest(training.names, entity))}
    if not velocities:
        raise TrainingError(
            "the velocity rule needs a feature velocity_user_*, velocity_session_* or velocity_ip_*, and there are "
            f"{len(training.names)} features without any; add {{kind='Velocity', by='user'}} to features.add"
        )

    def column(name: str) -> str:
        return graph.node("Gather", "rows", graph.constant(np.array(training.names.index(name))), axis=1)

    *fallbacks, last = velocities
    velocity = column(velocities[last])
    for entity in reversed(fallbacks):
        present = column(velocities[entity])
        missing = f"missing_{entity}"
        if missing in training.names:
            absent = graph.node("Greater", column(missing), graph.constant(np.array(np.float32(0.5))))
            velocity = graph.node("Where", absent, velocity, present)
        else:
            velocity = present
    positive = graph.node("Relu", velocity)
    graph.node(
        "Div", positive, graph.node("Add", positive, graph.constant(np.array(np.float32(_HALFWAY)))), output="score"
    )
    if progress:
        progress(1.0)
    return Trained(graph.finish(training.names, "velocity"), Curve())


def _slowest(names: tuple[str, ...], entity: str) -> str | None:
    """Return the velocity of this entity with the longest half-life, or None."""
    prefix = f"velocity_{entity}_"
    # velocity_ip_user_agent_1h begins with velocity_ip_, and is another entity's.
    found = [name for name in names if name.startswith(prefix) and "_" not in name.removeprefix(prefix)]
    return max(found, key=lambda name: duration(name.removeprefix(prefix)), default=None)
