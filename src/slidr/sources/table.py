"""Any log that is a table: CSV, Parquet or Delta, with a mapping of column names in the settings.

A path is a file, a folder of files, a glob or a Delta table, on the local disk or in an object store. Columns that
have our names need no mapping; columns that are not ours pass through and can define slices.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import FileType

from slidr.datasets import dataset_of
from slidr.errors import SourceError
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import CHUNK, Feed, Log, chunks, file_system, logs, mapped, read_csv
from slidr.tables import CLICKS, PURCHASES, Rejections, Table

FINAL_ATTRIBUTION = False
COLUMNS = ("click_id", "time")
EXAMPLE = """\
click_id,time,user,session,ip,user_agent,device,logged_in,campaign,advertiser,cost,currency,impression
c1,2026-03-02T10:00:00Z,u1,s1,192.0.2.1,Mozilla/5.0,mobile,true,k1,a1,250000,EUR,i1
c2,2026-03-02T10:00:01Z,,,2001:db8::1,Mozilla/5.0,desktop,false,k1,a1,250000,EUR,i2
c3,2026-03-02T11:00:02+01:00,u2,s3,192.0.2.7,Mozilla/5.0,app,,k2,a1,120000,EUR,
"""
_PARQUET = (".parquet", ".pq")
_ENDINGS = (".csv", ".csv.gz", *_PARQUET)


def read(clicks: ClicksSettings, purchases: PurchasesSettings) -> Iterator[Feed]:
    """Read the clicks, then the purchases where `purchases.path` is set.

    Raises:
        SourceError: a file cannot be read, a column is missing or misspelt, or there are no clicks.
    """
    rows = 0
    for table, rejected in _tables(CLICKS, clicks.path, clicks.columns):
        rows += table.num_rows
        yield Feed(table, None, rejected)
    if not rows:
        raise SourceError(f"clicks.path = {clicks.path!r}: the log has no clicks")
    if purchases.path:
        for table, rejected in _tables(PURCHASES, purchases.path, purchases.columns):
            yield Feed(None, table, rejected)


def _tables(table: Table, path: str, columns: Mapping[str, str]) -> Iterator[tuple[pa.Table, Rejections]]:
    for log, data, rejected in _raw(path, f"{table.name}.path"):
        yield mapped(log, data, table, columns, f"{table.name}.columns"), rejected


def _raw(path: str, key: str) -> Iterator[tuple[Log, pa.Table, Rejections]]:
    if path and _is_delta(path):
        log = Log(path, file_system(path)[0])
        for chunk in _delta(log):
            yield log, chunk, Rejections()
        return
    for log in logs(path, key, _ENDINGS):
        if log.name.endswith(_PARQUET):
            for chunk in _parquet(log):
                yield log, chunk, Rejections()
        else:
            for chunk, rejected in read_csv(log):
                yield log, chunk, rejected


def _is_delta(path: str) -> bool:
    system, inside = file_system(path)
    return bool(system.get_file_info(posixpath.join(inside, "_delta_log")).type == FileType.Directory)


def _delta(log: Log) -> Iterator[pa.Table]:
    try:
        dataset = dataset_of(DeltaTable(log.path))
    except DeltaError as fault:
        raise SourceError(f"{log.path}: not a Delta table that can be read: {fault}") from fault
    with log.faults():
        yield from chunks(ds.Scanner.from_dataset(dataset, batch_size=CHUNK).to_reader())


def _parquet(log: Log) -> Iterator[pa.Table]:
    with log.faults(), log.system.open_input_file(log.path) as handle:
        file = pq.ParquetFile(handle)
        batches = file.iter_batches(batch_size=CHUNK)
        yield from chunks(pa.RecordBatchReader.from_batches(file.schema_arrow, batches))
