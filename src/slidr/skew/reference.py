"""References: the rows that journalled ones should equal, from the lake or from the journal folded again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.clock import HOUR, SECOND
from slidr.errors import FeatureError
from slidr.features.clicks import ClickBatch
from slidr.features.layout import Layout
from slidr.features.store import EmbeddedStore
from slidr.journal import Context, Entry
from slidr.lake.delta import Lake
from slidr.tables import FEATURES

_ROUNDING = SECOND
"""A log may round the time of a click; one of the same click_id further away is another click."""


class Reference(Protocol):
    """Gives the rows that the journalled ones should equal.

    Attributes:
        names: the features of its rows.
    """

    names: tuple[str, ...]

    def rows(
        self, entries: Sequence[Entry], wanted: NDArray[np.bool_], ids: NDArray[np.uint64], names: Context
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which entries it knows, bool[n], and their rows, float32[n, features]; NaN where it has no value.

        Called with every entry, in the order of their sequences; rows of those not wanted are not looked at. `ids` are
        the click_ids hashed with the secret key of the settings, uint64[n]; `names` tells what the entries' bytes mean.
        """
        ...

    def others(self) -> int:
        """Return how many clicks it has, in the span of those wanted, that were in no entry."""
        ...


class LakeReference:
    """The rows that backfill wrote to FEATURES of a lake, found by click_id.

    Args:
        lake: the lake.
        start: first instant of the clicks that the lake may hold alone; the time of the first click where None.
        end: instant after the last; the time of the latest click where None.

    Raises:
        FeatureError: there are no FEATURES.
        TableError: they cannot be read.
    """

    def __init__(self, lake: Lake, start: int | None = None, end: int | None = None) -> None:
        if not lake.exists(FEATURES):
            raise FeatureError(
                f"the lake has no features at {lake.address(FEATURES)}; run `slidr backfill` first, or compare"
                " `--against journal`"
            )
        self._lake = lake
        columns = lake.read(FEATURES, start=0, end=0).column_names
        self.names = tuple(name for name in columns if name not in FEATURES.names)
        self._start, self._end = start, end
        self._latest = 0
        self._found = 0

    def rows(
        self, entries: Sequence[Entry], wanted: NDArray[np.bool_], ids: NDArray[np.uint64], names: Context
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Look the wanted entries up, a stretch of time at once."""
        del ids, names
        found = np.zeros(len(entries), np.bool_)
        rows = np.full((len(entries), len(self.names)), np.nan, np.float32)
        times = times_of(entries)
        places = np.flatnonzero(wanted)
        if not len(places):
            return found, rows
        self._start = int(times[places[0]]) if self._start is None else self._start
        places = places[np.argsort(times[places], kind="stable")]
        # A click that came hours late must not make the whole of these hours be read.
        for stretch in np.split(places, np.flatnonzero(np.diff(times[places]) > HOUR) + 1):
            click_ids = pa.array([entries[place].click_id for place in stretch])
            first, last = int(times[stretch[0]]), int(times[stretch[-1]])
            for held in self._lake.batches(FEATURES, start=first - _ROUNDING, end=last + _ROUNDING + 1):
                moments = held["time"].cast(pa.int64()).to_numpy()
                known, at = _places(click_ids, times[stretch], held["click_id"], moments)
                found[stretch[known]] = True
                for column, name in enumerate(self.names):
                    values = pc.fill_null(held[name].cast(pa.float32()), np.nan)
                    rows[stretch[known], column] = values.to_numpy()[at]
                self._found += int(np.count_nonzero(moments[np.unique(at)] >= self._start))
                self._latest = max(self._latest, int(moments[at].max(initial=0)))
            self._latest = max(self._latest, last)
        return found, rows

    def others(self) -> int:
        """Count the clicks of the lake in the span, less those found."""
        end = self._latest + 1 if self._end is None else self._end
        spans = self._lake.batches(FEATURES, start=self._start, end=end, columns=["time"])
        return sum(int(held.num_rows) for held in spans) - self._found


def _places(
    ids: pa.Array, times: NDArray[np.int64], held: pa.ChunkedArray, moments: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which of the clicks are held, bool[n], and the places of those that are."""
    indices = pc.index_in(ids.cast(held.type), held.combine_chunks())
    known = np.asarray(indices.is_valid())
    at = pc.fill_null(indices, 0).to_numpy().astype(np.int64)
    known[known] = np.abs(moments[at[known]] - times[known]) <= _ROUNDING
    return known, at[known]


class JournalReference:
    """The rows that one store gives for the journalled clicks, folded again in the order of their sequences.

    Args:
        layout: the compiled catalogue.
        state: snapshot of the state before the first click; none where the first sequence is 0.
        first: the first sequence.
        fingerprint: of the secret key.

    Raises:
        FeatureError: the snapshot cannot be read, or ends elsewhere than before the first click.
    """

    def __init__(self, layout: Layout, state: Path | None, first: int, *, fingerprint: str) -> None:
        self.names = layout.names
        self._store = EmbeddedStore(layout)
        self._slow = [slow.column_of_row for slow in layout.slow]
        if state is not None and self._store.restore(state, fingerprint=fingerprint):
            raise FeatureError(
                f"{state} lacks state of this catalogue; name the settings that the seed was made with, or compare"
                " `--against lake`"
            )
        if self._store.sequence != first:
            raise FeatureError(
                f"the journal begins at click {first}, and {state or 'an empty state'} ends before click"
                f" {self._store.sequence}; name the seed that the service started from with --state, or compare"
                " `--against lake`"
            )

    def rows(
        self, entries: Sequence[Entry], wanted: NDArray[np.bool_], ids: NDArray[np.uint64], names: Context
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Fold every entry that was folded, wanted or not; slow features, which are not folded, have no value."""
        del wanted
        batch, known = _batch(entries, ids, self._store.layout, names)
        rows = np.full((len(entries), len(self.names)), np.nan, np.float32)
        rows[known] = self._store.fold(batch.take(known)).rows
        rows[:, self._slow] = np.nan
        return known, rows

    def others(self) -> int:
        """Return 0: what no journal holds cannot be folded."""
        return 0


def keys_of(entries: Sequence[Entry]) -> NDArray[np.int64]:
    """Return the hashes of the click_ids, int64[n]."""
    return np.fromiter((entry.click_key for entry in entries), np.int64, len(entries))


def times_of(entries: Sequence[Entry]) -> NDArray[np.int64]:
    """Return the times of the clicks, microseconds UTC, int64[n]."""
    return np.fromiter((entry.time for entry in entries), np.int64, len(entries))


def _batch(
    entries: Sequence[Entry], ids: NDArray[np.uint64], layout: Layout, names: Context
) -> tuple[ClickBatch, NDArray[np.bool_]]:
    """Return journalled clicks as the fold takes them, and which were folded and have keys of this secret key.

    While secret keys rotate, an entry has its keys twice: those of the old key, those of the new one, and the new
    hash of its click_id.
    """
    missing = [entity for entity in layout.keys if entity not in names.keys]
    if missing:
        counted = ", ".join("+".join(entity) for entity in missing)
        raise FeatureError(
            f"the journal's clicks of bundle {entries[0].bundle} have no key of {counted}, which the catalogue of the"
            " settings counts by; name the settings that this bundle was made with, or compare `--against lake`"
        )
    count, chosen = len(names.keys), [names.keys.index(entity) for entity in layout.keys]
    matrix = np.frombuffer(b"".join(entry.keys for entry in entries), "<u8").reshape(len(entries), -1)
    keys, known = matrix[:, chosen], keys_of(entries).view(np.uint64) == ids
    if matrix.shape[1] > count:
        new = (matrix[:, 2 * count] == ids) & ~known
        keys[new] = matrix[np.ix_(new, [count + place for place in chosen])]
        known |= new
    known &= np.fromiter((entry.sequence >= 0 for entry in entries), np.bool_, len(entries))
    logged_in = np.fromiter((entry.logged_in for entry in entries), np.int8, len(entries))
    return ClickBatch(ids, times_of(entries), logged_in, np.ascontiguousarray(keys.T.astype(np.uint64))), known
