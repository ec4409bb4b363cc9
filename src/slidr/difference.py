"""What one bundle has otherwise than another: data, features, weights, thresholds and metrics."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np

from slidr.audit import differences
from slidr.bundle import Bundle
from slidr.features.layout import compile_catalogue
from slidr.model.constants import constants_of
from slidr.tables import Threshold

_NAMES = ("network", "calibration", "slice", "family", "name")


class Features(NamedTuple):
    """Features, and blocks of state, that only one of two catalogues has.

    Attributes:
        added: names that only the second one has.
        removed: names that only the first one has.
        cold: entities whose state the second one needs and the first one does not keep.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    cold: tuple[str, ...]


class Weights(NamedTuple):
    """How far the networks are apart.

    Attributes:
        same: whether the graphs are the same to the byte.
        parameters: how many numbers each one has.
        distance: the length of the difference of all weights over that of the first's; None where their shapes differ.
    """

    same: bool
    parameters: tuple[int, int]
    distance: float | None


class Moved(NamedTuple):
    """A slice and its threshold in either bundle, None where one has none, +inf where it never invalidates."""

    slice: str
    was: float | None
    now: float | None


class Difference(NamedTuple):
    """What the second of two bundles has otherwise; paths of documents with the value of either.

    Attributes:
        data: days, versions of tables, contract and settings of the calibration.
        features: catalogue.
        weights: network.
        thresholds: slices of which they differ, the furthest apart first.
        metrics: what was measured.
    """

    data: dict[str, list[Any]]
    features: Features
    weights: Weights
    thresholds: tuple[Moved, ...]
    metrics: dict[str, list[Any]]


def difference(first: Bundle, second: Bundle) -> Difference:
    """Return what the second bundle has otherwise than the first."""
    return Difference(
        differences(_made(first), _made(second)),
        _features(first, second),
        _weights(first, second),
        _thresholds(first.thresholds, second.thresholds),
        differences(_keyed(first.metrics), _keyed(second.metrics)),
    )


def _made(bundle: Bundle) -> dict[str, Any]:
    """Return what a bundle was made from, and how."""
    contract = msgspec.to_builtins(bundle.contract)
    made = {"slidr": bundle.manifest.slidr, "created_at": bundle.manifest.created_at}
    document: dict[str, Any] = _keyed(bundle.data | {"contract": contract, "calibration": bundle.calibration} | made)
    return document


def _features(first: Bundle, second: Bundle) -> Features:
    was, now = compile_catalogue(first.catalogue), compile_catalogue(second.catalogue)
    kept = {block.key for block in was.blocks}
    return Features(
        tuple(name for name in now.names if name not in was.names),
        tuple(name for name in was.names if name not in now.names),
        tuple("+".join(block.entity) for block in now.blocks if block.key not in kept),
    )


def _weights(first: Bundle, second: Bundle) -> Weights:
    was, now = constants_of(first.graph), constants_of(second.graph)
    counts = (sum(one.size for one in was.values()), sum(one.size for one in now.values()))
    distance = None
    if was and [(name, one.shape) for name, one in was.items()] == [(name, one.shape) for name, one in now.items()]:
        before = np.concatenate([one.ravel() for one in was.values()]).astype(np.float64)
        after = np.concatenate([one.ravel() for one in now.values()]).astype(np.float64)
        # Bounds of the input may be infinite, and those are the same or they are not.
        finite = np.isfinite(before) & np.isfinite(after)
        length = float(np.linalg.norm(before[finite])) or 1.0
        distance = float(np.linalg.norm((after - before)[finite])) / length
    return Weights(first.graph == second.graph, counts, distance)


def _thresholds(first: tuple[Threshold, ...], second: tuple[Threshold, ...]) -> tuple[Moved, ...]:
    was = {one.slice: one.threshold for one in first}
    now = {one.slice: one.threshold for one in second}
    moved = [Moved(slice_, was.get(slice_), now.get(slice_)) for slice_ in dict.fromkeys((*was, *now))]
    return tuple(sorted((one for one in moved if one.was != one.now), key=_distance, reverse=True))


def _distance(moved: Moved) -> float:
    return math.inf if moved.was is None or moved.now is None else abs(moved.now - moved.was)


def _keyed(document: Any) -> Any:
    """Return a document with each list as what it holds by name, or by place where that has none."""
    if isinstance(document, dict):
        return {key: _keyed(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return {_name(value, place): _keyed(value) for place, value in enumerate(document)}
    return document


def _name(value: Any, place: int) -> str:
    names = [str(value[key]) for key in _NAMES if key in value] if isinstance(value, dict) else []
    return "/".join(names) or str(place)
