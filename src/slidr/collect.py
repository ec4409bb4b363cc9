"""Collect: the purchases that were reported to services go from their journals into the lake, once each.

A journal holds an account as a keyed hash, the lake as the log named it. An account that clicked in the lake's last
month gets its name back, since the hashes of those names are known; another one stands there as `key:` and its hash,
which still tells accounts apart, until a later collection finds its clicks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.clock import DAY
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.journal import Journal, Purchase
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.tables import CLICKS, PURCHASES

UNNAMED = "key:"
"""Stands before the hash of an account whose name is not known."""
_MONTH = 31 * DAY


class Collected(NamedTuple):
    """What a collection did.

    Attributes:
        reported: purchases that the journals hold.
        new: those that the lake lacked.
        named: those that it held under a hash, and now holds under the account's name.
        unnamed: those whose account is not known still.
    """

    reported: int
    new: int
    named: int
    unnamed: int


def collect(lake: Lake, journals: Sequence[Journal], ring: KeyRing) -> Collected:
    """Put the purchases of journals into the lake's PURCHASES; twice is as once.

    A purchase_id that the lake holds already, from a log or another journal, stays as it is.

    Args:
        lake: where to.
        journals: of the services, open to be read.
        ring: the secret keys that accounts were hashed with.

    Raises:
        JournalError: a journal cannot be read.
        TableError: the lake cannot be read or written.
    """
    reported = _first_reports(journals)
    held = _held(lake)
    waiting = [one for one in reported if _waits(one, held)]
    if not waiting:
        return Collected(len(reported), 0, 0, 0)
    names = _names(lake, waiting, ring)
    users = [None if (key := one.user_key) is None else names.get(key, _unnamed(key)) for one in waiting]
    chosen = [
        (one, user)
        for one, user in zip(waiting, users, strict=True)
        if one.purchase_id not in held or one.user_key in names
    ]
    if chosen:
        lake.merge(PURCHASES, _table(chosen))
    new = sum(one.purchase_id not in held for one, _ in chosen)
    unnamed = sum(user is not None and user.startswith(UNNAMED) for user in users)
    return Collected(len(reported), new, len(chosen) - new, unnamed)


def _first_reports(journals: Iterable[Journal]) -> list[Purchase]:
    """Return the purchases of all journals; one that several services were told of as it was told first."""
    first: dict[str, Purchase] = {}
    for journal in journals:
        for chunk in journal.purchases():
            for _, one in chunk:
                known = first.get(one.purchase_id)
                if known is None or one.reported_at < known.reported_at:
                    first[one.purchase_id] = one
    return list(first.values())


def _held(lake: Lake) -> dict[str, str | None]:
    """Return the purchases that the lake holds, and whose they are."""
    if not lake.exists(PURCHASES):
        return {}
    found = lake.read(PURCHASES, columns=["purchase_id", "user"])
    return dict(zip(found["purchase_id"].to_pylist(), found["user"].to_pylist(), strict=True))


def _waits(one: Purchase, held: dict[str, str | None]) -> bool:
    """Return whether the lake lacks a purchase, or the name of its account."""
    if one.purchase_id not in held:
        return True
    return one.user_key is not None and held[one.purchase_id] == _unnamed(one.user_key)


def _unnamed(key: int) -> str:
    return f"{UNNAMED}{key & (1 << 64) - 1:016x}"


def _names(lake: Lake, purchases: Sequence[Purchase], ring: KeyRing) -> dict[int, str]:
    """Return the accounts of purchases by their hashes, as far as they clicked in the last month."""
    keys = {one.user_key for one in purchases if one.user_key is not None}
    if not keys or not lake.exists(CLICKS):
        return {}
    wanted, names = np.array(sorted(keys), np.int64), {}
    secrets = [Pseudonymiser(key.secret) for key in ring.keys]
    start = max(one.time for one in purchases) - _MONTH
    for clicks in lake.batches(CLICKS, start=start, columns=["time", "user"]):
        users = pc.drop_null(clicks["user"].unique()).to_pylist()
        for secret in secrets:
            hashes = secret.texts(users).view(np.int64)
            for place in np.flatnonzero(np.isin(hashes, wanted)).tolist():
                names[int(hashes[place])] = users[place]
    return names


def _table(chosen: Sequence[tuple[Purchase, str | None]]) -> pa.Table:
    rows = [{**one._asdict(), "user": user} for one, user in chosen]
    return pa.Table.from_pylist(rows, schema=arrow_schema(PURCHASES))
