"""What guardrails look at, as it is on a good day, for tests that spoil one thing of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from slidr.clock import HOUR
from slidr.evaluation.change import Change, SliceChange
from slidr.evaluation.results import Finding, Interval, Learning
from slidr.extensions import load
from slidr.guardrails import CHECKS
from slidr.guardrails.seen import ColumnSeen, Drift, GoldenSeen, Hours, ModelSeen, Seen, SliceSeen
from slidr.metrics import Int64s
from slidr.model.training import Curve
from slidr.settings import GuardrailsSettings

START = 1_772_409_600_000_000  # 2026-03-02 00:00 UTC, a Monday
DAYS = 14


def good_hours(start: int = START, zone: str = "UTC", days: int = DAYS) -> Hours:
    """Return two weeks of clicks and purchases that follow the hour of the day, with some chance in them."""
    generator = np.random.default_rng(7)
    hour = np.arange(24 * days) % 24
    shape = 1 + 0.8 * np.sin(2 * np.pi * (hour - 9) / 24)
    clicks, purchases = generator.poisson(2000 * shape), generator.poisson(60 * shape)
    return Hours(
        start=start,
        zone=zone,
        clicks=clicks,
        purchases=purchases,
        labelled=clicks,
        human=generator.poisson(160 * shape),
        bought=generator.poisson(40 * shape),
        first=24 * (days - 9),
        last=24 * days,
        last_purchases=24 * days,
    )


def one_slice(name: str, before: float, **changed: float) -> SliceChange:
    """Return a slice that is decided as before, but for what is named."""
    whole: dict[str, Any] = {
        "slice": name, "clicks": 40_000, "purchases": 900, "ivr_before": before, "ivr": before, "fpr_before": 0.004,
        "fpr": 0.004, "newly_marked": 0.01, "newly_valid": 0.01,
    }  # fmt: skip
    return SliceChange(**{**whole, **changed})


GOOD_MODEL = ModelSeen(
    budget=0.005,
    fpr=Interval(0.004, 0.002, 0.008),
    learning=Learning("three_layer", Curve("clicks", (1, 2, 3, 4, 5), (0.7, 0.6, 0.5, 0.45, 0.44))),
    difference=2e-7,
    score_drift=0.03,
    change=Change("champion", (one_slice("all", 0.2), one_slice("device=app", 0.1))),
    coverage=0.9,
    coverage_before=0.88,
    golden=GoldenSeen(200, 1, 200, 195),
    latency_ms=0.05,
)


def good(**changed: Any) -> Seen:
    """Return a good day, but for what is named."""
    whole: dict[str, Any] = {
        "hours": good_hours(),
        "age": 2 * HOUR,
        "silence": 1_000_000,
        "unripe": 0.0,
        "empty_days": (),
        "columns": {
            "user": ColumnSeen(0.2, 0.21, 9_000.0, 9_400),
            "device": ColumnSeen(0.0, 0.0, 4.0, 4),
        },
        "duplicates": 0.001,
        "duplicates_before": 0.001,
        "read": 100_000,
        "rejected": 3,
        "slices": {"device=app": SliceSeen(0.4, 20_000, 300), "device=tv": SliceSeen(0.001, 0, 0)},
        "drift": Drift("the champion", {"clicks_user_1h": 0.02, "gap_ip": 0.1}),
        "model": GOOD_MODEL,
    }
    return Seen(**{**whole, **changed})


def spoilt_model(**changed: Any) -> Seen:
    """Return a good day whose model is good, but for what is named."""
    return good(model=replace(GOOD_MODEL, **changed))


def with_hours(counts: Int64s, hours: slice, factor: float) -> Int64s:
    """Return counts of which some hours are multiplied."""
    found = counts.copy()
    found[hours] = (found[hours] * factor).astype(np.int64)
    return found


def found(name: str, seen: Seen, **limits: Any) -> Finding:
    """Return what a guardrail finds."""
    finding: Finding = load(CHECKS, name).check(seen, GuardrailsSettings(**limits))
    return finding


def day(place: int) -> slice:
    """Return the hours of a day, from the first one on."""
    return slice(24 * place, 24 * (place + 1))
