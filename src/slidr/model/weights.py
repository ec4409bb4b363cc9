"""Sample weights: every hour of the week, logged in or not, counts the same for people and for the rest."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidr.errors import TrainingError
from slidr.metrics import Bools, Float32s, Int64s, hours_of_week, local_times

_UNKNOWN = 2
_CERTAIN = 50  # clicks of a label that were expected: finding none of them is no accident


def sample_weights(times: Int64s, logged_in: NDArray[Any], human: Bools, *, cap: float, zone: str = "UTC") -> Float32s:
    """Return w_i = C / N_i of every click, where N_i counts the clicks in its bucket, capped, with mean 1.

    A bucket is an hour of day, a day of week, a login state and a label. The weights keep sparse traffic, such as
    night hours, from being decided by the traffic of the day (SLIDR, AAAI 2023). The cap is ours: without it one click
    alone in its bucket can outweigh ten thousand.

    Args:
        times: int64[n], microseconds since the epoch, UTC.
        logged_in: bool[n], or object[n] with None where it is not known, which is a state of its own.
        human: bool[n], the label.
        cap: largest weight, in medians of the weights.
        zone: time zone whose hours and days are meant.

    >>> sample_weights(np.zeros(4, dtype=np.int64), np.ones(4, bool), np.array([True, False, False, False]), cap=100)
    array([2.       , 0.6666667, 0.6666667, 0.6666667], dtype=float32)

    Raises:
        TrainingError: there are no clicks.
    """
    if len(times) == 0:
        raise TrainingError("sample weights need clicks, and there are none; check the days that training reads")
    unknown = np.array([state is None for state in logged_in]) if logged_in.dtype == np.object_ else False
    login = np.where(unknown, _UNKNOWN, logged_in).astype(np.int64)
    bucket = (hours_of_week(times, zone) * 3 + login) * 2 + human
    raw = 1.0 / np.bincount(bucket)[bucket]
    weights: Float32s = np.minimum(raw, cap * np.median(raw)).astype(np.float32)
    weights /= weights.mean(dtype=np.float64)
    return weights


def check_days(times: Int64s, human: Bools, zone: str = "UTC") -> None:
    """Refuse a day that lacks a label of which, by the share of it in all clicks, it should have 50 or more.

    A day whose purchases were lost would teach that everybody who clicks on such a day is robotic.

    Args:
        times: int64[n], microseconds since the epoch, UTC.
        human: bool[n], the label.
        zone: time zone whose days are meant.

    Raises:
        TrainingError: names the day, how many clicks it has, and how many of the label were to be expected.
    """
    moments, place = local_times(times, zone)
    dates = np.array([moment.toordinal() for moment in moments], np.int64)
    days, day = np.unique(dates[place], return_inverse=True)
    clicks = np.bincount(day, minlength=len(days))
    for label, labelled in (("human", human), ("not human", ~human)):
        found = np.bincount(day[labelled], minlength=len(days))
        expected = clicks * (np.count_nonzero(labelled) / max(1, len(human)))
        for one in np.flatnonzero((found == 0) & (expected >= _CERTAIN)).tolist():
            raise TrainingError(
                f"none of {clicks[one]} clicks of {date.fromordinal(int(days[one]))} is labelled {label}, where by the "
                f"other days {expected[one]:.0f} should be; check that the purchases of that day are complete, ingest "
                "them and run `slidr label` again"
            )
