"""Prevents that a column which a feed has stopped to fill, or begun to, passes for a change of the traffic."""

from __future__ import annotations

from slidr.evaluation.results import Finding
from slidr.guardrails.found import data_finding
from slidr.guardrails.seen import Seen
from slidr.settings import GuardrailsSettings

KIND = "data"


def check(seen: Seen, limits: GuardrailsSettings) -> Finding:
    """Refuse where a column's share of nulls in the judged part is far from that of the training part."""
    changes = {name: column.nulls - column.nulls_before for name, column in seen.columns.items()}
    wrong = [name for name, change in changes.items() if abs(change) > limits.most_null_change]
    fault = "; ".join(
        f"{100 * seen.columns[name].nulls:.3g} % of {name} are null, and {100 * seen.columns[name].nulls_before:.3g} %"
        " were in the training part"
        for name in wrong
    )
    farthest = max(changes, key=lambda name: abs(changes[name]), default=None)
    numbers = {"column": farthest, "change": changes[farthest] if farthest else 0.0}
    return data_finding(__name__, limits, ("most_null_change",), numbers, fault)
