"""Building the table of slow features of one day, from its clicks and the tables of the days before."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Self

import numpy as np

from slidr.clock import HOUR
from slidr.errors import FeatureError
from slidr.features.catalogue import Entity
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout, SlowColumn
from slidr.features.slow.peaks import Peaks, distinct_values, highest, no_peaks
from slidr.features.slow.table import (
    MANIFEST,
    VERSION,
    Manifest,
    Part,
    dated,
    folder_of,
    number_of,
    open_day,
    publish,
    read_manifest,
    write_file,
)

_MOST_SORTED = 2_000_000
"""Clicks that are sorted at once while a table is built: about 300 MB."""
_log = logging.getLogger("slidr.features")


class SlowDay:
    """The table of one day in the making: clicks are added, then it is written whole or not at all.

    The clicks wait on disk, hour by hour, so that memory is bounded whatever the day holds. One process at a time
    builds the table of a day. Used as a context, it leaves nothing behind where it fails.

    Args:
        folder: `storage.slow`.
        day: the UTC day.
        layout: the catalogue whose slow features the table holds.
        fingerprint: of the secret key that hashed the identifiers.

    Raises:
        FeatureError: the folder cannot be written.
    """

    def __init__(self, folder: Path, day: date, layout: Layout, fingerprint: str) -> None:
        self._folder, self._day, self._fingerprint = folder, day, fingerprint
        self._kinds: dict[Entity, list[SlowColumn]] = {}
        for column in layout.slow:
            self._kinds.setdefault(column.entity, []).append(column)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(f".{day.isoformat()}.*.part"):
                shutil.rmtree(leftover, ignore_errors=True)
            self._part = Path(tempfile.mkdtemp(prefix=f".{day.isoformat()}.", suffix=".part", dir=folder))
        except OSError as fault:
            raise self._fault(fault) from None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what was not written."""
        shutil.rmtree(self._part, ignore_errors=True)

    def add(self, clicks: ClickBatch) -> None:
        """Take the clicks of the day among these; those of other days are passed over, and repeats change nothing.

        Raises:
            FeatureError: the clicks cannot be kept on disk.
        """
        hours = clicks.times // HOUR - number_of(self._day) * 24
        for hour in np.unique(hours[(hours >= 0) & (hours < 24)]).tolist():
            keys = clicks.keys[:, hours == hour]
            for entity, columns in self._kinds.items():
                matrix = np.ascontiguousarray(keys[[columns[0].key_row, *_counted(columns).values()]].T)
                try:
                    with self._spool(entity, hour).open("ab") as file:
                        file.write(matrix[matrix[:, 0] != 0].data)
                except OSError as fault:
                    raise self._fault(fault) from None

    def write(self, created: int) -> None:
        """Write the table: the peaks of this day, and the highest of them and of the tables of the days before.

        Args:
            created: the time, microseconds UTC.

        Raises:
            FeatureError: the table cannot be written.
        """
        try:
            earlier = self._earlier()
            parts = tuple(self._write_part(entity, columns, earlier) for entity, columns in self._kinds.items())
            manifest = Manifest(VERSION, self._day, self._fingerprint, created, tuple(earlier), parts)
            publish(self._part, folder_of(self._folder, self._day), manifest)
        except OSError as fault:
            raise self._fault(fault) from None
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def _earlier(self) -> dict[date, Manifest]:
        """Return the manifests of the days before that are still looked back on, newest first."""
        days = max((column.days for columns in self._kinds.values() for column in columns), default=1)
        found = {}
        for age in range(1, days):
            day = self._day - timedelta(days=age)
            folder = folder_of(self._folder, day)
            if (folder / MANIFEST).exists():
                try:
                    found[day] = read_manifest(folder, self._fingerprint)
                except FeatureError as fault:
                    _log.warning("the table of %s is rolled without that of %s: %s", self._day, day, fault)
        return found

    def _write_part(self, entity: Entity, columns: list[SlowColumn], earlier: dict[date, Manifest]) -> Part:
        counted = list(_counted(columns))
        own = no_peaks(len(counted))
        for hour in range(24):
            spool = self._spool(entity, hour)
            if spool.exists() and spool.stat().st_size:
                clicks = np.memmap(spool, np.uint64, "r").reshape(-1, 1 + len(counted))
                own = highest(own, distinct_values(clicks, _MOST_SORTED))
                del clicks
                spool.unlink()
        chosen = [counted.index(column.counted) for column in columns]
        rolled = Peaks(own.keys, own.counts[:, chosen])
        for day, manifest in earlier.items():
            rolled = highest(rolled, self._seen_from(day, manifest, entity, columns))
        name = "_".join(entity)
        return Part(
            entity=entity,
            features=tuple(column.feature_name for column in columns),
            counted=tuple(counted),
            keys=write_file(self._part, f"{name}-keys", rolled.keys),
            values=write_file(self._part, f"{name}-values", rolled.counts),
            day_keys=write_file(self._part, f"{name}-day_keys", own.keys),
            day_peaks=write_file(self._part, f"{name}-day_peaks", own.counts),
        )

    def _seen_from(self, day: date, manifest: Manifest, entity: Entity, columns: list[SlowColumn]) -> Peaks:
        """Return the peaks of an earlier day as far as each feature looks back, float32[n, features of the entity]."""
        part = next((part for part in manifest.parts if part.entity == entity), None)
        if part is None:
            return no_peaks(len(columns))
        try:
            peaks = open_day(folder_of(self._folder, day), part)
        except FeatureError as fault:
            _log.warning("the table of %s is rolled without that of %s: %s", self._day, day, fault)
            return no_peaks(len(columns))
        counts = np.zeros((len(peaks.keys), len(columns)), np.float32)
        for place, column in enumerate(columns):
            if column.counted in part.counted and (self._day - day).days < column.days:
                counts[:, place] = peaks.counts[:, part.counted.index(column.counted)]
        return Peaks(peaks.keys, counts)

    def _spool(self, entity: Entity, hour: int) -> Path:
        return self._part / f"{'_'.join(entity)}-{hour:02}.clicks"

    def _fault(self, fault: OSError) -> FeatureError:
        return FeatureError(
            f"{self._folder}: the table of slow features of {self._day} cannot be written ({fault}); see that the"
            " folder (storage.slow) has room and that nothing else builds that day, then run `slidr backfill` again"
        )


def _counted(columns: list[SlowColumn]) -> dict[str, int]:
    """Return the counted columns of one entity, each once, and their rows of the key matrix."""
    return {column.counted: column.counted_row for column in columns}


def build_slow(
    folder: Path, day: date, layout: Layout, batches: Iterable[ClickBatch], *, fingerprint: str, created: int
) -> None:
    """Build the table of one day from its clicks, in bounded memory; the days before must be built before.

    Raises:
        FeatureError: the table cannot be written.
    """
    with SlowDay(folder, day, layout, fingerprint) as table:
        for clicks in batches:
            table.add(clicks)
        table.write(created)


def built_days(folder: Path, layout: Layout, fingerprint: str) -> frozenset[date]:
    """Return the days that have a table with every slow feature of the layout."""
    wanted = {column.feature_name for column in layout.slow}
    found = set()
    for day, path in dated(folder).items():
        try:
            manifest = read_manifest(path, fingerprint)
        except FeatureError:
            continue
        if wanted <= {name for part in manifest.parts for name in part.features}:
            found.add(day)
    return frozenset(found)
