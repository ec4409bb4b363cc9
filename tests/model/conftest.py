from __future__ import annotations

import numpy as np
import pytest

from slidr.model.training import TrainingSet

NAMES = (
    "clicks_user_1h",
    "velocity_user_1m",
    "velocity_user_1h",
    "velocity_session_1h",
    "velocity_ip_1h",
    "missing_user",
    "missing_session",
    "hour_sin",
    "hour_cos",
    "constant",
    "logged_in",
)


def click_rows(size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows of long-tailed counters, flags and points on the circle, and whether each is a robot's."""
    robot = generator.random(size) < 0.3
    rows = np.floor(generator.lognormal(1 + 1.5 * robot[:, None], 1, (size, len(NAMES)))).astype(np.float32)
    for flag in ("missing_user", "missing_session", "logged_in"):
        rows[:, NAMES.index(flag)] = generator.random(size) < 0.2
    angle = generator.uniform(0, 2 * np.pi, size)
    rows[:, NAMES.index("hour_sin")], rows[:, NAMES.index("hour_cos")] = np.sin(angle), np.cos(angle)
    rows[:, NAMES.index("constant")] = 3
    return rows, robot


@pytest.fixture(scope="session")
def training() -> TrainingSet:
    """Return 4,000 clicks of which a third of the people bought."""
    generator = np.random.default_rng(5)
    rows, robot = click_rows(4000, generator)
    human = ~robot & (generator.random(4000) < 0.3)
    return TrainingSet(rows, human, np.ones(4000, dtype=np.float32), NAMES)
