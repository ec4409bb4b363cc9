"""Attribution: contributions share out the whole difference from the reference click, and nothing else."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small

from slidr.features.layout import compile_catalogue
from slidr.model.graph import Layer, layers_graph
from slidr.model.scaling import Scaling
from slidr.model.scorer import Scorer
from slidr.reasons.attribution import Attribution
from slidr.reasons.wording import grouped

GROUPS = grouped(small.CATALOGUE)
NAMES = compile_catalogue(small.CATALOGUE).names
REFERENCE = small.reference().row(NAMES)


def network(seed: int) -> Scorer:
    """Return a network of random weights in which features act together."""
    generator = np.random.default_rng(seed)
    widths = (len(NAMES), 16, 8, 1)
    layers = tuple(
        Layer(generator.normal(size=shape).astype(np.float32), generator.normal(size=shape[1]).astype(np.float32))
        for shape in pairwise(widths)
    )
    flat = Scaling(np.zeros(len(NAMES), np.float32), np.ones(len(NAMES), np.float32))
    return Scorer(layers_graph(layers, flat, NAMES, "random"))


def rows(seed: int, count: int = 1) -> NDArray[np.float32]:
    """Return rows that are as the reference in half of their features."""
    generator = np.random.default_rng(seed)
    drawn = generator.lognormal(1.0, 2.0, (count, len(NAMES))).astype(np.float32)
    return np.where(generator.random(drawn.shape) < 0.5, REFERENCE, drawn)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from((2, 6, 64)))
def test_contributions_add_up(seed: int, orders: int) -> None:
    """However few the orders are, the sum is the difference of the log-odds from the reference click."""
    scorer, row = network(seed % 5), rows(seed)[0]
    found = Attribution(scorer, GROUPS, REFERENCE, orders).contributions(row)
    low, high = scorer.logit(np.stack([REFERENCE, row]))
    assert math.fsum(one.log_odds for one in found) == pytest.approx(high - low, rel=1e-9, abs=1e-9)
    assert [one.log_odds for one in found] == sorted((one.log_odds for one in found), reverse=True)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_groups_as_the_reference_contribute_nothing(seed: int) -> None:
    """What a click has in common with the reference click is never a reason, and the column named is of the group."""
    row = rows(seed)[0]
    for one in Attribution(network(0), GROUPS, REFERENCE, 4).contributions(row):
        assert (row != REFERENCE)[GROUPS[one.group]].any()
        assert one.column in GROUPS[one.group]


def test_the_reference_click_has_no_reasons() -> None:
    """A click that is the reference has no contributions at all."""
    assert Attribution(network(1), GROUPS, REFERENCE).contributions(REFERENCE.copy()) == ()


def test_the_same_row_gives_the_same_bits() -> None:
    """A second session of the network, and rows asked before, change no bit of a contribution."""
    one, two = (Attribution(network(2), GROUPS, REFERENCE) for _ in range(2))
    drawn = rows(9, 6)
    before = [one.contributions(row) for row in drawn]
    assert [two.contributions(row) for row in drawn[::-1]][::-1] == before


def test_contributions_are_shapley_values() -> None:
    """With many orders they come near the mean over all orders, and the error falls as orders are added."""
    groups = dict(list(GROUPS.items())[:5])
    scorer, row = network(3), REFERENCE.copy()
    for columns in groups.values():
        row[columns] = 40.0
    exact = dict.fromkeys(groups, 0.0)
    for order in permutations(groups):
        steps = [REFERENCE.copy()]
        for name in order:
            steps.append(steps[-1].copy())
            steps[-1][groups[name]] = row[groups[name]]
        for name, step in zip(order, np.diff(scorer.logit(np.stack(steps))), strict=True):
            exact[name] += float(step) / math.factorial(5)
    few, many = (Attribution(scorer, groups, REFERENCE, orders).shares(row) for orders in (2, 2048))
    errors = [max(abs(found[name] - exact[name]) for name in groups) for found in (few, many)]
    largest = max(map(abs, exact.values()))
    assert errors[1] < 0.02 * largest < errors[0]


def test_alike_groups_contribute_alike() -> None:
    """In a sum, each group contributes its own part exactly, whatever the others do."""
    layer = Layer(np.ones((3, 1), np.float32), np.zeros(1, np.float32))
    scorer = Scorer(
        layers_graph((layer,), Scaling(np.zeros(3, np.float32), np.ones(3, np.float32)), tuple("abc"), "sum")
    )
    attribution = Attribution(scorer, {"a": [0], "b": [1], "c": [2]}, np.zeros(3, np.float32))
    shares = attribution.shares(np.array([5, 5, 0], np.float32))
    assert shares.keys() == {"a", "b"}
    assert shares["a"] == pytest.approx(shares["b"], rel=1e-6) == pytest.approx(math.log(6), rel=1e-6)
