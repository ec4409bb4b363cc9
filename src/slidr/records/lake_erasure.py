"""Erasure: a person's fields leave the lake, and the bytes of older versions with them; what was billed stays.

A click of the person keeps its row and its place in the fold, so that a replay finds no gap, but neither keys nor
features, those of a challenger and of the backfill among them. DECISIONS and ADJUSTMENTS hold no field of a person and
are not touched.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.clock import DAY, midnight
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.journal.erasing import zeroed
from slidr.journal.records import decode_context
from slidr.lake.delta import Lake
from slidr.lake.stored import reported
from slidr.tables import CLICKS, CONTEXTS, FEATURES, LABELS, PURCHASES, ROWS, SHADOWS, Table

ERASED = (CLICKS, PURCHASES, LABELS, FEATURES, ROWS, SHADOWS)
"""Tables that are erased in."""
_PURPOSE = b"slidr erase\0"
_FIELDS = {
    CLICKS.name: ("user", "session", "ip", "user_agent", "impression"),
    PURCHASES.name: ("user",),
    LABELS.name: ("purchaser",),
}
_NAMED = {table.name: [name for name in ("click_id", "user", "purchaser") if name in table.names] for table in ERASED}
"""Columns by which a person's rows are found: the others are read of days that have some alone."""
_USER = ("user",)
_FALSE = pa.scalar(value=False)
_WORD = 8  # bytes of a key
_RETENTION = "delta.logRetentionDuration"
_KEPT, _NOTHING = "interval 30 days", "interval 0 days"  # Delta's own default, and what an erasure asks for
_Erasing = Callable[[pa.Table], tuple[NDArray[np.bool_], pa.Table]]


def name_of(user: str, ring: KeyRing) -> str:
    """Return what the audit log calls a person: HMAC-SHA256 (RFC 2104) with the oldest secret key."""
    return hmac.new(ring.keys[0].secret, _PURPOSE + user.encode(), hashlib.sha256).hexdigest()


def erase_from_lake(lake: Lake, user: str, ring: KeyRing, *, dry_run: bool = False) -> dict[str, int]:
    """Erase a person's fields, and return how many rows of each table had some; a second time finds none.

    Everything is found anew each time, and older versions are removed even where nothing is found: what a kill left
    undone is done by the next call. Nobody else may write to the lake meanwhile.

    Args:
        lake: where.
        user: as the logs name the person.
        ring: the secret keys, of which one hashed the person's clicks.
        dry_run: only count.

    Raises:
        TableError: a table cannot be read or written, or was written to meanwhile.
    """
    # Clicks are found by CLICKS, where the raw identifier stands until the end, and by ROWS: what is found by these
    # alone goes before them.
    entities = _entities(lake)
    logged = _click_ids(lake, user)
    found = _rows_keyed(lake, user, ring, logged, entities)
    clicks = logged | found
    erasing: tuple[tuple[Table, _Erasing], ...] = (
        (SHADOWS, lambda data: _rowless(data, clicks)),
        (FEATURES, lambda data: _featureless(data, clicks)),
        (ROWS, lambda data: _keyless(data, found, entities)),
        (PURCHASES, _nulling(PURCHASES, "user", user, clicks)),
        (LABELS, _nulling(LABELS, "purchaser", user, clicks)),
        (CLICKS, _nulling(CLICKS, "user", user, clicks)),
    )
    counts = {table.name: _rewrite(lake, table, erased, user, clicks, dry_run=dry_run) for table, erased in erasing}
    if not dry_run:
        for table in ERASED:
            if lake.exists(table):
                _forget(lake, table)
    return counts


def _click_ids(lake: Lake, user: str) -> set[str]:
    ids: set[str] = set()
    if lake.exists(CLICKS):
        for data in lake.batches(CLICKS, columns=["click_id", "user"]):
            ids |= set(data["click_id"].filter(pc.coalesce(pc.equal(data["user"], user), _FALSE)).to_pylist())
    return ids


def _entities(lake: Lake) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return what the keys of rows are of, by the context that rows name."""
    if not lake.exists(CONTEXTS):
        return {}
    held = lake.read(CONTEXTS).to_pydict()
    documents = zip(held["context"], held["document"], strict=True)
    return {name: decode_context(document).keys for name, document in documents}


def _rows_keyed(
    lake: Lake, user: str, ring: KeyRing, ids: set[str], entities: dict[str, tuple[tuple[str, ...], ...]]
) -> set[str]:
    """Return the clicks of ROWS that are the person's, by the click or by the hash of the user with any key."""
    if not lake.exists(ROWS):
        return set()
    hashes = {Pseudonymiser(key.secret).texts([user]).astype("<u8").tobytes() for key in ring.keys}
    found: set[str] = set()
    for data in lake.batches(ROWS, columns=["click_id", "context", "keys"]):
        for click, context, words in zip(*(data[name].to_pylist() for name in data.column_names), strict=True):
            named = entities.get(context, ())
            # While secret keys rotate, the keys of the new one follow those of the old one.
            places = (named.index(_USER), named.index(_USER) + len(named)) if _USER in named else ()
            if click in ids or any(words[_WORD * place : _WORD * (place + 1)] in hashes for place in places):
                found.add(click)
    return found


def _keyless(
    data: pa.Table, clicks: set[str], entities: dict[str, tuple[tuple[str, ...], ...]]
) -> tuple[NDArray[np.bool_], pa.Table]:
    """Zero the keys of clicks, but for the click's own hash behind them while keys rotate, and empty their rows."""
    mine = _among(data["click_id"], clicks)
    contexts, keys, rows = (data[name].to_pylist() for name in ("context", "keys", "row"))
    changed = np.zeros(len(mine), np.bool_)
    for place in np.flatnonzero(mine).tolist():
        names = entities.get(contexts[place])
        empty = bytes(len(keys[place])) if names is None else zeroed(keys[place], names)
        changed[place] = empty != keys[place] or rows[place] != b""
        keys[place], rows[place] = empty, b""
    for name, values in (("keys", keys), ("row", rows)):
        field = data.schema.field(name)
        data = data.set_column(data.column_names.index(name), field, pa.array(values, field.type))
    return changed, data


def _rowless(data: pa.Table, clicks: set[str]) -> tuple[NDArray[np.bool_], pa.Table]:
    """Empty the rows of clicks; one that is null stands in ROWS."""
    mine = _among(data["click_id"], clicks)
    changed = mine & pc.fill_null(pc.greater(pc.binary_length(data["row"]), 0), fill_value=False).to_numpy()
    empty = pa.scalar(b"", data["row"].type)
    place = data.column_names.index("row")
    return changed, data.set_column(place, data.schema.field("row"), pc.if_else(changed, empty, data["row"]))


def _featureless(data: pa.Table, clicks: set[str]) -> tuple[NDArray[np.bool_], pa.Table]:
    """Zero the features of clicks, until they are folded again without whose they are."""
    mine = _among(data["click_id"], clicks)
    changed = np.zeros(len(mine), np.bool_)
    for place, name in enumerate(data.column_names):
        if name in FEATURES.names:
            continue
        values, field = data[name], data.schema.field(name)
        # Null is a column of another catalogue.
        mark = mine & pc.fill_null(pc.not_equal(values, 0), fill_value=False).to_numpy()
        changed |= mark
        data = data.set_column(place, field, pc.if_else(mark, pa.scalar(0, field.type), values))
    return changed, data


def _nulling(table: Table, column: str, user: str, clicks: set[str]) -> _Erasing:
    """Return what nulls a table's fields of a person; of a click's, those that slidr does not know too."""

    def erased(data: pa.Table) -> tuple[NDArray[np.bool_], pa.Table]:
        mine = np.array(pc.coalesce(pc.equal(data[column], user), _FALSE).to_numpy())
        fields = list(_FIELDS[table.name])
        if table is CLICKS:
            mine |= _among(data["click_id"], clicks)
            fields += [name for name in data.column_names if name not in table.names]
        changed = np.zeros(len(mine), np.bool_)
        for name in fields:
            field = data.schema.field(name)
            changed |= mine & data[name].is_valid().to_numpy()
            null = pa.scalar(None, field.type)
            data = data.set_column(data.column_names.index(name), field, pc.if_else(pa.array(mine), null, data[name]))
        return changed, data

    return erased


def _among(ids: pa.ChunkedArray, clicks: set[str]) -> NDArray[np.bool_]:
    return np.array(pc.is_in(ids, value_set=pa.array(sorted(clicks), ids.type)).to_numpy())


def _rewrite(lake: Lake, table: Table, erased: _Erasing, user: str, clicks: set[str], *, dry_run: bool) -> int:
    """Write the days anew that hold fields of the person, each in one commit; return in how many rows."""
    total = 0
    for day in lake.days(table):
        seen, start = lake.version(table), midnight(day)
        named = lake.read(table, start=start, end=start + DAY, columns=_NAMED[table.name], version=seen)
        if not any(_among(column, clicks | {user}).any() for column in named.columns):
            continue
        changed, data = erased(lake.read(table, start=start, end=start + DAY, version=seen))
        total += int(changed.sum())
        if changed.any() and not dry_run:
            lake.write(table, data, day=day, seen=seen)
    return total


def _forget(lake: Lake, table: Table) -> None:
    """Delete the files that only older versions read, and the log's entries, whose statistics name least and most."""
    with reported(lake.address(table)):
        lake.open(table).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
        delta = lake.open(table)
        kept = delta.metadata().configuration.get(_RETENTION, _KEPT)
        delta.alter.set_table_properties({_RETENTION: _NOTHING})
        delta = lake.open(table)
        delta.create_checkpoint()
        delta.cleanup_metadata()
        # An erasure that was ended on the way has left it as it set it.
        delta.alter.set_table_properties({_RETENTION: _KEPT if kept == _NOTHING else kept})
