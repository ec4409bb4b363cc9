"""Slices of journalled clicks: the journal keeps that whose threshold held, and a bundle may have some below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.clock import SECOND
from slidr.decide import Decider
from slidr.errors import ReplayError
from slidr.lake.delta import Lake
from slidr.replay.held import places_of
from slidr.slices import ROOT, ancestors, slice_path
from slidr.tables import CLICKS

_ROUNDING = SECOND
"""A log may round the time of a click."""


class Calibrated(NamedTuple):
    """The calibrated slices of n clicks.

    Attributes:
        slices: text[n].
        thresholds: float32[n].
    """

    slices: pa.Array
    thresholds: NDArray[np.float32]


class Slicing:
    """Finds the slice of a bundle that journalled clicks belong to.

    Where the bundle has no threshold below the journalled slice, that slice tells it; else the columns of the log do.

    Args:
        lake: has the log.
        decider: of the bundle.
    """

    def __init__(self, lake: Lake, decider: Decider) -> None:
        self._lake, self._decider = lake, decider
        self._columns = decider.bundle.contract.slice_columns
        calibrated = (threshold.slice for threshold in decider.bundle.thresholds)
        self._above = {above for path in calibrated for above in ancestors(path)[1:]}

    def of(self, first: pa.Table) -> Calibrated:
        """Return the slices of clicks.

        Args:
            first: decisions of the clicks, with click_id, time and slice.

        Raises:
            ReplayError: the log, which has to tell the slice of a click, does not hold it.
            TableError: the log cannot be read, or lacks a column that slices.
        """
        encoded = first["slice"].combine_chunks().dictionary_encode()
        paths = encoded.dictionary.to_pylist()
        codes = np.asarray(encoded.indices.to_numpy(), np.int64)
        open_ones = np.array([self._is_open(path) for path in paths], np.bool_)
        unknown = np.flatnonzero(open_ones[codes]) if open_ones.any() else np.empty(0, np.int64)
        if len(unknown):
            told = self._told(first.select(["click_id", "time"]).take(pa.array(unknown)))
            known: dict[str, int] = {}
            codes[unknown] = [len(paths) + known.setdefault(path, len(known)) for path in told]
            paths += known
        found = [self._decider.nearest(path) for path in paths]
        slices = pa.array([path for path, _ in found], pa.string()).take(pa.array(codes))
        return Calibrated(slices, np.array([limit for _, limit in found], np.float32)[codes])

    def _is_open(self, path: str) -> bool:
        """Return whether the bundle may have a deeper slice for some clicks of this one."""
        columns = () if path == ROOT else tuple(part.partition("=")[0] for part in path.split("/"))
        return path in self._above or columns != self._columns[: len(columns)]

    def _told(self, clicks: pa.Table) -> list[str]:
        """Return the deepest slices of clicks by the columns of the log."""
        times = clicks["time"].cast(pa.int64())
        first, last = pc.min(times).as_py() - _ROUNDING, pc.max(times).as_py() + _ROUNDING + 1
        if not self._lake.exists(CLICKS):
            raise _unsliced(clicks.num_rows, clicks["click_id"][0].as_py(), self._lake)
        log = self._lake.read(CLICKS, start=first, end=last, columns=["click_id", *self._columns])
        places = places_of(clicks["click_id"], log["click_id"])
        if (places < 0).any():
            lost = np.flatnonzero(places < 0)
            raise _unsliced(len(lost), clicks["click_id"][int(lost[0])].as_py(), self._lake)
        found = log.take(pa.array(places))
        known: dict[tuple[object, ...], str] = {}
        return [
            self._path(values, known)
            for values in zip(*(found[name].to_pylist() for name in self._columns), strict=True)
        ]

    def _path(self, values: Sequence[object], known: dict[tuple[object, ...], str]) -> str:
        key: tuple[Any, ...] = (*values, *map(type, values))
        if key not in known:
            known[key] = slice_path(self._columns, values)
        return known[key]


def _unsliced(clicks: int, example: str, lake: Lake) -> ReplayError:
    return ReplayError(
        f"the slices of {clicks:,} clicks, such as {example}, are not known: the bundle that decided them had none of"
        f" their own, and the log in {lake.address(CLICKS)} lacks them; run `slidr ingest` for their days first"
    )
