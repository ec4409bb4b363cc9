"""Prevents that identifiers which were cut short, or made anew for every click, pass for people and addresses."""

from __future__ import annotations

import math

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.seen import ColumnSeen, Seen
from slidr.settings import GuardrailsSettings

KIND = "data"
_FEW = 10
"""Values by which a number of values may always differ."""


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where a column has many times more or fewer values in the judged part than on a day before."""
    factors = {name: _factor(column) for name, column in seen.columns.items()}
    wrong = [name for name, factor in factors.items() if factor > limits.most_cardinality_change]
    fault = "; ".join(
        f"{name} has {seen.columns[name].values:,} values, and had {seen.columns[name].values_before:,.0f} a day in the"
        " training part"
        for name in wrong
    )
    farthest = max(factors, key=lambda name: factors[name], default=None)
    numbers = {"column": farthest, "factor": factors[farthest] if farthest else 1.0}
    return data_finding(__name__, limits, ("most_cardinality_change",), numbers, fault)


def _factor(column: ColumnSeen) -> float:
    """Return how many times more or fewer values there are."""
    before, now = column.values_before, float(column.values)
    if abs(now - before) <= _FEW:
        return 1.0
    return math.inf if min(before, now) == 0 else max(before, now) / min(before, now)
