"""The Parquet files of a Delta table as one dataset."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pyarrow.dataset as ds
from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem


def dataset_of(delta: DeltaTable) -> ds.Dataset:
    """Return a table's files as a dataset; those of this machine are read by Arrow, without a detour through Python.

    The detour costs time, and a process that ends while Arrow still lets go of what was read would be aborted: its
    threads then ask a Python that is no more for what they hold.
    """
    address = urlsplit(delta.table_uri)
    if address.scheme not in {"", "file"}:
        return delta.to_pyarrow_dataset()
    return delta.to_pyarrow_dataset(filesystem=SubTreeFileSystem(unquote(address.path), LocalFileSystem()))
