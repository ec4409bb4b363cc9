"""The door: raw clicks and purchases go in, tables that follow our schemas come out, and every rejection is counted.

A row at fault is rejected alone and kept as an example; a column that is missing or misspelt refuses the whole log.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.clock import MINUTE
from slidr.lake import values
from slidr.lake.schema import arrow_type, conform, nulls, refuse_unfit
from slidr.settings import ClicksSettings
from slidr.tables import CLICKS, EXAMPLES, PURCHASES, Column, Rejections, Table

AHEAD = 5 * MINUTE
"""How far ahead of the clock a time may lie, in microseconds."""
LONGEST = 256
"""Characters of the longest click_id that is admitted, here and by the service."""
_CHUNK = 250_000
_TEXTS = {pa.string(), pa.large_string(), pa.binary(), pa.large_binary()}
_IDENTIFIERS = {CLICKS.name: "click_id", PURCHASES.name: "purchase_id"}

__all__ = ["AHEAD", "LONGEST", "Rejections", "Seen", "admit_clicks", "admit_purchases"]


class Seen:
    """The identifiers admitted so far, so that a repeat is known in a later chunk of the same log.

    It keeps 64-bit keyed hashes, 8 bytes an identifier: among ten million identifiers the odds that a new one is
    taken for a repeat are below 1 in 300,000.

    Attributes:
        rows: rows that passed the door or were rejected, so that a row is numbered within the log, not the chunk.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._hashes: NDArray[np.int64] = np.empty(0, np.int64)

    def repeats(self, identifiers: pa.Array[Any]) -> NDArray[np.bool_]:
        """Return which identifiers were seen before, here or in an earlier call, and remember them all."""
        found = np.fromiter(map(hash, identifiers.to_pylist()), np.int64, len(identifiers))
        fresh, first = np.unique(found, return_index=True)
        repeated = np.ones(len(found), np.bool_)
        if len(self._hashes):
            place = np.minimum(np.searchsorted(self._hashes, fresh), len(self._hashes) - 1)
            new = self._hashes[place] != fresh
            fresh, first = fresh[new], first[new]
        repeated[first] = False
        # Two sorted runs: the stable sort merges them in linear time.
        self._hashes = np.sort(np.concatenate([self._hashes, fresh]), kind="stable")
        return repeated


def admit_clicks(
    raw: pa.Table, *, settings: ClicksSettings, now: int, seen: Seen | None = None
) -> tuple[pa.Table, Rejections]:
    """Admit raw clicks; see `admit_purchases` for the arguments.

    Rejected: a click_id that is null or longer than `LONGEST`; a time that is null, not a time, without a zone, not
    after 1970-01-01T00:00:00Z or more than `AHEAD` of `now`; an IP that is no address (unless `settings.ip` is
    'opaque'); a value that is not of its column's type; a negative cost; a click_id that occurred before. A null user
    or session is fine. Further columns pass through.

    >>> raw = pa.table({"click_id": ["a", "a"], "time": ["2026-03-02T10:00:00Z"] * 2, "ip": ["::FFFF:192.0.2.1"] * 2})
    >>> clicks, rejections = admit_clicks(raw, settings=ClicksSettings(), now=1_800_000_000_000_000)
    >>> clicks["ip"].to_pylist()
    ['192.0.2.1']
    >>> rejections.counts
    {('click_id', 'occurred before'): 1}

    Raises:
        TableError: a column is missing or misspelt (the nearest is suggested), or of a type that cannot be read.
    """
    return _admit(CLICKS, raw, settings, now, seen)


def admit_purchases(
    raw: pa.Table, *, settings: ClicksSettings, now: int, seen: Seen | None = None
) -> tuple[pa.Table, Rejections]:
    """Admit raw purchases by the same rules; a negative value is a refund, not a purchase, and is rejected.

    Args:
        raw: the rows as a source read them.
        settings: `timezone` is that of times that carry none, in both logs.
        now: microseconds since 1970, UTC.
        seen: identifiers of earlier chunks of this log; None where this is the whole of it.

    Raises:
        TableError: a column is missing or misspelt (the nearest is suggested), or of a type that cannot be read.
    """
    return _admit(PURCHASES, raw, settings, now, seen)


def _admit(
    table: Table, raw: pa.Table, settings: ClicksSettings, now: int, seen: Seen | None
) -> tuple[pa.Table, Rejections]:
    if not table.open:
        misspelt = table.misspelt(raw.column_names) or ()
        raw = raw.select([name for name in raw.column_names if name in table.names or name in misspelt])
    refuse_unfit(table, raw.column_names)
    seen = seen or Seen()
    rejections = Rejections()
    admitted = []
    for start in range(0, max(raw.num_rows, 1), _CHUNK):
        gate = _Gate(raw.slice(start, _CHUNK), seen.rows)
        admitted.append(gate.admit(table, settings, now, seen))
        rejections += gate.rejections
        seen.rows += gate.raw.num_rows
    return conform(table, pa.concat_tables(admitted)), rejections


class _Gate:
    """One chunk on its way through the door."""

    def __init__(self, raw: pa.Table, first_row: int) -> None:
        self.raw = raw
        self.first_row = first_row
        self.rejections = Rejections()
        self._open = np.ones(raw.num_rows, np.bool_)

    def admit(self, table: Table, settings: ClicksSettings, now: int, seen: Seen) -> pa.Table:
        """Parse every column, then drop the rows at fault and the repeats."""
        columns = {column.name: self._column(column, settings, now) for column in table.columns}
        for name in self.raw.column_names:
            if name not in table.names:
                columns[name] = self._further(name)
        identifier = _IDENTIFIERS[table.name]
        identifiers = columns[identifier]
        if not self._open.all():
            identifiers = identifiers.filter(pa.array(self._open))
        repeated = np.zeros(len(self._open), np.bool_)
        repeated[self._open] = seen.repeats(identifiers)
        self._reject(identifier, "occurred before", repeated)
        admitted = pa.table(columns)
        return admitted if self._open.all() else admitted.filter(pa.array(self._open))

    def _column(self, column: Column, settings: ClicksSettings, now: int) -> pa.Array[Any]:
        if column.name not in self.raw.column_names:
            return nulls(column, self.raw.num_rows)
        parsed = _parse(column, self._values(column.name), settings)
        for reason, bad in parsed.faults.items():
            self._reject(column.name, reason, bad)
        if not column.nullable and parsed.values.null_count:
            self._reject(column.name, "null", values.mask(pc.is_null(parsed.values)))
        if pa.types.is_timestamp(parsed.values.type):
            times = parsed.values.cast(pa.int64())
            self._reject(column.name, "not after the start of 1970", values.mask(pc.less_equal(times, pa.scalar(0))))
            self._reject(column.name, "in the future", values.mask(pc.greater(times, pa.scalar(now + AHEAD))))
        elif pa.types.is_int64(parsed.values.type):
            self._reject(column.name, "negative", values.mask(pc.less(parsed.values, pa.scalar(0))))
        elif column.name == "click_id" and not column.nullable:
            long = pc.greater(pc.utf8_length(parsed.values), pa.scalar(LONGEST))
            self._reject(column.name, f"longer than {LONGEST} characters", values.mask(long))
        return parsed.values

    def _further(self, name: str) -> pa.Array[Any]:
        """Pass a further column through; empty text is null, and bytes are text, as of a CSV file that is not UTF-8."""
        found = self._values(name)
        if found.type not in _TEXTS:
            return found
        parsed = values.text(name, found)
        for reason, bad in parsed.faults.items():
            self._reject(name, reason, bad)
        return parsed.values

    def _values(self, name: str) -> pa.Array[Any]:
        chunked = self.raw.column(name)
        return pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.nulls(0)

    def _reject(self, column: str, reason: str, bad: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(bad & self._open)
        if not len(rows):
            return
        self._open[rows] = False
        raw = self.raw.column(column)
        examples = [(self.first_row + int(row), raw[int(row)].as_py()) for row in rows[:EXAMPLES]]
        self.rejections += Rejections.of(column, reason, examples, count=len(rows))


def _parse(column: Column, found: pa.Array[Any], settings: ClicksSettings) -> values.Parsed:
    kind = arrow_type(column)
    if pa.types.is_timestamp(kind):
        return values.moments(column.name, found, settings.timezone)
    if pa.types.is_boolean(kind):
        return values.truth(column.name, found)
    if pa.types.is_int64(kind):
        return values.whole(column.name, found)
    if column.name == "ip" and settings.ip == "address":
        return values.address(column.name, found)
    return values.text(column.name, found)
