"""Purchase: a click is human if it led to a purchase within the attribution window.

A purchase that carries a click_id belongs to that click, as whoever attributed it decided, if it came no earlier than
the click and no later than the window after it. One without belongs to the last click of its user at or before it,
within the window (last touch); of clicks at one time, to the one whose click_id sorts last. A purchase with neither is
ignored.

Source: Real-Time Detection of Robotic Traffic in Online Advertising, IAAI 2023: purchasing clicks are human.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.labels.times import microseconds
from slidr.settings import LabelsSettings, duration


def human(clicks: pa.Table, purchases: pa.Table, *, as_of: int, settings: LabelsSettings) -> NDArray[np.bool_]:
    """Return which clicks led to a purchase known as of a time, bool[n].

    Args:
        clicks: n rows of CLICKS, in any order.
        purchases: rows of PURCHASES, in any order.
        as_of: microseconds since 1970, UTC; later purchases do not count.
        settings: the attribution window.
    """
    return np.asarray(pc.is_valid(purchasers(clicks, purchases, as_of=as_of, settings=settings)).to_numpy())


def purchasers(
    clicks: pa.Table, purchases: pa.Table, *, as_of: int, settings: LabelsSettings
) -> pa.ChunkedArray[pa.StringScalar]:
    """Return who bought after each click, string[n], null where nobody did; see `human` for the arguments.

    It is the purchase's user, else the click's user, else the click_id: a buyer whom nothing names is a buyer of his
    own. Of several purchases of a click the first counts, and of those at one time the one whose purchase_id sorts
    first.
    """
    window = duration(settings.attribution_window)
    known = purchases.filter(pc.less_equal(microseconds(purchases), pa.scalar(as_of)))
    known = known.sort_by([("time", "ascending"), ("purchase_id", "ascending")])
    first = np.minimum(_by_click(clicks, known, window), _by_user(clicks, known, window))
    bought = pa.array(first, mask=first == known.num_rows)
    buyer = pc.coalesce(known["user"].take(bought), clicks["user"], clicks["click_id"])
    return pc.if_else(bought.is_valid(), buyer, pa.scalar(None, pa.string()))


def _codes(values: pa.ChunkedArray[pa.StringScalar], known: pa.Array[pa.StringScalar]) -> NDArray[np.int64]:
    """Return the place of each value among the known ones, -1 where it is not among them."""
    places = pc.call_function("index_in", [values], pc.SetLookupOptions(known, skip_nulls=True))
    return np.asarray(places.cast(pa.int64()).fill_null(-1).to_numpy(), dtype=np.int64)


def _by_click(clicks: pa.Table, purchases: pa.Table, window: int) -> NDArray[np.int64]:
    """Return the row of each click's first purchase that names it, int64[n]; the number of purchases where none."""
    named = purchases["click_id"].unique()
    place = _codes(clicks["click_id"], named)
    found = _codes(purchases["click_id"], named)
    # The last place is that of clicks that bought nothing, and of purchases of clicks that are not here.
    clicked = np.full(len(named) + 1, np.iinfo(np.int64).max)
    np.minimum.at(clicked, place, microseconds(clicks).to_numpy())
    since = microseconds(purchases).to_numpy() - clicked[found]
    counts = (found >= 0) & (since >= 0) & (since <= window)
    first = np.full(len(named) + 1, purchases.num_rows)
    np.minimum.at(first, found[counts], np.flatnonzero(counts))
    return first[place]


def _by_user(clicks: pa.Table, purchases: pa.Table, window: int) -> NDArray[np.int64]:
    """Return the row of each click's first purchase by last touch, int64[n]; the number of purchases where none."""
    first = np.full(clicks.num_rows, purchases.num_rows)
    rows = np.flatnonzero(pc.and_(pc.is_null(purchases["click_id"]), pc.is_valid(purchases["user"])).to_numpy())
    purchases = purchases.take(pa.array(rows))
    buyers = purchases["user"].unique()
    of_buyers = np.flatnonzero(_codes(clicks["user"], buyers) >= 0)
    if not len(of_buyers):
        return first
    candidates = pa.table(
        {
            "user": _codes(clicks["user"], buyers)[of_buyers],
            "time": microseconds(clicks).to_numpy()[of_buyers],
            "click_id": clicks["click_id"].take(pa.array(of_buyers)),
        }
    )
    order = pc.sort_indices(candidates, sort_keys=[(name, "ascending") for name in candidates.column_names]).to_numpy()
    users, times = (candidates[name].to_numpy()[order] for name in ("user", "time"))
    # Times become their ranks, so that user and time fit one sortable number.
    moments = np.unique(times)
    keys = users * (len(moments) + 1) + np.searchsorted(moments, times, side="right")
    bought = microseconds(purchases).to_numpy()
    buyer = _codes(purchases["user"], buyers)
    wanted = buyer * (len(moments) + 1) + np.searchsorted(moments, bought, side="right")
    last = np.searchsorted(keys, wanted, side="right") - 1
    hit = (last >= 0) & (users[last] == buyer) & (bought - times[last] <= window)
    np.minimum.at(first, of_buyers[order[last[hit]]], rows[hit])
    return first
