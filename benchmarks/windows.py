"""Windowed counts that slidr, DuckDB and Polars all express: 5 entities by 5 windows, on one core and one thread each.

The count of a window says how many clicks of the entity came so far, this one included, in the hop of the click and
the five before it, a hop being a sixth of the window. The log is in order of time. All begin with the same Arrow table
in memory. slidr's time includes the hashing of its strings; the peers are given the network as a column, and may
return the rows in any order. A peer is asked in several ways and counts by the quickest; every answer is compared
with slidr's in every row.

    POLARS_MAX_THREADS=1 python -m benchmarks.windows

The last line is one JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.log import days
from benchmarks.machine import pin, seconds_of
from numpy.typing import NDArray

from slidr.addresses import network
from slidr.clock import DAY
from slidr.features.backfill import fold_table
from slidr.features.catalogue import Clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import HOPS, compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.settings import duration

CLICKS = 1_000_000
ROUNDS = 3
ENTITIES = {
    "user": ("user",),
    "session": ("session",),
    "ip": ("ip",),
    "ip_user_agent": ("ip", "user_agent"),
    "network": ("network",),
}
HOP = {window: duration(window) // HOPS for window in ("1m", "10m", "1h", "6h", "24h")}
"""Length of a hop of each window, microseconds."""


def name_of(entity: str, window: str) -> str:
    """Return the name of a count."""
    return f"clicks_{entity}_{window}"


NAMES = [name_of(entity, window) for entity in ENTITIES for window in HOP]


def make_table(clicks: int) -> pa.Table:
    """Return one simulated day of CLICKS without ties in time, so that an order by time is the order of the log."""
    (day,) = days(clicks)
    places = np.arange(day.num_rows)
    times = np.maximum.accumulate(day["time"].cast(pa.int64()).to_numpy() - places) + places
    at = day.column_names.index("time")
    return day.set_column(at, "time", pa.chunked_array([pa.array(times).cast(day.schema.field("time").type)]))


def make_peers_table(clicks: pa.Table) -> pa.Table:
    """Return what the peers are given: the columns of the entities, time in microseconds, and place in the log."""
    addresses = pc.unique(clicks["ip"])
    found = [network(text) for text in addresses.to_pylist()]
    networks = pa.array([None if blob is None else blob.hex() for blob in found])
    table = clicks.select(["user", "session", "ip", "user_agent"])
    table = table.append_column("network", networks.take(pc.index_in(clicks["ip"], addresses)))
    table = table.append_column("time", clicks["time"].cast(pa.int64()))
    return table.append_column("place", pa.array(np.arange(clicks.num_rows)))


def slidr_way(clicks: pa.Table) -> Callable[[], list[NDArray[np.float32]]]:
    """Return the fold of a catalogue of these counts and nothing else; its columns are NAMES."""
    catalogue = tuple(Clicks(columns, window) for columns in ENTITIES.values() for window in HOP)
    layout, pseudonymiser = compile_catalogue(catalogue), Pseudonymiser(bytes(16))
    return lambda: [part.rows for part in fold_table(clicks, layout, pseudonymiser, EmbeddedStore(layout))]


def duckdb_ways(table: pa.Table) -> Iterator[tuple[str, Callable[[], pa.Table]]]:
    """Yield a frame for each window over one order by time, partitioned by the columns or by a hash of them."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.register("clicks", table)
    hashes = ", ".join(f"hash({', '.join(columns)}) AS {entity}_hash" for entity, columns in ENTITIES.items())
    for way in ("columns", "hashes"):
        counts = []
        for entity, columns in ENTITIES.items():
            by = ", ".join(columns) if way == "columns" else f"{entity}_hash"
            known = " AND ".join(f"{column} IS NOT NULL" for column in columns)
            counts += [
                f"CASE WHEN {known} THEN count(*) OVER (PARTITION BY {by} ORDER BY time RANGE BETWEEN"
                f" time % {hop} + {(HOPS - 1) * hop} PRECEDING AND CURRENT ROW) ELSE 0 END AS {name_of(entity, window)}"
                for window, hop in HOP.items()
            ]
        query = f"SELECT place, {', '.join(counts)} FROM (SELECT *, {hashes} FROM clicks)"  # noqa: S608 our own names
        yield way, partial(_ask_duckdb, connection, query)


def _ask_duckdb(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    return connection.sql(query).to_arrow_table()


def polars_ways(table: pa.Table) -> Iterator[tuple[str, Callable[[], pl.DataFrame]]]:
    """Yield a search of the first click that counts, within each group or in one order of all groups."""
    clicks = pl.DataFrame(table)
    yield "groups", partial(_search_groups, clicks)
    yield "sorted", partial(_search_sorted, clicks)


def _known(columns: tuple[str, ...]) -> pl.Expr:
    return pl.all_horizontal(pl.col(column).is_not_null() for column in columns)


def _since_oldest_hop(hop: int) -> pl.Expr:
    return pl.col("time") % hop + (HOPS - 1) * hop


def _search_groups(clicks: pl.DataFrame) -> pl.DataFrame:
    counted = pl.int_range(1, pl.len() + 1)
    time = pl.col("time")
    counts = [
        pl.when(_known(columns))
        .then((counted - time.search_sorted(time - _since_oldest_hop(hop), side="left")).over(columns))
        .otherwise(0)
        .alias(name_of(entity, window))
        for entity, columns in ENTITIES.items()
        for window, hop in HOP.items()
    ]
    return clicks.select("place", *counts)


def _search_sorted(clicks: pl.DataFrame) -> pl.DataFrame:
    """Search in one column of entity and time; Polars has no such search in two, so the entities are numbered."""
    counted, key = pl.int_range(1, pl.len() + 1), pl.col("key")
    parts = [clicks.select("place")]
    for entity, columns in ENTITIES.items():
        hashed = pl.struct(columns).hash() if len(columns) > 1 else pl.col(columns).hash()
        number = hashed.rank("dense").cast(pl.Int64)
        # Each entity has room for two days of the log and the longest window before it.
        offset = pl.col("time") - pl.col("time").min() + 2 * DAY
        keyed = clicks.select(
            "place", "time", _known(columns).alias("known"), (number * (8 * DAY) + offset).alias("key")
        )
        counts = [
            pl.when("known")
            .then(counted - key.search_sorted(key - _since_oldest_hop(hop), side="left"))
            .otherwise(0)
            .alias(name_of(entity, window))
            for window, hop in HOP.items()
        ]
        parts.append(keyed.sort("key").select("place", *counts).sort("place").drop("place"))
    return pl.concat(parts, how="horizontal")


def _differences(found: Any, rows: NDArray[np.float32]) -> int:
    """Return how many of a peer's counts are not slidr's; both kinds of table give their columns as arrays."""
    order = np.argsort(found["place"].to_numpy())
    columns = zip(NAMES, rows.T, strict=True)
    return sum(int(np.count_nonzero(found[name].to_numpy()[order] != column)) for name, column in columns)


def compare() -> dict[str, object]:
    """Return clicks a second of every way, and how many times slidr is as fast as the quickest way of each peer."""
    assert pl.thread_pool_size() == 1, "set POLARS_MAX_THREADS=1"
    clicks = make_table(CLICKS)
    table = make_peers_table(clicks)
    slidr = slidr_way(clicks)
    peers = {
        "duckdb": dict(duckdb_ways(table)),
        "polars": dict(polars_ways(table)),
    }
    slidr()  # compiles or loads the kernels
    seconds, parts = min((seconds_of(slidr) for _ in range(ROUNDS)), key=lambda run: run[0])
    rows = np.concatenate(parts)
    taken: dict[tuple[str, str], float] = {}
    for peer, ways in peers.items():
        for way, ask in ways.items():
            taken[peer, way], found = seconds_of(ask)
            assert not (wrong := _differences(found, rows)), f"{wrong} counts of {peer} {way} differ"
    quickest = {peer: min(ways, key=lambda way: taken[peer, way]) for peer, ways in peers.items()}
    # In turns, so that whatever else the machine does falls on all.
    for _ in range(ROUNDS - 1):
        seconds = min(seconds, seconds_of(slidr)[0])
        for peer, way in quickest.items():
            taken[peer, way] = min(taken[peer, way], seconds_of(peers[peer][way])[0])
    rates = {f"{peer}_{way}": round(clicks.num_rows / time) for (peer, way), time in taken.items()}
    ratios = {f"ratio_{peer}": round(taken[peer, way] / seconds, 2) for peer, way in quickest.items()}
    return ratios | {"windows": {"clicks": clicks.num_rows, "slidr": round(clicks.num_rows / seconds), **rates}}


if __name__ == "__main__":
    pin()
    print(json.dumps(compare()))
