from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from slidr.calibration.sample import CalibrationSample

PATHS = (
    "device=app/logged_in=true",
    "device=desktop/logged_in=false",
    "device=desktop/logged_in=true",
    "device=mobile/logged_in=false",
    "device=mobile/logged_in=true",
)
SHARES = (0.3, 0.3, 0.25, 0.1, 0.05)
ROBOTS = (0.1, 0.6, 0.2, 0.4, 0.3)
CONVERSION = (0.03, 0.05, 0.2, 0.1, 0.15)


def draw(size: int, seed: int) -> CalibrationSample:
    """Draw scored clicks in five slices that differ in conversion, in robots, and in how well those are told apart."""
    generator = np.random.default_rng(seed)
    codes = generator.choice(len(PATHS), size, p=SHARES).astype(np.int32)
    robot = generator.random(size) < np.array(ROBOTS)[codes]
    logit = generator.normal(size=size) + robot * (1.5 + 0.5 * codes)
    purchased = ~robot & (generator.random(size) < np.array(CONVERSION)[codes])
    purchased[0] = True
    busy = robot & (generator.random(size) < 0.2)
    scores = (1 / (1 + np.exp(-logit))).astype(np.float32)
    buyers = generator.integers(0, max(int(purchased.sum() * 0.8), 1), size)
    return CalibrationSample(scores, np.where(purchased, buyers, -1), busy, codes, PATHS)


@pytest.fixture(scope="session")
def draw_sample() -> Callable[[int, int], CalibrationSample]:
    """Give the function that draws a sample of a size from a seed."""
    return draw


@pytest.fixture(scope="session")
def sample() -> CalibrationSample:
    """Return 40,000 clicks with some 2,600 purchases."""
    return draw(40_000, 8)
