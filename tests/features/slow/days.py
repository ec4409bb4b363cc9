"""Clicks of a few entities over a few days, and what slow features they have by the obvious way."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from slidr.clock import DAY, HOUR
from slidr.features.catalogue import PeakDistinct, check_catalogue
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.slow import build_slow

KEY = "00000000000000aa"
EPOCH = date(1970, 1, 1)
LAYOUT = compile_catalogue(
    check_catalogue(
        (
            PeakDistinct("user", by="ip"),
            PeakDistinct("session", by="ip", over="2d"),
            PeakDistinct("ip", by=("user", "device")),
        )
    )
)


def clicks_of(layout: Layout, times: list[int], keys: list[list[int]]) -> ClickBatch:
    """Return clicks with these times and keys, one list of keys a click in the order of the layout."""
    matrix = np.array(keys, np.uint64).reshape(len(times), len(layout.keys)).T
    return ClickBatch(
        np.arange(1, len(times) + 1, dtype=np.uint64),
        np.array(times, np.int64),
        np.zeros(len(times), np.int8),
        np.ascontiguousarray(matrix),
    )


def click(time: int, *, user: int = 0, session: int = 0, ip: int = 0) -> ClickBatch:
    """Return one click."""
    return clicks_of(LAYOUT, [time], [[user, session, ip, 0, 0]])


def one_day(folder: Path, day: int, users: int) -> None:
    """Build the table of a day on which ip 7 has this many users, of one session, in one hour."""
    history = clicks_of(LAYOUT, [day * DAY] * users, [[1 + user, 5, 7, 0, 0] for user in range(users)])
    build_slow(folder, EPOCH + timedelta(days=day), LAYOUT, [history], fingerprint=KEY, created=0)


def random_days(seed: int, clicks: int, days: int) -> ClickBatch:
    """Return clicks of days 1 to `days` after 1970 in no order, with nulls, of few entities or of large keys."""
    generator = np.random.default_rng(seed)
    times = generator.integers(DAY, (days + 1) * DAY, clicks)
    times -= (times % HOUR) * (generator.random(clicks) < 0.1)
    most = int(generator.choice([4, 40, 2**63]))
    keys = generator.integers(0, most, (len(LAYOUT.keys), clicks)).astype(np.uint64)
    keys[generator.random(keys.shape) < 0.1] = 0
    return ClickBatch(np.arange(clicks, dtype=np.uint64), times, np.zeros(clicks, np.int8), keys)


def build_days(folder: Path, clicks: ClickBatch, days: int, *, first: int = 1, chunk: int = 50) -> None:
    """Build the tables of days `first` to `days` after 1970."""
    for day in range(first, days + 1):
        batches = (clicks.take(slice(start, start + chunk)) for start in range(0, len(clicks), chunk))
        build_slow(folder, EPOCH + timedelta(days=day), LAYOUT, batches, fingerprint=KEY, created=day)


def obvious(layout: Layout, history: ClickBatch, key: list[int], day: int, known: set[int]) -> list[float]:
    """Return the slow features of a click of a day: sets of values, hour by hour, of the known days before."""
    found = []
    for column in layout.slow:
        hours: dict[int, set[int]] = defaultdict(set)
        for click in range(len(history)):
            of = int(history.times[click]) // DAY
            value = int(history.keys[column.counted_row, click])
            same = int(history.keys[column.key_row, click]) == key[column.key_row] != 0
            if same and value and of in known and day - column.days <= of < day:
                hours[int(history.times[click]) // HOUR].add(value)
        found.append(float(max((len(values) for values in hours.values()), default=0)))
    return found
