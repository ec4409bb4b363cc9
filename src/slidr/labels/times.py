"""Times of tables as whole numbers."""

from __future__ import annotations

import pyarrow as pa


def microseconds(table: pa.Table, name: str = "time") -> pa.ChunkedArray[pa.Int64Scalar]:
    """Return a column of times as microseconds since 1970, UTC."""
    return table[name].cast(pa.int64())
