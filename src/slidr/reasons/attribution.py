"""Attribution: what each thing that the features measure contributes to a score, against the reference click.

Contributions are Shapley values in the log-odds of the score: of the game whose players are groups of features, and
where a group that does not play has the values of the reference click (Lundberg & Lee, "A unified approach to
interpreting model predictions", NeurIPS 2017; with one fixed baseline: Sundararajan & Najmi, "The many Shapley values
for model explanation", ICML 2020). They are sampled by orders of the groups (Štrumbelj & Kononenko, "Explaining
prediction models and individual predictions with feature contributions", 2014), each beside its reverse, which takes
out most of the error that is left (Mitchell et al., "Sampling permutations for Shapley value estimation", JMLR 2022).
Within every order the steps add up to the whole difference, so the contributions do too, however few orders there are.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.metrics import Float32s
from slidr.model.scorer import Scorer

ORDERS = 64
"""Orders of the groups, half of them the reverse of the other half."""


class Contribution(NamedTuple):
    """What one group of features contributes to a score.

    Attributes:
        group: the name of the group.
        log_odds: what it adds to the log-odds of the score; above 0 it makes the click more robotic.
        column: the column of the row that does most of it.
    """

    group: str
    log_odds: float
    column: int


class Attribution:
    """Shares out the difference between the scores of a click and of the reference click.

    Args:
        scorer: asked for the log-odds of rows.
        groups: columns of a row by the name of their group; every column in one group.
        reference: the reference click, float32[F].
        orders: even, at least 2; the error falls with its root, the time grows with it.

    >>> from types import SimpleNamespace
    >>> scorer = SimpleNamespace(logit=lambda rows: 2.0 * rows[:, 0] - rows[:, 1] * rows[:, 2])
    >>> two = Attribution(scorer, {"a": [0], "bc": [1, 2]}, np.zeros(3, np.float32))
    >>> [(one.group, one.log_odds) for one in two.contributions(np.array([1, 3, 1], np.float32))]
    [('a', 2.0), ('bc', -3.0)]
    """

    def __init__(self, scorer: Scorer, groups: dict[str, list[int]], reference: Float32s, orders: int = ORDERS) -> None:
        self._scorer = scorer
        self._reference = reference
        self._groups = {name: np.array(columns) for name, columns in groups.items()}
        # Hashes order the groups: the same on every machine, under every version of NumPy, and whatever else is asked.
        self._ranks = np.array([[_rank(order, name) for name in groups] for order in range(orders // 2)], np.uint64)

    def contributions(self, row: Float32s) -> tuple[Contribution, ...]:
        """Return what each group of a row, float32[F], contributes, largest first, but for groups as in the reference.

        The same row gives the same bits. But for rounding, contributions add up to the difference of the log-odds.
        """
        shares = self.shares(row)
        if not shares:
            return ()
        effects = self._effects(row)
        found = []
        for name, share in shares.items():
            columns = self._groups[name]
            most = np.argmax(effects[columns] if share > 0 else -effects[columns])
            found.append(Contribution(name, share, int(columns[most])))
        return tuple(sorted(found, key=lambda one: (-one.log_odds, one.group)))

    def shares(self, row: Float32s) -> dict[str, float]:
        """Return the contributions alone, by the name of the group: the mean step of the log-odds as it joins."""
        differs = row != self._reference
        names = [name for name, columns in self._groups.items() if differs[columns].any()]
        if not names:
            return {}
        count = len(names)
        group_of = np.full(len(row), count)
        for place, name in enumerate(names):
            group_of[self._groups[name]] = place
        shares = np.zeros(count)
        steps = np.arange(count + 1)[:, np.newaxis]
        for ranks in self._ranks[:, np.isin(list(self._groups), names)]:
            order = np.argsort(ranks)
            places = np.argsort(order)
            # Which groups have joined before each step, and none beyond the last: columns that are as in the reference.
            joined = np.zeros((2, count + 1, count + 1), np.bool_)
            joined[0, :, :count] = places < steps
            joined[1, :, :count] = places >= count - steps
            rows = np.where(joined[:, :, group_of], row, self._reference)
            jumps = np.diff(self._scorer.logit(rows.reshape(-1, len(row))).reshape(2, count + 1))
            shares[order] += jumps[0]
            shares[order[::-1]] += jumps[1]
        shares /= 2 * len(self._ranks)
        return dict(zip(names, shares.tolist(), strict=True))

    def _effects(self, row: Float32s) -> NDArray[np.float64]:
        """Return what each column does by itself, float64[F]; 0 for one that is as in the reference.

        It is the mean of what one adds to the reference click and of what the row loses without it.
        """
        columns = np.flatnonzero(row != self._reference)
        each = np.arange(len(columns))
        alone, without = np.tile(self._reference, (len(columns), 1)), np.tile(row, (len(columns), 1))
        alone[each, columns], without[each, columns] = row[columns], self._reference[columns]
        low, high = self._scorer.logit(np.stack([self._reference, row]))
        effects = np.zeros(len(row))
        effects[columns] = (self._scorer.logit(alone) - low + high - self._scorer.logit(without)) / 2
        return effects


def _rank(order: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{order} {name}".encode()).digest()[:8])
