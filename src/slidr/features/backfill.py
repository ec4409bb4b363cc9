"""Backfill: the fold over a log that lies in a table, by the same store that serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.addresses import network
from slidr.errors import FeatureError
from slidr.features.arithmetic import Whole
from slidr.features.catalogue import Catalogue, catalogue_hash
from slidr.features.clicks import ClickBatch, join_keys
from slidr.features.kernel import kernel
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.store import EmbeddedStore, Folded, Store
from slidr.tables import FEATURES

_CHUNK = 65_536
_PLACES = 1 << 14
"""Addresses of a chunk that are remembered, so that the network of one that repeats is not looked for again."""
_NETWORK = 7
"""Bytes of a network at most."""
_Item = TypeVar("_Item")


class Part(NamedTuple):
    """Some clicks of a log, as they were folded.

    Attributes:
        clicks: rows of CLICKS.
        batch: the same clicks as the fold takes them.
        folded: their rows and places in the fold.
    """

    clicks: pa.Table
    batch: ClickBatch
    folded: Folded


def backfill(
    clicks: pa.Table,
    catalogue: Catalogue,
    pseudonymiser: Pseudonymiser,
    store: Store | None = None,
    progress: Callable[[int], None] | None = None,
) -> pa.Table:
    """Return FEATURES for clicks in the order of the fold.

    Args:
        clicks: a CLICKS table.
        catalogue: the features.
        pseudonymiser: hashes the identifiers.
        store: the state to fold into, left warm behind the last click; a cold one where None.
        progress: called with the number of clicks after each chunk.
    """
    layout = compile_catalogue(catalogue)
    store = EmbeddedStore(layout) if store is None else store
    parts = list(fold_table(clicks, layout, pseudonymiser, store, progress))
    rows = np.concatenate([part.rows for part in parts] or [np.empty((0, len(layout.names)), np.float32)])
    sequences = np.concatenate([part.sequences for part in parts] or [np.empty(0, np.int64)])
    return features_table(clicks, catalogue, sequences, rows)


def fold_table(
    clicks: pa.Table,
    layout: Layout,
    pseudonymiser: Pseudonymiser,
    store: Store,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Folded]:
    """Fold a CLICKS table into a store, chunk by chunk; what the caller does not keep takes no memory."""
    for part in fold_log([clicks], layout, pseudonymiser, store, progress=progress):
        yield part.folded


def fold_log(
    tables: Iterable[pa.Table],
    layout: Layout,
    pseudonymiser: Pseudonymiser,
    store: Store,
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Part]:
    """Fold CLICKS tables in a row into a store, chunk by chunk, in memory that the length of the log does not change.

    Args:
        tables: the log, such as `Lake.batches` yields it.
        layout: the compiled catalogue.
        pseudonymiser: hashes the identifiers.
        store: the state to fold into.
        threads: with more than one, the next chunk is read and encoded while one is folded.
        progress: called with the number of clicks after each chunk.
    """
    chunks = (table.slice(start, _CHUNK) for table in tables for start in range(0, table.num_rows, _CHUNK))
    encoded = ((chunk, encode_table(chunk, layout, pseudonymiser)) for chunk in chunks)
    for chunk, batch in encoded if threads == 1 else _ahead(encoded):
        yield Part(chunk, batch, store.fold(batch))
        if progress is not None:
            progress(len(batch))


def usable_threads(wanted: int) -> int:
    """Return the number of threads: as many as wanted, or as cores that this process may use where 0."""
    return wanted or len(os.sched_getaffinity(0))


def _ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield items of which the next is computed on another thread while the caller uses one."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def features_table(
    clicks: pa.Table, catalogue: Catalogue, sequences: NDArray[np.int64], rows: NDArray[np.float32]
) -> pa.Table:
    """Return rows float32[n, features] as a FEATURES table; the metadata carry the catalogue's hash."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "click_id": clicks["click_id"],
        "time": clicks["time"],
        "sequence": pa.array(sequences),
    }
    by_column = np.ascontiguousarray(rows.T)
    columns |= {feature.name: pa.array(by_column[place]) for place, feature in enumerate(catalogue)}
    about = {"slidr.table": FEATURES.name, "slidr.version": str(FEATURES.version)}
    return pa.table(columns).replace_schema_metadata(about | {"slidr.catalogue": catalogue_hash(catalogue)})


def feature_rows(features: pa.Table, names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the feature columns of a FEATURES table as a matrix float32[n, features].

    Raises:
        FeatureError: a feature is missing, or was not computed for some clicks.
    """
    for name in names:
        # A Delta table keeps the columns of every catalogue that it was written with: null where another one was.
        if name not in features.column_names or features[name].null_count:
            raise FeatureError(
                "the features in the lake are of another catalogue; run `slidr backfill` again"
                f" (the first column that is missing: {name})"
            )
    rows = np.empty((len(names), features.num_rows), np.float32)
    for place, name in enumerate(names):
        rows[place] = features[name].to_numpy()
    return np.ascontiguousarray(rows.T)


def encode_table(clicks: pa.Table, layout: Layout, pseudonymiser: Pseudonymiser) -> ClickBatch:
    """Encode a CLICKS table for the fold."""
    single = [entity[0] for entity in layout.keys if len(entity) == 1]
    keys = np.empty((len(layout.keys), clicks.num_rows), np.uint64)
    for row, column in enumerate(single):
        if column != "network":
            keys[row] = _keys(_strings(clicks[column]), pseudonymiser)
    if "network" in single:
        addresses = _strings(clicks["ip"])
        keys[single.index("network")] = _network_keys(addresses, keys[single.index("ip")], pseudonymiser)
    join_keys(keys, layout, pseudonymiser)
    times = clicks["time"].cast(pa.int64()).to_numpy()
    logged_in = pc.fill_null(clicks["logged_in"].cast(pa.int8()), -1).to_numpy()
    return ClickBatch(_keys(_strings(clicks["click_id"]), pseudonymiser), times, logged_in, keys)


def _strings(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1 and column.type in {pa.string(), pa.large_string()}:
        return column.chunk(0)
    return pa.concat_arrays(column.cast(pa.large_string()).chunks or [pa.array([], pa.large_string())])


def _spans(array: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the bytes of strings, where each value begins, and which are not null."""
    _, offsets, data = array.buffers()
    width = np.int64 if array.type == pa.large_string() else np.int32
    starts = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return text, starts, np.asarray(array.is_valid())


def _keys(array: pa.Array, pseudonymiser: Pseudonymiser) -> NDArray[np.uint64]:
    return pseudonymiser.spans(*_spans(array))


@kernel()
def _repeated(keys: NDArray[np.uint64], seen: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    """Write for each key the row of an equal one: its own, or that of the last one at its place in `seen`."""
    mask = len(seen) - 1
    for row in range(len(keys)):
        place = np.int64(keys[row]) & mask
        if keys[seen[place]] != keys[row]:
            seen[place] = row
        rows[row] = seen[place]


@kernel(inline=True)
def _ipv4_network(data: NDArray[np.uint8], start: Whole, stop: Whole, octets: NDArray[np.uint8]) -> Whole:
    """Write b"4" and the first three octets of a plain dotted quad; returns how many bytes, 0 where it is none."""
    octet, digits, dots = 0, 0, 0
    octets[0] = 52
    for at in range(start, stop):
        letter = data[at]
        if 48 <= letter <= 57 and digits < 3 and not (digits > 0 and octet == 0):
            octet = 10 * octet + (letter - 48)
            digits += 1
        elif letter == 46 and digits > 0 and dots < 3 and octet <= 255:
            dots += 1
            octets[dots] = octet
            octet, digits = 0, 0
        else:
            return 0
    return 4 if dots == 3 and digits > 0 and octet <= 255 else 0


@kernel(inline=True)
def _ipv6_network(data: NDArray[np.uint8], start: Whole, stop: Whole, octets: NDArray[np.uint8]) -> Whole:
    """Write b"6" and the first three groups of an address that has all eight, the first not zero, as above."""
    group, digits, colons = 0, 0, 0
    octets[0] = 54
    for at in range(start, stop):
        letter = data[at] | 32
        if digits < 4 and 48 <= data[at] <= 57:
            group = 16 * group + (letter - 48)
            digits += 1
        elif digits < 4 and 97 <= letter <= 102:
            group = 16 * group + (letter - 87)
            digits += 1
        elif data[at] == 58 and digits > 0 and colons < 7 and (colons > 0 or group > 0):
            if colons < 3:
                octets[2 * colons + 1], octets[2 * colons + 2] = group >> 8, group & 255
            colons += 1
            group, digits = 0, 0
        else:
            return 0
    return 7 if colons == 7 and digits > 0 else 0


@kernel()
def _networks(
    text: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]],
    rows: NDArray[np.int64],
    networks: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Write the networks of some rows' plain addresses, one behind the other; those of others are left empty."""
    data, offsets, valid = text
    for place in range(len(rows)):
        start, stop = offsets[rows[place]], offsets[rows[place] + 1]
        size, room = 0, networks[ends[place] :]
        if valid[rows[place]]:
            size = _ipv4_network(data, start, stop, room)
            if size == 0:
                size = _ipv6_network(data, start, stop, room)
        ends[place + 1] = ends[place] + size


def _network_keys(addresses: pa.Array, keys: NDArray[np.uint64], pseudonymiser: Pseudonymiser) -> NDArray[np.uint64]:
    """Return the keys of addresses' networks; `keys` are those of the addresses, many of which repeat."""
    text = _spans(addresses)
    same = np.empty(len(keys), np.int64)
    _repeated(keys, np.zeros(_PLACES, np.int64), same)
    rows = np.flatnonzero(same == np.arange(len(keys)))
    networks, ends = np.empty(_NETWORK * (len(rows) + 1), np.uint8), np.zeros(len(rows) + 1, np.int64)
    _networks(text, rows, networks, ends)
    parsed = np.diff(ends) > 0
    found = np.zeros(len(keys), np.uint64)
    found[rows] = pseudonymiser.spans(networks, ends, parsed)
    others = rows[~parsed & text[2][rows]]
    found[others] = pseudonymiser.blobs([network(address) for address in addresses.take(pa.array(others)).to_pylist()])
    return found[same]
