"""List rules over a table of clicks: which clicks each rule hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr.batch import values_of
from slidr.features.backfill import fold_table
from slidr.features.catalogue import parse_features
from slidr.features.keys import KEY_BYTES, Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.rules import ListRule

_CHUNK = 65_536


def listed(
    rules: Iterable[ListRule], clicks: pa.Table, progress: Callable[[int], None] | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Return which clicks each rule hits, bool[n], by the rule's name.

    A column that the table has not reads as null: of a log, that is the headers. What a rule counts, it counts from the
    first of these clicks on.

    Args:
        rules: ready to run.
        clicks: rows of CLICKS, in the order of time.
        progress: called with the number of clicks after each chunk.
    """
    rules = tuple(rules)
    counted = {rule.name: _counted(rule, clicks) for rule in rules}
    hits = {rule.name: np.zeros(clicks.num_rows, np.bool_) for rule in rules}
    for start in range(0, clicks.num_rows, _CHUNK):
        part = clicks.slice(start, _CHUNK)
        values = {name: values_of(part, name) for rule in rules for name in rule.columns}
        for rule in rules:
            features = {name: column[start : start + _CHUNK].tolist() for name, column in counted[rule.name].items()}
            found = rule.hits({**values, **features})
            hits[rule.name][[start + place for place in found]] = True
        if progress is not None:
            progress(part.num_rows)
    return hits


def _counted(rule: ListRule, clicks: pa.Table) -> dict[str, NDArray[np.float32]]:
    """Return the values of the features that a rule reads, by name."""
    if not rule.features:
        return {}
    layout = compile_catalogue(parse_features(rule.features))
    needed = {name for entity in layout.keys for name in entity} & set(rule.columns)
    if all(name not in clicks.column_names or clicks[name].null_count == clicks.num_rows for name in needed):
        return {name: np.zeros(clicks.num_rows, np.float32) for name in layout.names}
    # The hashes leave no trace, so their key need not be secret.
    folded = fold_table(clicks, layout, Pseudonymiser(bytes(KEY_BYTES)), EmbeddedStore(layout))
    rows = np.concatenate([part.rows for part in folded])
    return dict(zip(layout.names, np.ascontiguousarray(rows.T), strict=True))
