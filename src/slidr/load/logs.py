"""Logs that a source of slidr reads, as clicks to be sent; needs the lake extra."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pyarrow as pa

from slidr import extensions
from slidr.clock import Clock
from slidr.lake.door import Seen, admit_clicks
from slidr.load.clicks import Logged
from slidr.settings import Settings

_ROWS = 5_000  # made into Python objects at once


def read_log(settings: Settings, clock: Clock) -> Iterator[Logged]:
    """Read the click log that the settings name, with their source and their mapping of columns, in its own order.

    Rows that do not pass the lake's door are left out.

    Raises:
        SettingsError: the source is unknown.
        SourceError: the log cannot be read.
        TableError: a column is missing or misspelt.
    """
    source = extensions.load("slidr.sources", settings.clicks.source)
    seen = Seen()
    for feed in source.read(settings.clicks, settings.purchases):
        if feed.clicks is not None:
            admitted, _ = admit_clicks(feed.clicks, settings=settings.clicks, now=clock.now(), seen=seen)
            for start in range(0, admitted.num_rows, _ROWS):
                yield from _clicks(admitted.slice(start, _ROWS))


def _clicks(table: pa.Table) -> Iterator[Logged]:
    times = table["time"].cast(pa.int64()).to_pylist()
    for time, row in zip(times, table.drop_columns(["time"]).to_pylist(), strict=True):
        click_id = row.pop("click_id")
        fields = {name: value for name, value in row.items() if value is not None}
        yield Logged(click_id, time, msgspec.json.encode(fields, enc_hook=str)[1:-1])
