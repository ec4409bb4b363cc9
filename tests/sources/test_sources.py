from __future__ import annotations

import doctest
import gzip
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from slidr import extensions, sources
from slidr.clock import SECOND
from slidr.errors import SettingsError, SourceError
from slidr.lake.door import Seen, admit_clicks, admit_purchases
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import Feed
from slidr.tables import CLICKS, PURCHASES

NAMES = extensions.names("slidr.sources")
NOW = 1_800_000_000 * SECOND
PAGE = Path(__file__).parents[2] / "docs" / "sources.md"


@pytest.fixture(params=NAMES)
def source(request: pytest.FixtureRequest) -> ModuleType:
    """Every source there is, found without a list."""
    return extensions.load("slidr.sources", request.param)


def settings(path: Path | str) -> ClicksSettings:
    """Return settings that every source takes."""
    return ClicksSettings(path=str(path), ip="opaque")


def read(source: ModuleType, path: Path | str) -> list[Feed]:
    """Read a log to its end."""
    return list(source.read(settings(path), PurchasesSettings()))


def example(source: ModuleType, folder: Path, *, repeats: int = 1, text: str | None = None) -> Path:
    """Write the source's example, its rows repeated, and return the file."""
    lines = (source.EXAMPLE if text is None else text).splitlines(keepends=True)
    head = lines[:1] if source.COLUMNS else []
    path = folder / "example.csv"
    path.write_text("".join([*head, *lines[len(head) :] * repeats]))
    return path


def clicks_of(feeds: Sequence[Feed]) -> pa.Table:
    """Return all clicks of a log in one table."""
    return pa.concat_tables([feed.clicks for feed in feeds if feed.clicks is not None])


def test_every_source_declares_what_it_is(source: ModuleType) -> None:
    """A source says what it reads, whether its attribution is final, which columns it needs, and how it looks."""
    assert (source.__doc__ or "").strip()
    assert (source.read.__doc__ or "").strip()
    assert isinstance(source.FINAL_ATTRIBUTION, bool)
    assert all(column in source.EXAMPLE.splitlines()[0] for column in source.COLUMNS)


def test_the_example_passes_the_door(source: ModuleType, tmp_path: Path) -> None:
    """The rows of the example are admitted, none rejected, under column names that we know or that pass through."""
    seen, bought = Seen(), Seen()
    feeds = read(source, example(source, tmp_path))
    admitted = 0
    for feed in feeds:
        assert feed.rejected.total == 0
        if feed.clicks is not None:
            clicks, rejections = admit_clicks(feed.clicks, settings=settings(""), now=NOW, seen=seen)
            assert rejections.summary() == ()
            assert set(clicks.column_names) >= set(CLICKS.names)
            admitted += clicks.num_rows
        if feed.purchases is not None:
            assert set(feed.purchases.column_names) <= set(PURCHASES.names)
            assert admit_purchases(feed.purchases, settings=settings(""), now=NOW, seen=bought)[1].summary() == ()
    assert admitted == len(source.EXAMPLE.splitlines()) - bool(source.COLUMNS)


def test_gzip_reads_as_plain_whatever_its_name(source: ModuleType, tmp_path: Path) -> None:
    """Compression is known by the content, so a renamed file reads too."""
    path = example(source, tmp_path)
    plain = clicks_of(read(source, path))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert clicks_of(read(source, path)).equals(plain)


def test_long_logs_come_in_bounded_chunks(source: ModuleType, tmp_path: Path) -> None:
    """No feed holds more rows than the limit, and none is lost between feeds."""
    repeats = sources.CHUNK // 3 + 2
    feeds = read(source, example(source, tmp_path, repeats=repeats))
    sizes = [feed.clicks.num_rows for feed in feeds if feed.clicks is not None]
    assert len(sizes) > 1
    assert max(sizes) <= sources.CHUNK
    assert sum(sizes) == 3 * repeats


def test_reading_starts_over(source: ModuleType, tmp_path: Path) -> None:
    """Reading the same log twice gives the same rows: a source keeps no state."""
    path = example(source, tmp_path)
    assert clicks_of(read(source, path)).equals(clicks_of(read(source, path)))


def test_a_truncated_gzip_is_named(source: ModuleType, tmp_path: Path) -> None:
    """A file that ends early is an error that names it, never a shorter log."""
    path = example(source, tmp_path, repeats=5_000)
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"example\.csv: its gzip stream ends early or is damaged"):
        read(source, path)


def test_an_empty_file_is_named(source: ModuleType, tmp_path: Path) -> None:
    """A file without a byte is an error, not a log without clicks."""
    with pytest.raises(SourceError, match=r"example\.csv.* empty"):
        read(source, example(source, tmp_path, text=""))


def test_a_log_without_rows_is_refused(source: ModuleType, tmp_path: Path) -> None:
    """A header alone, or only lines that are no clicks, says that there are no clicks."""
    text = source.EXAMPLE.splitlines(keepends=True)[0] if source.COLUMNS else "no request\n"
    with pytest.raises(SourceError, match="the log has no"):
        read(source, example(source, tmp_path, text=text))


def test_a_missing_file_is_named(source: ModuleType, tmp_path: Path) -> None:
    """The message holds the path as it was set, and the key that set it."""
    with pytest.raises(SourceError, match=r"clicks\.path = .*nowhere\.csv.*there is no file"):
        read(source, tmp_path / "nowhere.csv")


def test_an_empty_path_names_the_setting(source: ModuleType) -> None:
    """Without a path, the message says which key to set."""
    with pytest.raises(SourceError, match=r"clicks\.path is empty"):
        read(source, "")


def test_an_empty_folder_is_named(source: ModuleType, tmp_path: Path) -> None:
    """A folder without a log is an error."""
    with pytest.raises(SourceError, match="there is no file"):
        read(source, tmp_path)


def test_bytes_that_are_no_log_are_refused(source: ModuleType, tmp_path: Path) -> None:
    """A binary file is an error that names it."""
    path = tmp_path / "example.csv"
    path.write_bytes(bytes(range(256)) * 1_000)
    with pytest.raises(SourceError, match=r"example\.csv"):
        read(source, path)


def test_a_misspelt_column_suggests_the_nearest(source: ModuleType, tmp_path: Path) -> None:
    """For every column that the log must have, a misspelling is met with the name found."""
    for column in source.COLUMNS:
        head, newline, rows = source.EXAMPLE.partition("\n")
        names = [f"{name}z" if name == column else name for name in head.split(",")]
        path = example(source, tmp_path, text=",".join(names) + newline + rows)
        with pytest.raises(SourceError, match=rf"column '{column}' is missing; did you mean '{column}z'"):
            read(source, path)


def test_a_folder_and_a_glob_read_all_files(source: ModuleType, tmp_path: Path) -> None:
    """The files of a folder are one log, in order of their names; hidden files are not part of it."""
    path = example(source, tmp_path)
    (tmp_path / "later.csv").write_bytes(path.read_bytes())
    (tmp_path / ".hidden.csv").write_text("x")
    rows = clicks_of(read(source, path)).num_rows
    assert clicks_of(read(source, tmp_path)).num_rows == 2 * rows
    assert clicks_of(read(source, f"{tmp_path}/l*.csv")).num_rows == rows


def test_an_unknown_source_suggests_the_nearest() -> None:
    """A misspelt source is met with the nearest one."""
    with pytest.raises(SettingsError, match="did you mean 'weblog'"):
        extensions.load("slidr.sources", "webblog")


def test_the_page_runs() -> None:
    """The examples of docs/sources.md give what the page says."""
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried
    assert not failed
