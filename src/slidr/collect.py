"""Collect: the purchases that were reported to services go from their journals into the lake, once each.

A journal holds an account as a keyed hash, the lake as the log named it. An account that clicked in the lake's last
month gets its name back, since the hashes of those names are known; another one stands there as `key:` and its hash,
which still tells accounts apart, until a later collection, within a month of the purchase, finds its clicks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.clock import DAY, midnight
from slidr.errors import JournalError
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.journal import Journal, Purchase
from slidr.journal.told import tell_collected
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.tables import CLICKS, PURCHASES

UNNAMED = "key:"
"""Stands before the hash of an account whose name is not known."""
_MONTH = 31 * DAY


class Collected(NamedTuple):
    """What a collection did.

    Attributes:
        reported: purchases that the journals were told of since the last collection.
        new: those that the lake lacked.
        named: those of the last month that it held under a hash, and now holds under the account's name.
        unnamed: those of the last month whose account is not known still.
    """

    reported: int
    new: int
    named: int
    unnamed: int


def collect(lake: Lake, journals: Sequence[Journal], ring: KeyRing) -> Collected:
    """Put the purchases that journals were told of into the lake's PURCHASES; twice is as once.

    Up to where a journal was collected is an application transaction of PURCHASES, so that each purchase is read once;
    a collection that ended before it was committed is done again, and changes nothing. A purchase_id that the lake
    holds already, from a log or another journal, stays as it is. Journals are told up to where their purchases may
    leave them.

    Args:
        lake: where to.
        journals: of the services, open to be read.
        ring: the secret keys that accounts were hashed with.

    Raises:
        JournalError: a journal cannot be read, or is an older copy of one that was collected.
        TableError: the lake cannot be read or written.
    """
    parts = [_behind(lake, journal) for journal in journals]
    reported = _first_reports(part.purchases for part in parts)
    held = _held(lake, reported)
    fresh = [one for one in reported.values() if one.purchase_id not in held]
    rows = _rows(fresh)
    if (waiting := _waiting(lake, fresh)) is not None:
        rows = pa.concat_tables([rows, waiting], promote_options="permissive")
    rows = _named(lake, rows, ring)
    known = ~_unnamed(rows).to_numpy()
    chosen = known | (np.arange(rows.num_rows) < len(fresh))
    if chosen.any():
        lake.merge(PURCHASES, rows.filter(pa.array(chosen)))
    for journal, part in zip(journals, parts, strict=True):
        if part.last:
            lake.append(PURCHASES, _rows([]), (part.application, part.last))
        if upto := lake.transaction(PURCHASES, part.application):
            # Also where an earlier collection ended before it was told.
            tell_collected(journal.path, journal.id, upto)
    named = int(np.count_nonzero(known[len(fresh) :]))
    return Collected(len(reported), len(fresh), named, int(np.count_nonzero(~known)))


class _Behind(NamedTuple):
    """What a journal was told of behind what was collected of it.

    Attributes:
        application: whose transaction says what was collected.
        purchases: in their order.
        last: the number of the last one; 0 where there is none.
    """

    application: str
    purchases: list[Purchase]
    last: int


def _behind(lake: Lake, journal: Journal) -> _Behind:
    application = f"{journal.id}:purchases"
    after = lake.transaction(PURCHASES, application) or 0
    if after > (newest := journal.last_purchase):
        raise JournalError(
            f"{journal.path} was told of {newest} purchases, and {lake.address(PURCHASES)} has them up to number"
            f" {after}: this is an older copy of the journal {journal.id}; what it is told now would pass for"
            " collected: bring back the newer one"
        )
    found = [numbered for chunk in journal.purchases(after) for numbered in chunk]
    return _Behind(application, [one for _, one in found], found[-1][0] if found else 0)


def _first_reports(parts: Iterable[Iterable[Purchase]]) -> dict[str, Purchase]:
    """Return the purchases of all journals by id; one that several services were told of as it was told first."""
    first: dict[str, Purchase] = {}
    for one in chain.from_iterable(parts):
        known = first.get(one.purchase_id)
        if known is None or one.reported_at < known.reported_at:
            first[one.purchase_id] = one
    return first


def _held(lake: Lake, wanted: Collection[str]) -> set[str]:
    """Return those of some purchase_ids that the lake holds, on whichever day."""
    held: set[str] = set()
    if wanted and lake.exists(PURCHASES):
        ids = pa.array(sorted(wanted), pa.string())
        for part in lake.batches(PURCHASES, columns=["purchase_id", "time"]):
            held.update(part["purchase_id"].filter(pc.is_in(part["purchase_id"], value_set=ids)).to_pylist())
    return held


def _waiting(lake: Lake, fresh: Sequence[Purchase]) -> pa.Table | None:
    """Return the lake's purchases of the month before the newest one whose account is not known; None for none."""
    days = lake.days(PURCHASES)
    if not days:
        return None
    start = max([midnight(days[-1]), *(one.time for one in fresh)]) - _MONTH
    parts = [part.filter(_unnamed(part)) for part in lake.batches(PURCHASES, start=start)]
    return pa.concat_tables(parts, promote_options="permissive") if parts else None


def _unnamed(rows: pa.Table) -> pa.ChunkedArray[Any]:
    """Return which purchases stand under the hash of their account; a log may have accounts that begin like one."""
    return pc.fill_null(pc.match_substring_regex(rows["user"], f"^{UNNAMED}[0-9a-f]{{16}}$"), fill_value=False)


def _named(lake: Lake, rows: pa.Table, ring: KeyRing) -> pa.Table:
    """Return purchases under the names of their accounts, as far as these clicked in the lake's last month."""
    users = rows["user"].to_pylist()
    keys = {int(user.removeprefix(UNNAMED), 16) for user in users if user is not None}
    if not keys:
        return rows
    start = pc.max(rows["time"]).cast(pa.int64()).as_py() - _MONTH
    names = {f"{UNNAMED}{key:016x}": name for key, name in _names(lake, keys, start, ring).items()}
    known = pa.array([None if user is None else names.get(user, user) for user in users], pa.string())
    return rows.set_column(rows.column_names.index("user"), "user", known)


def _names(lake: Lake, keys: Collection[int], start: int, ring: KeyRing) -> dict[int, str]:
    """Return accounts by their hashes, as far as they clicked since a time."""
    if not lake.exists(CLICKS):
        return {}
    wanted, names = np.array(sorted(keys), np.uint64), {}
    secrets = [Pseudonymiser(key.secret) for key in ring.keys]
    for clicks in lake.batches(CLICKS, start=start, columns=["time", "user"]):
        users = pc.drop_null(clicks["user"].unique()).to_pylist()
        for secret in secrets:
            hashes = secret.texts(users)
            for place in np.flatnonzero(np.isin(hashes, wanted)).tolist():
                names[int(hashes[place])] = users[place]
    return names


def _rows(purchases: Sequence[Purchase]) -> pa.Table:
    """Return purchases as rows of the lake, each under the hash of its account."""
    rows = [
        {**one._asdict(), "user": None if one.user_key is None else f"{UNNAMED}{one.user_key & (1 << 64) - 1:016x}"}
        for one in purchases
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(PURCHASES))
