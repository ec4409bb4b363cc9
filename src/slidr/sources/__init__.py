"""Sources: one module an adapter; each reads one kind of log into our columns.

A source is a module with a docstring and these names:

- `read(clicks: ClicksSettings, purchases: PurchasesSettings) -> Iterator[Feed]`
- `FINAL_ATTRIBUTION: bool`: whether the log tells the last word on purchases, so that its labels are mature at once;
- `COLUMNS: tuple[str, ...]`: columns that the log must have, empty where it is no table;
- `EXAMPLE: str`: a few lines of such a log.

The contract tests find every module here and check it; this file holds what sources share.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from slidr.errors import SourceError, nearest
from slidr.tables import Rejections, Table

CHUNK = 250_000
"""Most rows of a feed, which bounds the memory that reading takes."""
_BLOCK = 32 * 1024 * 1024
"""Bytes of a CSV file that are parsed at once; a longer line would not be found to end."""
_LONGEST_HEADER = 64 * 1024
_DELIMITERS = ",\t;|"
_GZIP = b"\x1f\x8b"
_ENDINGS = (".gz", ".csv", ".log", ".txt")


@dataclass(frozen=True)
class Feed:
    """A chunk of a log: raw tables under our column names with values as found, which the door parses.

    Attributes:
        clicks: at most `CHUNK` raw clicks, or None.
        purchases: raw purchases, or None.
        rejected: lines that are no rows, counted under the column 'line'.
    """

    clicks: pa.Table | None = None
    purchases: pa.Table | None = None
    rejected: Rejections = field(default_factory=Rejections)


@dataclass(frozen=True)
class Log:
    """One file of a log, local or in an object store."""

    path: str
    system: FileSystem

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return posixpath.basename(self.path)

    @property
    def stem(self) -> str:
        """The file's name without folder and endings, which prefixes the identifiers that a source makes."""
        name = self.name
        for ending in _ENDINGS:
            name = name.removesuffix(ending)
        return name

    @contextmanager
    def opened(self) -> Iterator[pa.NativeFile]:
        """Open the file for reading, uncompressed; gzip is known by its first bytes, not by its name.

        Raises:
            SourceError: the file cannot be read to its end.
        """
        with self.faults(), self.system.open_input_stream(self.path, compression=None) as peeked:
            compression = "gzip" if peeked.read(2) == _GZIP else None
        with self.faults(), self.system.open_input_stream(self.path, compression=compression) as stream:
            yield stream

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Raise a SourceError that names this file where reading it fails."""
        try:
            yield
        except (OSError, EOFError) as fault:
            cause = str(fault)
            if "Truncated" in cause or "zlib" in cause:
                cause = f"its gzip stream ends early or is damaged ({cause}); copy the file again"
            raise SourceError(f"{self.path}: {cause}") from fault
        except (pa.ArrowException, UnicodeDecodeError) as fault:
            cause = str(fault)
            if "straddling" in cause:
                cause = f"a line is longer than {_BLOCK >> 20} MiB, or a quote in it is never closed; mend that line"
            raise SourceError(f"{self.path}: not a log that this source reads: {cause}") from fault


def file_system(path: str) -> tuple[FileSystem, str]:
    """Return where a path lies and its path there: an address such as `s3://bucket/log`, else the local disk."""
    if "://" in path:
        system, inside = FileSystem.from_uri(path)
        return system, inside
    return LocalFileSystem(), str(Path(path).expanduser())


def logs(path: str, key: str, endings: Sequence[str] = ("",)) -> list[Log]:
    """Return the files of a log, in order of their paths: one file, a folder of files, or a glob.

    Hidden files, and files whose name begins with an underscore, are left out of folders and globs.

    Raises:
        SourceError: the settings name no path (`key` says which), or nothing is there.
    """
    if not path:
        raise SourceError(f"{key} is empty; set it to the log: a file, a folder or a glob")
    system, inside = file_system(path)
    found = system.get_file_info(inside)
    if found.type == FileType.File:
        return [Log(inside, system)]
    pattern = any(sign in inside for sign in "*?[")
    fixed = inside
    while any(sign in fixed for sign in "*?["):
        fixed = posixpath.dirname(fixed)
    everything = system.get_file_info(FileSelector(fixed or ".", allow_not_found=True, recursive=True))
    files = sorted(
        info.path
        for info in everything
        if info.type == FileType.File
        and not info.base_name.startswith((".", "_"))
        and info.base_name.endswith(tuple(endings))
        and (not pattern or fnmatch.fnmatch(info.path.removeprefix("./"), inside.removeprefix("./")))
    )
    if not files:
        wanted = f" ending in {' or '.join(endings)}" if any(endings) else ""
        raise SourceError(f"{key} = {path!r}: there is no file{wanted}; check the path")
    return [Log(file, system) for file in files]


def refuse_same_stems(files: Sequence[Log]) -> None:
    """Raise SourceError where two files would give the same identifiers to their clicks."""
    for stem, count in Counter(log.stem for log in files).items():
        if count > 1:
            both = ", ".join(log.path for log in files if log.stem == stem)
            raise SourceError(f"clicks are named after their file, but {both} are all called {stem!r}; rename one")


def refuse_settings(source: str, columns: Mapping[str, str], purchases: str) -> None:
    """Raise SourceError for settings that a source with columns of its own would ignore."""
    if columns:
        raise SourceError(f"source {source!r} knows its columns; remove clicks.columns, or use source 'table'")
    if purchases:
        raise SourceError(
            f"source {source!r} reads no purchases.path ({purchases!r}); remove it, or use source 'table'"
        )


def require(log: Log, present: Sequence[str], required: Sequence[str]) -> None:
    """Raise SourceError where a column is missing, naming the nearest one present, or occurs twice."""
    for name in required:
        if name not in present:
            raise SourceError(f"{log.path}: column {name!r} is missing; {nearest(name, present)}")
    for name, count in Counter(present).items():
        if count > 1:
            raise SourceError(f"{log.path}: column {name!r} occurs {count} times; rename one")


def read_csv(log: Log, required: Sequence[str] = ()) -> Iterator[tuple[pa.Table, Rejections]]:
    """Read a CSV file, gzip or not, in chunks of at most `CHUNK` rows; at least one, which may be empty.

    Every column is text (bytes where a chunk of it is not UTF-8). The delimiter is the one of comma, tab, semicolon
    and bar that is most frequent in the header. Lines with the wrong number of fields are left out and counted.

    Raises:
        SourceError: the file is missing, empty, damaged or no CSV, or lacks a required column.
    """
    with log.opened() as stream, log.faults():
        names, delimiter = _header(log, stream.read(_LONGEST_HEADER))
    require(log, names, required)
    wrong = _WrongLines(log.name, len(names))
    with log.opened() as stream, log.faults():
        reader = pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=wrong.skip
            ),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
        )
        for table in chunks(reader):
            yield pa.table([_text(column) for column in table.columns], names=names), wrong.taken()
        # Lines after the last full chunk, where no row follows them.
        if (rest := wrong.taken()).total:
            yield reader.schema.empty_table(), rest


class _WrongLines:
    """Counts the lines that have not as many fields as the header."""

    def __init__(self, name: str, fields: int) -> None:
        self._name = name
        self._reason = f"not {fields} fields"
        self._found = Rejections()

    def skip(self, row: Any) -> str:
        """Count a line, as Arrow reports it, and leave it out."""
        # The reader counts lines from one, and the header is the first.
        example = ((row.number or 2) - 2, f"{self._name}: {row.text}")
        self._found += Rejections.of("line", self._reason, [example])
        return "skip"

    def taken(self) -> Rejections:
        """Return what was counted since the last call."""
        found, self._found = self._found, Rejections()
        return found


def chunks(batches: Any) -> Iterator[pa.Table]:
    """Gather record batches into tables of `CHUNK` rows; the last is shorter, and one is given even without rows.

    Args:
        batches: a reader of record batches, with its `schema`.
    """
    gathered: list[pa.RecordBatch] = []
    rows = 0
    given = False
    for arrived in batches:
        batch = arrived
        while rows + batch.num_rows >= CHUNK:
            head = batch.slice(0, CHUNK - rows)
            yield pa.Table.from_batches([*gathered, head])
            given = True
            batch = batch.slice(head.num_rows)
            gathered, rows = [], 0
        if batch.num_rows:
            gathered.append(batch)
            rows += batch.num_rows
    if gathered or not given:
        yield pa.Table.from_batches(gathered, batches.schema)


def mapped(log: Log, data: pa.Table, table: Table, columns: Mapping[str, str], key: str) -> pa.Table:
    """Return the data under our column names; columns that are not mapped keep theirs.

    A column that has one of our names but is not what the mapping gives for it is left out.

    Args:
        log: where the data come from, for errors.
        data: a chunk of the log.
        table: CLICKS or PURCHASES.
        columns: our column = your column; `x = "x"` says that a column is meant to keep its name.
        key: where the mapping stands in the settings, for errors.

    Raises:
        SourceError: a column is missing or misspelt, in the log or in the mapping.
    """
    for ours, theirs in columns.items():
        misspelt = None if ours == theirs else table.misspelt([ours])
        if misspelt:
            raise SourceError(f"{key}: {ours!r} is not a column of {table.name}; did you mean {misspelt[1]!r}?")
    require(log, data.column_names, list(columns.values()))
    kept = [name for name in data.column_names if name not in columns and name not in columns.values()]
    require(log, [*columns, *kept], [column.name for column in table.columns if not column.nullable])
    misspelt = table.misspelt([*columns, *kept])
    if misspelt and misspelt[0] in kept:
        theirs, ours = misspelt
        raise SourceError(
            f"{log.path}: column {theirs!r} is not known; did you mean {ours!r}? "
            f"Set {key} = {{{ours} = {theirs!r}}}, or {{{theirs} = {theirs!r}}} where it is something else"
        )
    named = {ours: data.column(theirs) for ours, theirs in columns.items()} | {name: data.column(name) for name in kept}
    return pa.table(named)


def _header(log: Log, beginning: bytes) -> tuple[list[str], str]:
    """Return the column names and the delimiter of a CSV file from its first bytes."""
    if not beginning.strip():
        raise SourceError(f"{log.path}: the file is empty; a CSV file begins with a line of column names")
    line, newline, _ = beginning.partition(b"\n")
    if b"\x00" in line or (not newline and len(beginning) == _LONGEST_HEADER):
        raise SourceError(f"{log.path}: not a CSV file: its first line is no line of column names")
    text = line.decode("utf-8-sig").rstrip("\r")
    delimiter = max(_DELIMITERS, key=text.count)
    return next(csv.reader(io.StringIO(text), delimiter=delimiter)), delimiter


def _text(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return column
