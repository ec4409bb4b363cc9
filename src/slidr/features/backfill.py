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
from slidr.features.catalogue import Catalogue, catalogue_hash
from slidr.features.clicks import ClickBatch, join_keys
from slidr.features.kernel import kernel
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.store import EmbeddedStore, Folded, Store
from slidr.tables import FEATURES

_CHUNK = 65_536
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
    coded = {name: _coded(clicks[name]) for name in ("ip", "user_agent")}
    for row, column in enumerate(single):
        source = "ip" if column == "network" else column
        if source in coded:
            values, places = coded[source]
            hashes = _network_keys(values, pseudonymiser) if column == "network" else _keys(values, pseudonymiser)
            # Place -1 is null, and so is the last hash.
            np.take(np.append(hashes, np.uint64(0)), places, out=keys[row], mode="wrap")
        else:
            keys[row] = _keys(_strings(clicks[column]), pseudonymiser)
    join_keys(keys, len(single), layout, pseudonymiser)
    times = clicks["time"].cast(pa.int64()).to_numpy()
    logged_in = pc.fill_null(clicks["logged_in"].cast(pa.int8()), -1).to_numpy()
    return ClickBatch(_keys(_strings(clicks["click_id"]), pseudonymiser), times, logged_in, keys)


def _strings(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.cast(pa.large_string()).chunks or [pa.array([], pa.large_string())])


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """Return the distinct values of a string column, and the place of each row's among them, -1 for null.

    It pays where a value repeats and takes longer to hash or to parse than to look up: the text of a browser, an ip.
    """
    coded = _strings(column).dictionary_encode()
    return coded.dictionary, pc.fill_null(coded.indices, -1).to_numpy()


def _spans(array: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the bytes of large strings, where each value begins, and which are not null."""
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return text, starts, np.asarray(array.is_valid())


def _keys(array: pa.Array, pseudonymiser: Pseudonymiser) -> NDArray[np.uint64]:
    return pseudonymiser.spans(*_spans(array))


@kernel()
def _ipv4_networks(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_],
    networks: NDArray[np.uint8],
    parsed: NDArray[np.bool_],
) -> None:
    """Write b"4" and the first three octets of each plain dotted quad; others are left to a full parser."""
    for row in range(len(valid)):
        octet, digits, dots, good = 0, 0, 0, valid[row]
        for at in range(offsets[row], offsets[row + 1]):
            letter = data[at]
            if 48 <= letter <= 57 and digits < 3 and not (digits > 0 and octet == 0):
                octet = 10 * octet + (letter - 48)
                digits += 1
            elif letter == 46 and digits > 0 and dots < 3:
                networks[4 * row + 1 + dots] = octet
                good &= octet <= 255
                dots += 1
                octet, digits = 0, 0
            else:
                good = False
                break
        parsed[row] = good and dots == 3 and digits > 0 and octet <= 255
        networks[4 * row] = 52


def _network_keys(addresses: pa.Array, pseudonymiser: Pseudonymiser) -> NDArray[np.uint64]:
    data, offsets, valid = _spans(addresses)
    networks, parsed = np.zeros(4 * len(valid), np.uint8), np.zeros(len(valid), np.bool_)
    _ipv4_networks(data, offsets, valid, networks, parsed)
    keys = pseudonymiser.spans(networks, np.arange(0, 4 * len(valid) + 1, 4), parsed)
    others = np.flatnonzero(valid & ~parsed)
    keys[others] = pseudonymiser.blobs([network(text) for text in addresses.take(pa.array(others)).to_pylist()])
    return keys
