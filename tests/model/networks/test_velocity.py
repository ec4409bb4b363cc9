from __future__ import annotations

import numpy as np
import pytest

from slidr.errors import TrainingError
from slidr.model.networks import velocity
from slidr.model.scorer import Scorer
from slidr.model.training import TrainingSet
from slidr.settings import ModelSettings


def fitted(names: tuple[str, ...]) -> Scorer:
    """Fit the rule to two rows of these features."""
    rows = np.eye(2, len(names), dtype=np.float32)
    labelled = TrainingSet(rows, np.array([True, False]), np.ones(2, dtype=np.float32), names)
    return Scorer(velocity.fit(labelled, ModelSettings(), np.random.default_rng(1)).graph)


def test_the_first_entity_that_the_click_has_decides() -> None:
    """The user's velocity counts, without a user the session's, without both the ip's."""
    scorer = fitted(("velocity_ip_1h", "velocity_session_1h", "velocity_user_1h", "missing_user", "missing_session"))
    rows = np.array([[20, 180, 60, 0, 0], [20, 180, 0, 1, 0], [20, 0, 0, 1, 1]], dtype=np.float32)
    np.testing.assert_allclose(scorer.score(rows), [0.5, 0.75, 0.25])


def test_the_longest_half_life_decides() -> None:
    """Of several velocities of one entity the slowest is taken, by duration and not by spelling."""
    scorer = fitted(("velocity_user_90s", "velocity_user_10m", "velocity_user_1h"))
    np.testing.assert_allclose(scorer.score(np.array([[0, 0, 60]], dtype=np.float32)), [0.5])


def test_without_velocities_there_is_no_rule() -> None:
    """A catalogue without velocities is refused, with the entry that would help."""
    with pytest.raises(TrainingError, match=r"features\.add"):
        fitted(("clicks_user_1h",))
