from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from slidr.calibration.curves import Curves, measure
from slidr.calibration.grouping import group
from slidr.calibration.methods.envelope import envelope_prices
from slidr.calibration.sample import CalibrationSample


def drawn(slices: int, clicks: int, seed: int) -> Curves:
    """Draw curves of slices, some with few purchases and some scores equal."""
    generator = np.random.default_rng(seed)
    code = generator.integers(0, slices, clicks).astype(np.int32)
    scores = np.round(generator.random(clicks), generator.integers(1, 6)).astype(np.float32)
    bought = generator.random(clicks) < generator.uniform(0, 0.3, slices)[code] * (1 - scores)
    bought[:slices], code[:slices] = True, np.arange(slices)
    paths = tuple(f"shop={number}" for number in range(slices))
    sample = CalibrationSample(scores, np.where(bought, np.arange(clicks), -1), bought, code, paths)
    return measure(sample, group(sample, 1))


def reference(curves: Curves, budget: float) -> float:
    """Return the most clicks that can be marked where each slice mixes the points of its curve, by HiGHS."""
    groups = len(curves.clicks)
    owner = np.concatenate((curves.group, np.arange(groups)))
    cost = np.concatenate((curves.purchases_over, curves.purchases)) + 1.0
    gain = np.concatenate((curves.clicks_over, curves.clicks)).astype(float)
    place = np.arange(len(owner))
    rows = np.concatenate((owner, np.full(len(owner), groups)))
    limits = csr_array((np.concatenate((np.ones(len(owner)), cost)), (rows, np.concatenate((place, place)))))
    solved = linprog(-gain, A_ub=limits, b_ub=np.append(np.ones(groups), budget), method="highs")
    return -float(solved.fun)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(30, 600), st.integers(0, 2**32), st.floats(0.01, 0.9))
def test_the_steepest_pieces_first_are_the_optimum(slices: int, clicks: int, seed: int, share: float) -> None:
    """Spending a budget in the order of the prices marks as many clicks as the linear program's optimum."""
    curves = drawn(slices, clicks, seed)
    prices, top = envelope_prices(curves)
    scale = (curves.purchases + 1).sum() / curves.clicks.sum()
    cost = np.concatenate((np.ones(len(top)), curves.purchases_from - curves.purchases_over))
    worth = np.concatenate((top, prices)) / scale
    order = np.argsort(-worth, kind="stable")
    budget = share * cost.sum()
    taken = np.clip(budget - (np.cumsum(cost[order]) - cost[order]), 0, cost[order])
    assert float(worth[order] @ taken) == pytest.approx(reference(curves, budget), rel=1e-6)


def test_prices_never_fall_with_the_score() -> None:
    """The slopes of a concave envelope fall with the FPR, so the prices rise with the score, in every slice."""
    curves = drawn(30, 5_000, 5)
    prices, top = envelope_prices(curves)
    same = curves.group[1:] == curves.group[:-1]
    assert (np.diff(prices)[same] > 0).all()
    last = np.append(curves.group[1:] != curves.group[:-1], True)
    assert (top[curves.group[last]] >= prices[last]).all()
