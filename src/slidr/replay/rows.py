"""Journalled bytes as matrices, straight from Arrow's buffers, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.errors import BundleError, ReplayError
from slidr.features.keys import Pseudonymiser
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
                f"bundle {bundle} reads {missing[0]}, which the rows of bundle {context.bundle} do not have"
                f" ({len(missing)} features are missing): use `slidr replay --method recompute`"
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


def key_matrix(
    rows: pa.Table, entities: tuple[tuple[str, ...], ...], contexts: Contexts, pseudonymiser: Pseudonymiser
) -> NDArray[np.uint64]:
    """Return the keyed hashes of rows of ROWS, uint64[n, 1 + entities]: of the click_id, then of each entity.

    While secret keys rotate a row has its keys twice, those of the old key, those of the new one, and then the new hash
    of its click_id; those of the pseudonymiser's key are taken.

    Raises:
        ReplayError: rows lack the keys of an entity, or are hashed with another secret key.
    """
    keys = np.empty((rows.num_rows, 1 + len(entities)), np.uint64)
    keys[:, 0] = hashes_of(rows["click_id"], pseudonymiser)
    ours = rows["click_key"].to_numpy().view(np.uint64) == keys[:, 0]
    for context, places in contexts.among(rows):
        missing = [entity for entity in entities if entity not in context.keys]
        if missing:
            raise ReplayError(
                f"the rows of bundle {context.bundle} have no keys of {'+'.join(missing[0])}, which the bundle or a"
                " list rule counts by; replay with a bundle whose features count by what was counted then"
            )
        chosen, count = [context.keys.index(entity) for entity in entities], len(context.keys)
        sizes = pc.binary_length(rows["keys"].take(pa.array(places))).to_numpy()
        for size in np.unique(sizes).tolist():
            part = places[sizes == size]
            words = _matrix(rows["keys"].take(pa.array(part)), "<u8", size // 8, context.bundle)
            here = ours[part]
            keys[part[here], 1:] = words[np.ix_(here, chosen)]
            if not here.all():
                rotating = size // 8 > count
                new = (words[:, 2 * count] == keys[part, 0]) & ~here if rotating else np.zeros(len(part), np.bool_)
                if not (new | here).all():
                    raise ReplayError(
                        f"{np.count_nonzero(~(new | here)):,} rows of bundle {context.bundle} are hashed with another"
                        " secret key than the bundle that is to decide them: put its line back into the key file, or"
                        " use a bundle that was made with that key"
                    )
                keys[part[new], 1:] = words[np.ix_(new, np.array(chosen, np.int64) + count)]
    return keys


def hashes_of(texts: pa.ChunkedArray, pseudonymiser: Pseudonymiser) -> NDArray[np.uint64]:
    """Return the keyed hashes of texts, none of them null, uint64[n]."""
    array = texts.cast(pa.large_string()).combine_chunks()
    if not len(array):
        return np.empty(0, np.uint64)
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return pseudonymiser.spans(text, starts, np.ones(len(array), np.bool_))


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
