"""Journalled bytes as matrices, straight from Arrow's buffers, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr.errors import BundleError, ReplayError
from slidr.journal.records import Context, decode_context
from slidr.lake.delta import Lake
from slidr.tables import CONTEXTS


class Contexts:
    """What journalled bytes mean, by the context that the rows name.

    Raises:
        TableError: the lake cannot be read.
    """

    def __init__(self, lake: Lake) -> None:
        held = lake.read(CONTEXTS).to_pydict() if lake.exists(CONTEXTS) else {"context": [], "document": []}
        self._documents = dict(zip(held["context"], held["document"], strict=True))
        self._where = lake.address(CONTEXTS)

    def among(self, rows: pa.Table) -> Iterator[tuple[Context, NDArray[np.int64]]]:
        """Yield each context of some rows of ROWS with the places of the rows that name it.

        Raises:
            ReplayError: the lake does not hold it.
        """
        encoded = rows["context"].combine_chunks().dictionary_encode()
        codes = np.asarray(encoded.indices.to_numpy())
        for code, name in enumerate(encoded.dictionary.to_pylist()):
            if name not in self._documents:
                raise ReplayError(
                    f"{self._where} lacks context {name!r}, without which rows are mere bytes; restore it"
                )
            yield decode_context(self._documents[name]), np.flatnonzero(codes == code)


def feature_matrix(rows: pa.Table, names: tuple[str, ...], contexts: Contexts, bundle: str) -> NDArray[np.float32]:
    """Return the features of rows of ROWS, float32[n, features], in the order of `names`.

    Raises:
        BundleError: rows lack a feature that the bundle reads.
        ReplayError: rows are not as long as their context says.
    """
    matrix: NDArray[np.float32] | None = None
    for context, places in contexts.among(rows):
        missing = [name for name in names if name not in context.features]
        if missing:
            raise BundleError(
                f"bundle {bundle} reads {missing[0]}, which the rows of bundle {context.bundle} lack"
                f" ({len(missing)} features are missing): they would have to be folded again;"
                " rescore with a bundle of the same features"
            )
        whole = len(places) == rows.num_rows
        part = rows["row"] if whole else rows["row"].take(pa.array(places))
        found = _matrix(part, "<f4", len(context.features), bundle).astype(np.float32, copy=False)
        if context.features != names:
            found = found[:, [context.features.index(name) for name in names]]
        if whole:
            return np.ascontiguousarray(found)
        if matrix is None:
            matrix = np.empty((rows.num_rows, len(names)), np.float32)
        matrix[places] = found
    return np.empty((0, len(names)), np.float32) if matrix is None else matrix


def _matrix(column: pa.ChunkedArray, kind: str, width: int, bundle: str) -> NDArray[np.generic]:
    """Return bytes of equal length as a matrix, without copying what lies in one piece."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    item = np.dtype(kind).itemsize
    if not len(array):
        return np.empty((0, width), kind)
    _, offsets, data = array.buffers()
    wide = np.int64 if pa.types.is_large_binary(array.type) else np.int32
    starts = np.frombuffer(offsets, wide)[array.offset : array.offset + len(array) + 1]
    if data is None or (np.diff(starts) != item * width).any():
        raise ReplayError(
            f"a row of bundle {bundle} is not as long as its context says: the lake is damaged; restore it"
        )
    return np.frombuffer(data, kind, len(array) * width, int(starts[0])).reshape(len(array), width)
