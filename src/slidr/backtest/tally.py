"""Tally: clicks and costs of judged days by group, and the purchasing clicks among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.backtest.reading import Scored
from slidr.backtest.results import Line
from slidr.billing.periods import local_days, local_hours
from slidr.evaluation.intervals import clustered_interval, ratio_interval
from slidr.evaluation.results import Interval

Key = tuple[str | None, ...]
"""Values of what is grouped by, and the currency last."""
_SUMS = ("count", "general", "marked", "cost", "general_cost", "marked_cost")
_NOTHING = Interval(None, None, None)


class Tally:
    """Counts what one budget would have refunded, a day after another.

    Args:
        by: what is grouped by, of `slidr.billing.figures.DIMENSIONS`.
        zone: time zone of the billing day.
    """

    def __init__(self, by: tuple[str, ...], zone: str) -> None:
        self._by, self._zone = by, zone
        self._days: list[dict[Key, NDArray[np.int64]]] = []
        self._bought: list[pa.Table] = []

    def add(self, day: Scored, marked: NDArray[np.bool_]) -> None:
        """Count a day.

        Args:
            day: its clicks.
            marked: which of those that reached the model it finds invalid, bool[reached].
        """
        invalid = np.zeros(day.clicks.num_rows, np.bool_)
        invalid[day.reached] = marked
        cost = day.clicks["cost"].to_numpy()
        table = self._grouping(day).append_column("cost", day.clicks["cost"])
        for name, mask in (("general", day.general), ("marked", invalid)):
            table = table.append_column(name, pa.array(mask.astype(np.int64)))
            table = table.append_column(f"{name}_cost", pa.array(np.where(mask, cost, 0)))
        summed = [(name, "sum") for name in _SUMS[1:]]
        keys = [*self._by, "currency"]
        grouped = table.group_by(keys).aggregate([([], "count_all"), *summed]).to_pylist()
        self._days.append({
            tuple(row[name] for name in keys): np.array(
                [row["count_all"], *(row[f"{name}_sum"] for name in _SUMS[1:])], np.int64
            )
            for row in grouped
        })  # fmt: skip
        buyers = pc.and_(pc.is_valid(day.purchaser), pa.array(day.reached))
        bought = table.append_column("purchaser", day.purchaser).filter(buyers)
        self._bought.append(bought.select([*keys, "purchaser", "marked", "cost"]))

    def lines(self) -> tuple[Line | None, tuple[Line, ...], tuple[Line, ...]]:
        """Return the line of all clicks, those of each currency, and those of the groups, the dearest refund first."""
        if not self._days:
            return None, (), ()
        keys = list(dict.fromkeys(key for day in self._days for key in day))
        nothing = np.zeros(len(_SUMS), np.int64)
        sums = {key: np.stack([day.get(key, nothing) for day in self._days]) for key in keys}
        buyers = _Buyers(pa.concat_tables(self._bought), (*self._by, "currency"))
        zero = np.zeros((len(self._days), len(_SUMS)), np.int64)
        whole = _line({}, "", sum(sums.values(), zero), buyers.whole())
        currencies = sorted({str(key[-1]) for key in keys})
        per_currency = tuple(
            _line({}, name, sum((one for key, one in sums.items() if key[-1] == name), zero), buyers.of_currency(name))
            for name in currencies
        )
        groups = [
            _line(dict(zip(self._by, key, strict=False)), str(key[-1]), one, buyers.of_group(key))
            for key, one in sums.items()
        ]
        groups.sort(key=lambda line: (-line.refund, -line.clicks, [str(value) for value in line.group.values()]))
        return whole, per_currency, tuple(groups)

    def _grouping(self, day: Scored) -> pa.Table:
        """Return the columns that clicks are grouped by."""
        times = day.clicks["time"].cast(pa.int64()).to_numpy()
        columns = {}
        for name in self._by:
            if name == "slice":
                columns[name] = pa.array(day.paths, pa.string()).take(pa.array(day.slices))
            elif name in {"day", "hour"}:
                columns[name] = (local_days if name == "day" else local_hours)(times, self._zone)
            else:
                columns[name] = day.clicks[name]
        return pa.table({**columns, "currency": day.clicks["currency"]})


class _Bought(NamedTuple):
    """Purchasing clicks: whether each is marked, its cost, the number of its purchaser."""

    marked: NDArray[np.bool_]
    cost: NDArray[np.int64]
    purchaser: NDArray[np.int64]

    def among(self, places: NDArray[np.int64]) -> _Bought:
        return _Bought(self.marked[places], self.cost[places], self.purchaser[places])


class _Buyers:
    """Purchasing clicks of all days, by group."""

    def __init__(self, bought: pa.Table, keys: Sequence[str]) -> None:
        purchasers = bought["purchaser"].combine_chunks().dictionary_encode()
        codes = purchasers.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        self._all = _Bought(bought["marked"].to_numpy() == 1, bought["cost"].to_numpy(), codes)
        self._places: dict[Key, list[int]] = {}
        for place, key in enumerate(zip(*(bought[name].to_pylist() for name in keys), strict=True)):
            self._places.setdefault(key, []).append(place)

    def whole(self) -> _Bought:
        return self._all

    def of_currency(self, name: str) -> _Bought:
        found = [place for key, places in self._places.items() if key[-1] == name for place in places]
        return self._all.among(np.array(found, np.int64))

    def of_group(self, key: Key) -> _Bought:
        return self._all.among(np.array(self._places.get(key, []), np.int64))


def _line(group: dict[str, str | None], currency: str, days: NDArray[np.int64], bought: _Bought) -> Line:
    """Return a line from sums by day, int64[days, sums], and the purchasing clicks; costs only of one currency."""
    clicks, general, marked, cost, general_cost, marked_cost = (int(one) for one in days.sum(axis=0))
    refunded = _share(days[:, 1] + days[:, 2], days[:, 0], clicks)
    priced = bool(currency)
    return Line(
        group=group,
        currency=currency,
        clicks=clicks,
        general=general,
        sophisticated=marked,
        refunded_clicks=general + marked,
        refunded_share=refunded,
        cost=cost if priced else 0,
        general_cost=general_cost if priced else 0,
        sophisticated_cost=marked_cost if priced else 0,
        refund=general_cost + marked_cost if priced else 0,
        refund_share=_share(days[:, 4] + days[:, 5], days[:, 3], clicks) if priced else _NOTHING,
        purchasing=len(bought.marked),
        false_positives=int(bought.marked.sum()),
        fpr=_fpr(bought),
        purchasing_cost=int(bought.cost.sum()) if priced else 0,
        false_positive_cost=int(bought.cost[bought.marked].sum()) if priced else 0,
        fpr_by_cost=_fpr_by_cost(bought) if priced else _NOTHING,
    )


def _share(hits: NDArray[np.int64], totals: NDArray[np.int64], most: int) -> Interval:
    """Return a share of sums by day; its interval is that of days like these."""
    whole = int(totals.sum())
    if not whole:
        return _NOTHING
    return Interval(int(hits.sum()) / whole, *(ratio_interval(hits, totals, most) or (None, None)))


def _fpr(bought: _Bought) -> Interval:
    if not len(bought.marked):
        return _NOTHING
    return Interval(float(bought.marked.mean()), *clustered_interval(bought.marked, bought.purchaser))


def _fpr_by_cost(bought: _Bought) -> Interval:
    whole = int(bought.cost.sum())
    if not whole:
        return _NOTHING
    _, places = np.unique(bought.purchaser, return_inverse=True)
    totals = np.bincount(places, bought.cost)
    hits = np.bincount(places, np.where(bought.marked, bought.cost, 0))
    bounds = ratio_interval(hits, totals, len(bought.marked)) or (None, None)
    return Interval(int(bought.cost[bought.marked].sum()) / whole, *bounds)
