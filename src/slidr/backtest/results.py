"""Results: what a backtest found, as plain numbers."""

from __future__ import annotations

import msgspec

from slidr.backtest.plan import JudgedDay, Left
from slidr.evaluation.results import Interval


class Line(msgspec.Struct, frozen=True):
    """What a budget would have refunded of a group of clicks, and whom it would have hit.

    Costs are in micros of one currency; in the line of all clicks they are zero, for currencies are never added.

    Attributes:
        group: the value of each thing that the figures are grouped by.
        currency: of the costs; empty in the line of all clicks.
        clicks: all of them.
        general: found invalid by list rules, whatever the budget.
        sophisticated: found invalid by the model.
        refunded_clicks: invalid by either.
        refunded_share: their share; the interval is that of days like these.
        cost: of all clicks.
        general_cost: of those that list rules find invalid.
        sophisticated_cost: of those that the model finds invalid.
        refund: of those that are invalid by either.
        refund_share: its share of the cost, likewise.
        purchasing: clicks that led to a purchase and reached the model.
        false_positives: those of them that the model finds invalid.
        fpr: their share; clicks of one purchaser count together in the interval.
        purchasing_cost: cost of the purchasing clicks.
        false_positive_cost: cost of the false positives.
        fpr_by_cost: their share of the cost, likewise.
    """

    group: dict[str, str | None]
    currency: str
    clicks: int
    general: int
    sophisticated: int
    refunded_clicks: int
    refunded_share: Interval
    cost: int
    general_cost: int
    sophisticated_cost: int
    refund: int
    refund_share: Interval
    purchasing: int
    false_positives: int
    fpr: Interval
    purchasing_cost: int
    false_positive_cost: int
    fpr_by_cost: Interval


class Actual(msgspec.Struct, frozen=True):
    """What was decided in truth, in one currency: clicks, those that were not charged, and their costs in micros."""

    clicks: int
    refunded_clicks: int
    cost: int
    refund: int


class Tested(msgspec.Struct, frozen=True):
    """What one budget would have done.

    Attributes:
        budget: share of purchasing clicks that may be marked.
        days: how many days were judged by it.
        left: those that could not be, and why.
        whole: all clicks, without costs.
        currencies: all clicks of each currency.
        groups: by group and currency, the dearest refund first.
    """

    budget: float
    days: int
    left: tuple[Left, ...]
    whole: Line | None
    currencies: tuple[Line, ...]
    groups: tuple[Line, ...]


class Backtest(msgspec.Struct, frozen=True):
    """What a backtest found.

    Attributes:
        period: whose days were judged.
        timezone: of its days.
        by: what figures are grouped by.
        source: whose rows were scored: of the `lake`, or of the `journal`.
        method: how clicks were ranked.
        certificate: whether thresholds were certified: `required`, `optional` or `off`.
        days: the days that could be judged, with the network and the days that set their thresholds.
        left: the others, and why.
        tested: a budget each, as asked.
        decided: what was decided in truth, by currency; empty where the lake has no decisions of all judged days.
    """

    period: str
    timezone: str
    by: tuple[str, ...]
    source: str
    method: str
    certificate: str
    days: tuple[JudgedDay, ...]
    left: tuple[Left, ...]
    tested: tuple[Tested, ...]
    decided: dict[str, Actual]
