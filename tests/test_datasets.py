"""Datasets: what is read of a Delta table is what it holds, and a process that ends while it reads ends in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
from deltalake import DeltaTable, write_deltalake

from slidr.datasets import dataset_of

_READ = """
import sys
from deltalake import DeltaTable
from slidr.datasets import dataset_of
print(next(iter(dataset_of(DeltaTable(sys.argv[1])).to_batches(batch_size=100))).num_rows)
"""


def test_files_of_this_machine_are_read_by_arrow_itself(tmp_path: Path) -> None:
    """A dataset has the table's rows, also below a folder with a blank in its name, and no Python in its way."""
    where = tmp_path / "a folder" / "table"
    write_deltalake(where, pa.table({"value": range(100)}))
    dataset = dataset_of(DeltaTable(where))
    assert dataset.to_table()["value"].to_pylist() == list(range(100))
    assert isinstance(dataset.filesystem.base_fs, pyarrow.fs.LocalFileSystem)


def test_a_process_may_end_while_arrow_reads(tmp_path: Path) -> None:
    """One that has taken the first of many rows ends with status 0."""
    write_deltalake(tmp_path / "table", pa.table({"value": range(500_000)}))
    command = [sys.executable, "-c", _READ, str(tmp_path / "table")]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 our own words
    assert (done.returncode, done.stdout) == (0, b"100\n")
