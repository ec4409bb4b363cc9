"""Slow features: looked up in a table that is built once a day from the clicks of the days before, never folded.

A table is a folder of its own for one UTC day, `<storage.slow>/2017-11-08/`. A click of a day reads the table of the
day before, so what it reads was known before it, in training as in service.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout

NOT_KNOWN = -1.0
"""The value of a slow feature where no table tells it."""


class SlowTables:
    """The tables of a folder, as far as they are of one secret key.

    Args:
        folder: `storage.slow`; it need not exist.
        slow_age: microseconds after the end of its day for which a table serves.
        fingerprint: of the secret key that hashed the identifiers.

    Attributes:
        missing: clicks for which there was no table, or none with their feature.
        stale: clicks for which every table was too old.
    """

    def __init__(self, folder: Path, slow_age: int, fingerprint: str) -> None:
        self.missing = 0
        self.stale = 0
        self.refresh()

    @property
    def newest(self) -> int | None:
        """The end of the day of the newest table, microseconds UTC."""
        return None

    def refresh(self) -> None:
        """Look for new tables; those in use stay usable until the last reader is done."""

    def fill(self, layout: Layout, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
        """Write the slow features of clicks into their rows, float32[n, features]."""
        rows[:, [column.column_of_row for column in layout.slow]] = NOT_KNOWN


def fill_slow(tables: SlowTables | None, layout: Layout, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
    """Write the slow features of clicks into their rows, float32[n, features]; -1 where there are no tables."""
    if tables is not None:
        tables.fill(layout, clicks, rows)
    elif layout.slow:
        rows[:, [column.column_of_row for column in layout.slow]] = NOT_KNOWN


class SlowDay:
    """The table of one day in the making: clicks are added, then it is written whole or not at all.

    Args:
        folder: `storage.slow`.
        day: the UTC day.
        layout: the catalogue whose slow features the table holds.
        fingerprint: of the secret key that hashed the identifiers.
    """

    def __init__(self, folder: Path, day: date, layout: Layout, fingerprint: str) -> None:
        pass

    def add(self, clicks: ClickBatch) -> None:
        """Take the clicks of the day among these; those of other days are passed over. Repeats change nothing."""

    def write(self, created: int) -> None:
        """Write the table, rolled with those of the days before, which must be built before."""


def build_slow(
    folder: Path, day: date, layout: Layout, batches: Iterable[ClickBatch], *, fingerprint: str, created: int
) -> None:
    """Build the table of one day from its clicks, in bounded memory."""


def built_days(folder: Path, layout: Layout, fingerprint: str) -> frozenset[date]:
    """Return the days that have a table with every slow feature of the layout."""
    return frozenset()
