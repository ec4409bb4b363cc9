"""People: purchases of the lake, and the accounts that are trusted most since they bought on the most days.

Who bought on several days within months is a person, with hardly a doubt. Their clicks come every minute, where
purchases come hours after the click; so they are the first to tell of a bundle that finds people invalid.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.errors import TableError
from slidr.features.keys import Pseudonymiser
from slidr.lake.delta import Lake
from slidr.monitor.counting import Int64s
from slidr.tables import PURCHASES

_HASHED = "key:"
"""Stands before the hash of an account whose name the lake does not know; see `slidr.collect`."""
Bought = tuple[str, int, int | None, str | None]
"""A purchase: its id, its time, the keyed hash of its account, the click that it names."""


def purchases_of(lake: Lake, hashes: Pseudonymiser, start: int) -> Iterator[list[Bought]]:
    """Yield the lake's purchases from a time on.

    Raises:
        TableError: the lake cannot be read.
    """
    for found in lake.batches(PURCHASES, start=start, columns=["purchase_id", "time", "user", "click_id"]):
        times = found["time"].cast(pa.int64()).to_pylist()
        users = [None if key == 0 else key for key in account_keys(found["user"].to_pylist(), hashes).tolist()]
        columns = (found["purchase_id"].to_pylist(), times, users, found["click_id"].to_pylist())
        yield list(zip(*columns, strict=True))


def account_keys(accounts: list[str | None], hashes: Pseudonymiser) -> Int64s:
    """Return the keyed hashes of accounts, int64[n]; 0 where there is none.

    >>> hashes = Pseudonymiser(bytes(16))
    >>> int(account_keys(["key:00000000000000ff", None], hashes)[0])
    255
    """
    keys = hashes.texts(accounts).view(np.int64)
    for place, account in enumerate(accounts):
        if account is not None and account.startswith(_HASHED):
            try:
                keys[place] = np.uint64(int(account.removeprefix(_HASHED), 16)).astype(np.int64)
            except (ValueError, OverflowError):
                continue  # An account may be called so.
    return keys


def trusted_accounts(lake: Lake, hashes: Pseudonymiser, start: int, *, most: int, days: int) -> Int64s:
    """Return the hashes of the most trusted accounts, sorted, int64[n].

    They are those that bought on the most days, UTC, and of these those with the most purchases.

    Args:
        lake: whose purchases count.
        hashes: hashes with the key that serves.
        start: from when purchases count, microseconds UTC.
        most: how many accounts, at most.
        days: fewest days of purchase.

    Raises:
        TableError: the lake cannot be read.
    """
    if not lake.exists(PURCHASES) or not most:
        return np.zeros(0, np.int64)
    parts = []
    for found in lake.batches(PURCHASES, start=start, columns=["time", "user"]):
        bought = pa.table({"user": found["user"], "day": found["time"].cast(pa.date32())})
        parts.append(
            bought.filter(pc.is_valid(bought["user"])).group_by(["user", "day"]).aggregate([([], "count_all")])
        )
    if not parts:
        return np.zeros(0, np.int64)
    by_day = pa.concat_tables(parts).group_by(["user", "day"]).aggregate([("count_all", "sum")])
    accounts = by_day.group_by("user").aggregate([("count_all_sum", "count"), ("count_all_sum", "sum")])
    accounts = accounts.rename_columns({"count_all_sum_count": "days", "count_all_sum_sum": "purchases"})
    accounts = accounts.filter(pc.greater_equal(accounts["days"], days))
    order = [("days", "descending"), ("purchases", "descending"), ("user", "ascending")]
    chosen = accounts.sort_by(order)[:most]
    return np.sort(account_keys(chosen["user"].to_pylist(), hashes))


def known_version(lake: Lake) -> int:
    """Return the version of the lake's purchases, -1 where there are none.

    Raises:
        TableError: the lake cannot be read.
    """
    try:
        return lake.version(PURCHASES) if lake.exists(PURCHASES) else -1
    except OSError as fault:
        raise TableError(f"the lake's purchases cannot be read: {fault}") from fault
