"""Looking slow features up, in the table of the day before the click's own.

What a click reads was so known before it, in training as in service. Where that table is not there yet, an older one
serves until `features.slow_age`, and -1 stands where none does.
"""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

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
_MOST_OPEN = 8
"""Tables that are mapped at once; a log of years has more of them than a process may open files."""
_log = logging.getLogger("slidr.features")

Table = dict[Entity, EntityTable]


class _Wanted(NamedTuple):
    """Slow features of one entity: row of the key matrix, names, and places among the slow features."""

    entity: Entity
    key_row: int
    features: tuple[str, ...]
    places: NDArray[np.int64]


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
        self._open: dict[int, tuple[Stamp, Table | None]] = {}
        self._lock = threading.Lock()
        self._newest: int | None = None
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
        columns, wanted = _plan(layout.slow)
        days = clicks.times // DAY
        if days.min() == days.max():
            rows[:, columns] = self._values(int(days[0]), clicks.times, clicks.keys, wanted, len(columns))
            return
        order = np.argsort(days, kind="stable")
        starts = np.flatnonzero(np.diff(days[order])) + 1
        for places in np.split(order, starts):
            day = int(days[places[0]])
            values = self._values(day, clicks.times[places], clicks.keys[:, places], wanted, len(columns))
            rows[places[:, np.newaxis], columns] = values

    def _values(
        self, day: int, times: NDArray[np.int64], keys: NDArray[np.uint64], wanted: tuple[_Wanted, ...], width: int
    ) -> NDArray[np.float32]:
        """Return the slow features of clicks of one day, float32[n, width]."""
        values = np.full((len(times), width), NOT_KNOWN, np.float32)
        chosen = self._chosen(day)
        if chosen is None:
            if any(earlier < day for earlier in self._found):
                self.stale += len(times)
            else:
                self.missing += len(times)
            return values
        of, table = chosen
        lacking = False
        for entity, key_row, features, places in wanted:
            found = table.get(entity)
            known = [name for name in features if found is not None and name in found.features]
            lacking |= len(known) < len(features)
            if found is not None and known:
                told = places[[features.index(name) for name in known]]
                values[:, told] = _look_up(found, keys[key_row], [found.features.index(name) for name in known])
        self.missing += len(times) * lacking
        if of < day - 1:
            old = times - (of + 1) * DAY > self._slow_age
            values[old] = NOT_KNOWN
            self.stale += int(old.sum())
        return values

    def _chosen(self, day: int) -> tuple[int, Table] | None:
        """Return the newest table before a day that may still serve on it, and the table's own day."""
        oldest = day - 1 - max(self._slow_age // DAY, 0)
        for earlier in range(day - 1, oldest - 1, -1):
            table = self._table(earlier)
            if table is not None:
                return earlier, table
        return None

    def _table(self, day: int) -> Table | None:
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

    def _opened(self, day: int) -> Table | None:
        folder = folder_of(self._folder, date_of(day))
        while True:
            stamp = stamp_of(folder)
            try:
                return open_table(folder, self._fingerprint)
            except FeatureError as fault:
                # A table that was replaced between its manifest and its files is read again.
                if stamp_of(folder) == stamp:
                    _log.warning("a table of slow features is not used: %s", fault)
                    return None


@lru_cache(maxsize=64)
def _plan(slow: tuple[SlowColumn, ...]) -> tuple[NDArray[np.int64], tuple[_Wanted, ...]]:
    """Return the columns of the row that the slow features fill, and the features of each entity."""
    kinds: dict[tuple[Entity, int], list[int]] = {}
    for place, column in enumerate(slow):
        kinds.setdefault((column.entity, column.key_row), []).append(place)
    wanted = tuple(
        _Wanted(entity, key_row, tuple(slow[place].feature_name for place in places), np.array(places))
        for (entity, key_row), places in kinds.items()
    )
    return np.array([column.column_of_row for column in slow]), wanted


def _look_up(table: EntityTable, keys: NDArray[np.uint64], columns: list[int]) -> NDArray[np.float32]:
    if not len(table.keys):
        return np.zeros((len(keys), len(columns)), np.float32)
    places = np.searchsorted(table.keys, keys)
    places[places == len(table.keys)] = 0
    found: NDArray[np.float32] = table.values[places][:, columns]
    found[table.keys[places] != keys] = 0
    return found


def fill_slow(tables: SlowTables | None, layout: Layout, clicks: ClickBatch, rows: NDArray[np.float32]) -> None:
    """Write the slow features of clicks into their rows, float32[n, features]; -1 where there are no tables."""
    if tables is not None:
        tables.fill(layout, clicks, rows)
    elif layout.slow:
        rows[:, [column.column_of_row for column in layout.slow]] = NOT_KNOWN
