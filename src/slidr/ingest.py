"""Ingest: from the logs of a source, through the door, to CLICKS and PURCHASES."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from slidr import extensions
from slidr.clock import Clock
from slidr.errors import SettingsError, SourceError, TableError
from slidr.lake.delta import Lake
from slidr.lake.door import Seen, admit_clicks, admit_purchases
from slidr.lake.schema import arrow_schema
from slidr.settings import Settings
from slidr.tables import CLICKS, PURCHASES, Rejections


class Log(NamedTuple):
    """A log as it passed the door.

    Attributes:
        clicks: CLICKS, by time and then click_id.
        purchases: PURCHASES, by time.
        rejections: the rows that did not pass, counted by column and reason, with examples.
        final: the source delivers final attribution, so labels are mature at once.
    """

    clicks: pa.Table
    purchases: pa.Table
    rejections: Rejections
    final: bool


def read_log(settings: Settings, clock: Clock, progress: Callable[[int], None] | None = None) -> Log:
    """Read the click log and the purchase log that the settings name.

    Args:
        settings: source, paths and column mapping.
        clock: tells which times lie in the future.
        progress: called with the number of clicks after each chunk.

    Raises:
        SettingsError: the source is unknown, or a column that slices the traffic holds lists or structs.
        SourceError: a log cannot be read, or holds no click that passes the door.
        TableError: a column is missing or misspelt.
    """
    source = extensions.load("slidr.sources", settings.clicks.source)
    clicks, purchases = [], []
    rejections = Rejections()
    seen_clicks, seen_purchases = Seen(), Seen()
    for feed in source.read(settings.clicks, settings.purchases):
        rejections += feed.rejected
        if feed.clicks is not None:
            admitted, refused = admit_clicks(feed.clicks, settings=settings.clicks, now=clock.now(), seen=seen_clicks)
            clicks.append(admitted)
            rejections += refused
            if progress is not None:
                progress(feed.clicks.num_rows)
        if feed.purchases is not None:
            admitted, refused = admit_purchases(
                feed.purchases, settings=settings.clicks, now=clock.now(), seen=seen_purchases
            )
            purchases.append(admitted)
            rejections += refused
    try:
        found = pa.concat_tables(clicks, promote_options="permissive") if clicks else arrow_schema(CLICKS).empty_table()
    except (pa.ArrowTypeError, pa.ArrowInvalid) as fault:
        raise TableError(
            f"{settings.clicks.path}: a column changes its type within the log: {fault}; give it one type"
        ) from None
    if found.num_rows == 0:
        raise SourceError("\n".join([f"{settings.clicks.path}: no click passed the door", *rejections.summary()]))
    for name in settings.slices.columns:
        if name in found.column_names and pa.types.is_nested(found[name].type):
            raise SettingsError(
                f"slices.columns: column {name!r} of {settings.clicks.path} holds {found[name].type}, and a slice "
                "takes one value; name another column"
            )
    bought = pa.concat_tables(purchases) if purchases else arrow_schema(PURCHASES).empty_table()
    return Log(
        found.sort_by([("time", "ascending"), ("click_id", "ascending")]),
        bought.sort_by([("time", "ascending"), ("purchase_id", "ascending")]),
        rejections,
        bool(source.FINAL_ATTRIBUTION),
    )


def ingest(settings: Settings, lake: Lake, clock: Clock, progress: Callable[[int], None] | None = None) -> Log:
    """Read the logs and merge them into the lake, so that twice is as once.

    On the UTC days that the logs touch, a click or purchase replaces the one of the same identifier, and the others
    stay; `Rejections` counts repeats within the log, not these.

    Raises as `read_log` does, and `TableError` where the lake does not take the rows.
    """
    log = read_log(settings, clock, progress)
    lake.merge(CLICKS, log.clicks)
    lake.merge(PURCHASES, log.purchases)
    return log
