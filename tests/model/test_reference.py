"""The reference: what is usual of people's clicks, and nothing of the others'."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from slidr.errors import TrainingError
from slidr.model.reference import Reference, reference_of


def test_only_people_make_it() -> None:
    """Clicks that are not labelled human leave no trace in it, however many they are."""
    generator = np.random.default_rng(1)
    people = generator.poisson(2.0, (500, 3)).astype(np.float32)
    robots = np.full((5000, 3), 900, np.float32)
    human = np.arange(5500) < 500
    mixed = reference_of(np.concatenate([people, robots]), human, ("a", "b", "c"))
    assert mixed == reference_of(people, np.ones(500, np.bool_), ("a", "b", "c"))
    assert mixed.clicks == 500


def test_every_value_is_one_that_was_measured() -> None:
    """Medians and ends are values of clicks, in order, and survive JSON as float32 to the last bit."""
    rows = np.random.default_rng(2).normal(size=(101, 2)).astype(np.float32)
    found = reference_of(rows, np.ones(101, np.bool_), ("a", "b"))
    for column, name in enumerate(("a", "b")):
        usual = found.features[name]
        assert {usual.low, usual.median, usual.high} <= set(rows[:, column].tolist())
        assert usual.low <= usual.median <= usual.high
    again = msgspec.json.decode(msgspec.json.encode(found), type=Reference)
    assert again == found
    assert again.row(("b", "a")).tolist() == np.sort(rows, axis=0)[50, ::-1].tolist()


def test_without_people_nothing_is_usual() -> None:
    """No click labelled human is refused with what to check."""
    with pytest.raises(TrainingError, match="no click is labelled human"):
        reference_of(np.zeros((3, 1), np.float32), np.zeros(3, np.bool_), ("a",))
