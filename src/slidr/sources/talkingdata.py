"""TalkingData AdTracking (Kaggle 2018): clicks on mobile ads; the install of the app is the purchase.

The log has no account, so (ip, device, os) is the user, as is customary for this data; every field is an encoded
number. `campaign` is the app and `advertiser` the channel; `app`, `channel` and `os` also pass through. Times are UTC
and to the second. A click is named after its file and row, so that exact duplicates stay two clicks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.errors import SourceError
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import Feed, Log, logs, read_csv, refuse_same_stems, refuse_settings

FINAL_ATTRIBUTION = True
COLUMNS = ("ip", "app", "device", "os", "channel", "click_time", "attributed_time", "is_attributed")
EXAMPLE = """\
ip,app,device,os,channel,click_time,attributed_time,is_attributed
73487,18,1,9,121,2017-11-07 14:27:13,,0
73487,1,1,19,377,2017-11-07 14:37:28,,0
58978,19,0,24,213,2017-11-07 14:32:05,2017-11-07 14:33:01,1
"""


def read(clicks: ClicksSettings, purchases: PurchasesSettings) -> Iterator[Feed]:
    """Read a file, folder or glob of .csv or .csv.gz files.

    Raises:
        SourceError: a file cannot be read or lacks a column, or `clicks.ip` is not 'opaque'.
    """
    refuse_settings("talkingdata", clicks.columns, purchases.path)
    if clicks.ip != "opaque":
        raise SourceError(
            f"TalkingData encodes its addresses as numbers; set clicks.ip = 'opaque' (it is {clicks.ip!r})"
        )
    files = logs(clicks.path, "clicks.path", (".csv", ".csv.gz"))
    refuse_same_stems(files)
    rows = 0
    for log in files:
        first = 0
        for table, rejected in read_csv(log, COLUMNS):
            made = _clicks(log, table, first)
            yield Feed(made, _installs(table, made), rejected)
            first += table.num_rows
            rows += table.num_rows
    if not rows:
        raise SourceError(f"clicks.path = {clicks.path!r}: the log has no clicks")


def _clicks(log: Log, table: pa.Table, first: int) -> pa.Table:
    numbers = pa.array(np.arange(first, first + table.num_rows)).cast(pa.string())
    return pa.table(
        {
            "click_id": _joined(pa.scalar(f"{log.stem}-"), numbers, ""),
            "time": _utc(table["click_time"]),
            "user": _joined(table["ip"], table["device"], table["os"], "-"),
            "session": pa.nulls(table.num_rows, pa.string()),
            "ip": table["ip"],
            "user_agent": _joined(table["device"], table["os"], "-"),
            "device": table["device"],
            "logged_in": pa.nulls(table.num_rows, pa.bool_()),
            "campaign": table["app"],
            "advertiser": table["channel"],
            "app": table["app"],
            "channel": table["channel"],
            "os": table["os"],
        }
    )


def _installs(table: pa.Table, clicks: pa.Table) -> pa.Table:
    installed: Any = pc.equal(table["is_attributed"], pa.scalar("1", table["is_attributed"].type))
    bought = clicks.filter(installed)
    return pa.table(
        {
            "purchase_id": _joined(bought["click_id"], pa.scalar("-install"), ""),
            "time": _utc(table.filter(installed)["attributed_time"]),
            "user": bought["user"],
            "click_id": bought["click_id"],
        }
    )


def _joined(*parts: Any) -> Any:
    return pc.call_function("binary_join_element_wise", list(parts))


def _utc(times: Any) -> Any:
    """Mark times as UTC; an empty one stays empty."""
    kind = times.type
    empty: Any = pc.equal(times, pa.scalar("", kind))
    return pc.call_function("if_else", [empty, times, _joined(times, pa.scalar("Z", kind), pa.scalar("", kind))])
