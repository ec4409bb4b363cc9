"""Looking slow features up, in the table of the day before the click's own.

What a click reads was so known before it, in training as in service. Where that table is not there yet, an older one
serves until `features.slow_age`, and -1 stands where none does.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from slidr.clock import DAY
from slidr.errors import FeatureError
from slidr.features.catalogue import Entity
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, SlowColumn
from slidr.features.slow.table import EntityTable, Stamp, date_of, dated, folder_of, number_of, open_table, stamp_of

NOT_KNOWN = -1.0
"""The value of a slow feature where no table tells it."""
_GUESSES = 12
"""Guesses by proportion before halving, which bounds the search whatever the keys are."""
_MOST_OPEN = 8
"""Tables that are mapped at once; a log of years has more of them than a process may open files."""
_log = logging.getLogger("slidr.features")


class _Bound(NamedTuple):
    """The slow features of one entity, bound to a table.

    Attributes:
        key_row: row of the key matrix.
        keys: of the entities, uint64[m], ascending.
        values: float32[m, columns of the table].
        columns: of the table.
        into: columns of the row that they go to.
    """

    key_row: int
    keys: NDArray[np.uint64]
    values: NDArray[np.float32]
    columns: NDArray[np.int64]
    into: NDArray[np.int64]


class _Table(NamedTuple):
    """An opened table: its entities, and what was bound to it."""

    entities: dict[Entity, EntityTable]
    bound: dict[tuple[SlowColumn, ...], tuple[_Bound, ...]]

    def bind(self, slow: tuple[SlowColumn, ...]) -> tuple[_Bound, ...]:
        """Return where to find the slow features that the table tells."""
        found = self.bound.get(slow)
        if found is None:
            found = self.bound[slow] = tuple(
                _bind(table, [column for column in slow if column.entity == entity])
                for entity, table in self.entities.items()
            )
        return found


def _bind(table: EntityTable, slow: list[SlowColumn]) -> _Bound:
    told = [column for column in slow if column.feature_name in table.features]
    return _Bound(
        told[0].key_row if told else 0,
        np.asarray(table.keys),
        np.asarray(table.values),
        np.array([table.features.index(column.feature_name) for column in told], np.int64),
        np.array([column.column_of_row for column in told], np.int64),
    )


class SlowTables:
    """The tables of a folder, as far as they are whole and of one secret key.

    One thread fills rows while another may refresh.

    Args:
        folder: `storage.slow`; it need not exist.
        slow_age: microseconds after the end of its day for which a table serves.
        fingerprint: of the secret key that hashed the identifiers.

    Attributes:
        missing: clicks with a slow feature that no table told.
        stale: clicks for which every table was too old.
    """

    def __init__(self, folder: Path, slow_age: int, fingerprint: str) -> None:
        self.missing = 0
        self.stale = 0
        self._folder, self._slow_age, self._fingerprint = folder, slow_age, fingerprint
        self._found: dict[int, Stamp] = {}
        self._open: dict[int, tuple[Stamp, _Table | None]] = {}
        self._lock = threading.Lock()
        self._newest: int | None = None
        _compile()
        self.refresh()

    @property
    def newest(self) -> int | None:
        """The end of the day of the newest table that serves, microseconds UTC; None where none does."""
        return None if self._newest is None else (self._newest + 1) * DAY

    def refresh(self) -> None:
        """Look for new tables and open the newest; a reader of a table that was replaced is not disturbed."""
        stamps = {number_of(day): stamp_of(folder) for day, folder in dated(self._folder).items()}
        found = {day: stamp for day, stamp in stamps.items() if stamp is not None}
        self._found = found
        self._newest = next((day for day in sorted(found, reverse=True) if self._table(day) is not None), None)

    def fill(self, layout: Layout, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
        """Write the slow features of clicks into their rows, float32[n, features].

        An entity that did not click in the days that a table covers has 0, as has a null.
        """
        if not layout.slow or not len(clicks):
            return
        days = clicks.times // DAY
        if days.min() == days.max():
            self._fill_day(int(days[0]), np.arange(len(days)), layout, clicks, rows)
            return
        order = np.argsort(days, kind="stable")
        starts = np.flatnonzero(np.diff(days[order])) + 1
        for chosen in np.split(order, starts):
            self._fill_day(int(days[chosen[0]]), chosen, layout, clicks, rows)

    def _fill_day(
        self, day: int, chosen: NDArray[np.int64], layout: Layout, clicks: ClickBatch, rows: NDArray[np.float32]
    ) -> None:
        """Write the slow features of the chosen clicks, which are of one day."""
        columns = [column.column_of_row for column in layout.slow]
        found = self._chosen(day)
        if found is None:
            for column in columns:
                rows[chosen, column] = NOT_KNOWN
            if any(earlier < day for earlier in self._found):
                self.stale += len(chosen)
            else:
                self.missing += len(chosen)
            return
        of, table = found
        told = 0
        for key_row, keys, values, places, into in table.bind(layout.slow):
            _read(keys, values, places, clicks.keys[key_row], chosen, rows, into)
            told += len(into)
        if told < len(columns):
            known = {int(column) for bound in table.bind(layout.slow) for column in bound.into}
            rows[chosen[:, np.newaxis], [column for column in columns if column not in known]] = NOT_KNOWN
            self.missing += len(chosen)
        if of < day - 1:
            old = chosen[clicks.times[chosen] - (of + 1) * DAY > self._slow_age]
            rows[old[:, np.newaxis], columns] = NOT_KNOWN
            self.stale += len(old)

    def _chosen(self, day: int) -> tuple[int, _Table] | None:
        """Return the newest table before a day that may still serve on it, and the table's own day."""
        oldest = day - 1 - max(self._slow_age // DAY, 0)
        for earlier in range(day - 1, oldest - 1, -1):
            table = self._table(earlier)
            if table is not None:
                return earlier, table
        return None

    def _table(self, day: int) -> _Table | None:
        """Return the table of a day, opened and checked once; None where there is none, or one that is not whole."""
        stamp = self._found.get(day)
        if stamp is None:
            return None
        cached = self._open.get(day)
        if cached is None or cached[0] != stamp:
            cached = (stamp, self._opened(day))
            with self._lock:
                self._open[day] = cached
                for surplus in list(self._open)[:-_MOST_OPEN]:
                    del self._open[surplus]
        return cached[1]

    def _opened(self, day: int) -> _Table | None:
        folder = folder_of(self._folder, date_of(day))
        while True:
            stamp = stamp_of(folder)
            try:
                return _Table(open_table(folder, self._fingerprint), {})
            except FeatureError as fault:
                # A table that was replaced between its manifest and its files is read again.
                if stamp_of(folder) == stamp:
                    _log.warning("a table of slow features is not used: %s", fault)
                    return None


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _find(keys: NDArray[np.uint64], key: np.uint64) -> int:
    """Return the place of a key among ascending ones, -1 where it is not.

    Keys are hashes, spread evenly: a guess by proportion is near, and a few more narrow it down to a cache line.
    """
    low, high, tries = 0, len(keys), 0
    below, above = 0.0, 2.0**64
    while low < high:
        middle = (low + high) // 2
        if tries < _GUESSES and above > below:
            middle = min(low + int((float(key) - below) / (above - below) * (high - low)), high - 1)
        tries += 1
        found = keys[middle]
        if found == key:
            return middle
        if found < key:
            low, below = middle + 1, float(found)
        else:
            high, above = middle, float(found)
    return -1


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _read(
    keys: NDArray[np.uint64],
    values: NDArray[np.float32],
    columns: NDArray[np.int64],
    sought: NDArray[np.uint64],
    chosen: NDArray[np.int64],
    rows: NDArray[np.float32],
    into: NDArray[np.int64],
) -> None:
    """Write what a table says of the chosen clicks into their rows; 0 for keys that it does not hold."""
    for click in chosen:
        place = _find(keys, sought[click])
        for number in range(len(columns)):
            rows[click, into[number]] = values[place, columns[number]] if place >= 0 else np.float32(0)


def _compile() -> None:
    """Compile what reads a mapped table, so that no click waits for it."""
    keys, values = np.empty(0, np.uint64), np.empty((0, 0), np.float32)
    none, rows = np.empty(0, np.int64), np.empty((0, 0), np.float32)
    keys.flags.writeable = values.flags.writeable = False
    _read(keys, values, none, np.empty(0, np.uint64), none, rows, none)


def fill_slow(tables: SlowTables | None, layout: Layout, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
    """Write the slow features of clicks into their rows, float32[n, features]; -1 where there are no tables."""
    if tables is not None:
        tables.fill(layout, clicks, rows)
    elif layout.slow:
        rows[:, [column.column_of_row for column in layout.slow]] = NOT_KNOWN
