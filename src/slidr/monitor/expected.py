"""What a bundle expects of the clicks that it will decide: shares by slice, and its scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from slidr.clock import DAY, HOUR
from slidr.errors import RegistryError
from slidr.monitor.counting import BINS
from slidr.monitor.statistics import Float64s
from slidr.registry import Registry
from slidr.slices import ROOT
from slidr.tables import Threshold


class Expected(NamedTuple):
    """What a bundle expects.

    Attributes:
        bundle: its id.
        ivr: by slice.
        fpr: by slice.
        scores: how its scores spread over `BINS` bins, float64[BINS]; None where it does not say.
        clicks: by UTC hour of the day, clicks a minute of its own days: the median and the most; None likewise.
        hours: by UTC hour of the day, what is added to the log-odds of `ivr`; None likewise.
    """

    bundle: str
    ivr: dict[str, float]
    fpr: dict[str, float]
    scores: Float64s | None = None
    clicks: tuple[tuple[float, float], ...] | None = None
    hours: Float64s | None = None


def expected_of(registry: Registry, bundle: str) -> Expected:
    """Return what a bundle of the registry expects.

    Raises:
        RegistryError: it cannot be read, or is none.
    """
    try:
        thresholds = msgspec.json.decode(
            registry.read(bundle, "thresholds.json"), type=tuple[Threshold, ...], strict=False
        )
        metrics: dict[str, Any] = msgspec.json.decode(registry.read(bundle, "metrics.json"), type=dict[str, Any])
    except msgspec.MsgspecError as fault:
        raise RegistryError(f"bundle {bundle} of registry {registry.location} cannot be read: {fault}") from None
    return Expected(
        bundle,
        {one.slice: one.ivr for one in thresholds if one.ivr is not None},
        {one.slice: one.fpr for one in thresholds if one.fpr is not None},
        _scores(metrics),
        _clicks(metrics),
        _hours(metrics),
    )


def _scores(metrics: dict[str, Any]) -> Float64s | None:
    """Return the shares of all scores, where the run that made the bundle kept them in equal bins."""
    try:
        found = metrics["expected"]["scores"][ROOT]
        edges, shares = (np.array(found[name], np.float64) for name in ("edges", "shares"))
    except (KeyError, TypeError, ValueError):
        return None
    return shares if len(shares) == BINS and np.allclose(edges, np.arange(1, BINS) / BINS) else None


def _clicks(metrics: dict[str, Any]) -> tuple[tuple[float, float], ...] | None:
    """Return how many clicks a minute came on the bundle's days, where the run that made it kept that."""
    try:
        found = tuple((float(one["centre"]), float(one["most"])) for one in metrics["expected"]["clicks"])
    except (KeyError, TypeError, ValueError):
        return None
    return found if len(found) == DAY // HOUR else None


def _hours(metrics: dict[str, Any]) -> Float64s | None:
    """Return how the shares of the hours of the day differ, where the run that made the bundle kept that."""
    try:
        found = np.array(metrics["expected"]["hours"], np.float64)
    except (KeyError, TypeError, ValueError):
        return None
    return found if found.shape == (DAY // HOUR,) and np.isfinite(found).all() else None
