"""False positives: purchasing clicks that were found invalid, by slice, counted and weighted by cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.billing.clicks import billed_clicks
from slidr.billing.periods import Period
from slidr.errors import BillingError
from slidr.evaluation.intervals import clustered_interval, ratio_interval
from slidr.lake.delta import Lake
from slidr.slices import ROOT, ancestors
from slidr.tables import INVALID, LABELS, LabelReason

_INVALID = pa.array(INVALID)


class Weighted(NamedTuple):
    """Cost in micros of one currency: of a slice's purchasing clicks, and of those that are invalid.

    `low` and `high` are the ends of the 95 % interval of their share; None where a single purchaser, or none, shows it.
    """

    purchasing: int
    invalid: int
    low: float | None
    high: float | None


class FalsePositives(msgspec.Struct, frozen=True):
    """The false-positive rate of a slice.

    Attributes:
        slice: path of the slice.
        purchasing: clicks that led to a purchase.
        invalid: those of them that were found invalid.
        low: lower end of the 95 % interval of the rate, whose clicks come in clusters of one purchaser.
        high: upper end.
        cost: by currency.
        alarm: the rate is material.
        certain: the lower end is material, too.
    """

    slice: str
    purchasing: int
    invalid: int
    low: float
    high: float
    cost: dict[str, Weighted]
    alarm: bool
    certain: bool

    @property
    def rate(self) -> float:
        """Share of the purchasing clicks that were found invalid."""
        return self.invalid / self.purchasing


def false_positives(lake: Lake, wanted: Period, material: float) -> tuple[FalsePositives, ...]:
    """Return the false-positive rates of a period, the root first, then each slice and what lies above it.

    Args:
        lake: holds decisions and labels.
        wanted: the period.
        material: rate from which on a slice raises an alarm.

    Raises:
        BillingError: the period has no decisions, no labels or no purchasing click.
        TableError: the lake cannot be read.
    """
    if not lake.exists(LABELS):
        raise BillingError("the lake has no labels, which tell purchasing clicks; run `slidr label` or `slidr daily`")
    labels = lake.read(LABELS, start=wanted.start, end=wanted.end, columns=["click_id", "reason", "purchaser"])
    labels = labels.filter(pc.equal(labels["reason"], LabelReason.PURCHASE.value))
    found = pa.concat_tables(_purchasing(billed_clicks(lake, wanted), labels))
    if not found.num_rows:
        raise BillingError(f"no decided click of {wanted.name} led to a purchase that is labelled; label it first")
    names = np.array(found["slice"].to_pylist(), np.object_)
    return tuple(
        _of(path, found.filter(pa.array(chosen)), material) for path, chosen in _by_slice(names) if chosen.any()
    )


def _purchasing(clicks: Iterable[pa.Table], labels: pa.Table) -> Iterable[pa.Table]:
    for part in clicks:
        places = pc.index_in(part["click_id"], value_set=labels["click_id"].combine_chunks()).combine_chunks()
        known = part.append_column("purchaser", labels["purchaser"].combine_chunks().take(places))
        yield known.filter(pc.is_valid(places)).select(["verdict", "slice", "cost", "currency", "purchaser"])


def _by_slice(names: NDArray[np.object_]) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    """Yield each slice that occurs and each above it, with which clicks are of it."""
    above = {name: frozenset(ancestors(name)) for name in set(names.tolist())}
    paths = {path for known in above.values() for path in known} | {ROOT}
    for path in sorted(paths, key=lambda path: (len(ancestors(path)), path)):
        yield path, np.array([path in above[name] for name in names.tolist()], np.bool_)


def _of(path: str, found: pa.Table, material: float) -> FalsePositives:
    marked = pc.is_in(found["verdict"], value_set=_INVALID).to_numpy()
    purchasers = found["purchaser"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    low, high = clustered_interval(marked, purchasers.astype(np.int64))
    cost: dict[str, Weighted] = {}
    for currency in sorted(found["currency"].unique().to_pylist()):
        of = pc.equal(found["currency"], currency).to_numpy()
        value = found["cost"].to_numpy()
        _, places = np.unique(purchasers[of], return_inverse=True)
        hits = np.bincount(places, np.where(marked, value, 0)[of])
        bounds = ratio_interval(hits, np.bincount(places, value[of]), int(of.sum())) or (None, None)
        cost[currency] = Weighted(int(value[of].sum()), int(value[of & marked].sum()), *bounds)
    rate = float(marked.mean())
    return FalsePositives(path, len(marked), int(marked.sum()), low, high, cost, rate >= material, low >= material)
