from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from slidr import sources
from slidr.errors import SourceError
from slidr.settings import ClicksSettings, PurchasesSettings
from slidr.sources import Feed, table

ROWS = pa.table(
    {"click_id": ["a", "b"], "time": ["2026-03-02T10:00:00Z"] * 2, "user": ["u", None], "region": ["n", "s"]}
)


def clicks_of(path: Path, **columns: str) -> pa.Table:
    """Read the clicks at a path under a mapping."""
    feeds = list(table.read(ClicksSettings(path=str(path), columns=columns), PurchasesSettings()))
    return pa.concat_tables([feed.clicks for feed in feeds if feed.clicks is not None])


def csv(folder: Path, text: str | bytes, name: str = "log.csv") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_parquet_reads_in_chunks_with_its_types(tmp_path: Path) -> None:
    """A Parquet file keeps its values, whatever the size of its row groups."""
    path = tmp_path / "log.parquet"
    rows = sources.CHUNK + 10
    log = pa.table({"click_id": pa.array(range(rows)), "time": pa.array([0] * rows).cast(pa.timestamp("ms", "UTC"))})
    pq.write_table(log, path, row_group_size=100_000)
    feeds = list(table.read(ClicksSettings(path=str(path)), PurchasesSettings()))
    assert [feed.clicks.num_rows for feed in feeds if feed.clicks is not None] == [sources.CHUNK, 10]
    assert clicks_of(path).equals(log)


def test_a_delta_table_reads_by_its_log_not_its_files(tmp_path: Path) -> None:
    """Files that a later commit replaced are not part of the log."""
    write_deltalake(tmp_path / "clicks", ROWS)
    write_deltalake(tmp_path / "clicks", ROWS.slice(1), mode="overwrite")
    assert clicks_of(tmp_path / "clicks")["click_id"].to_pylist() == ["b"]


def test_a_folder_may_mix_files(tmp_path: Path) -> None:
    """CSV and Parquet files of one folder are one log."""
    pq.write_table(ROWS.select(["click_id", "time"]), tmp_path / "b.parquet")
    csv(tmp_path, "click_id,time\nx,2026-03-02T10:00:00Z\n", "a.csv")
    assert clicks_of(tmp_path)["click_id"].to_pylist() == ["x", "a", "b"]


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    """A file that only claims to be Parquet is an error with its path."""
    with pytest.raises(SourceError, match=r"log\.parquet: not a log that this source reads"):
        clicks_of(csv(tmp_path, "click_id,time\n", "log.parquet"))


def test_the_mapping_renames_and_further_columns_pass(tmp_path: Path) -> None:
    """Mapped columns get our names, one of theirs may serve two of ours, others keep their names."""
    path = csv(tmp_path, "id,ts,cookie,region\na,2026-03-02T10:00:00Z,u,n\n")
    found = clicks_of(path, click_id="id", time="ts", user="cookie", session="cookie")
    assert found.to_pylist() == [
        {"click_id": "a", "time": "2026-03-02T10:00:00Z", "user": "u", "session": "u", "region": "n"}
    ]


def test_a_column_that_is_mapped_away_is_left_out(tmp_path: Path) -> None:
    """Where ip is taken from another column, the log's own ip does not come along under our name."""
    path = csv(tmp_path, "click_id,time,ip,client\na,t,10.0.0.1,192.0.2.1\n")
    assert clicks_of(path, ip="client").to_pylist() == [{"ip": "192.0.2.1", "click_id": "a", "time": "t"}]


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("click_id,time,campain", {}, "'campain' is not known; did you mean 'campaign'"),
        ("click_id,time,cookie", {"user": "cooky"}, "'cooky' is missing; did you mean 'cookie'"),
        ("click_id,time,cookie", {"usr": "cookie"}, "'usr' is not a column of clicks; did you mean 'user'"),
        ("click_id,when", {}, "'time' is missing; known: click_id, when"),
        ("click_id,time,time", {}, "'time' occurs 2 times"),
    ],
)
def test_misspelt_columns_are_met_with_the_nearest(
    tmp_path: Path, header: str, columns: dict[str, str], message: str
) -> None:
    """In the log or in the mapping, a column that almost fits is refused rather than read as null."""
    with pytest.raises(SourceError, match=message):
        clicks_of(csv(tmp_path, f"{header}\n{',' * header.count(',')}\n"), **columns)


def test_a_mapping_to_itself_says_that_a_name_is_meant(tmp_path: Path) -> None:
    """A further column whose name only looks misspelt can be kept."""
    path = csv(tmp_path, "click_id,time,users\na,t,3\n")
    assert clicks_of(path, users="users")["users"].to_pylist() == ["3"]


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    """Comma, semicolon, tab and bar separate alike; quotes, a mark of byte order and line ends of Windows are fine."""
    lines = ["\ufeffclick_id,time,user_agent", 'a,t,"x, y; z|"', 'b,t,"two\nlines"']
    text = "\r\n".join(line.replace(",", delimiter) for line in lines) + "\r\n"
    found = clicks_of(csv(tmp_path, text))
    assert found["click_id"].to_pylist() == ["a", "b"]
    assert found["user_agent"].to_pylist()[1] == "two\nlines"


def test_lines_of_another_length_are_counted(tmp_path: Path) -> None:
    """A line with too few or too many fields is left out and shown, with its row."""
    path = csv(tmp_path, "click_id,time\na,t\nb\nc,t\nd,t,x\n")
    (feed,) = table.read(ClicksSettings(path=str(path)), PurchasesSettings())
    assert feed.clicks is not None
    assert feed.clicks["click_id"].to_pylist() == ["a", "c"]
    assert feed.rejected.counts == {("line", "not 2 fields"): 2}
    assert feed.rejected.examples["line", "not 2 fields"] == ((1, "log.csv: b"), (3, "log.csv: d,t,x"))


def test_lines_of_another_length_after_a_full_chunk_are_counted(tmp_path: Path) -> None:
    """Lines at fault are counted also where no good row follows them."""
    path = csv(tmp_path, "click_id,time\n" + "a,t\n" * sources.CHUNK + "b\n")
    feeds: list[Feed] = list(table.read(ClicksSettings(path=str(path)), PurchasesSettings()))
    assert sum(feed.rejected.total for feed in feeds) == 1


def test_text_that_is_not_utf8_reaches_the_door_as_bytes(tmp_path: Path) -> None:
    """The source leaves the judgement of broken text to the door."""
    found = clicks_of(csv(tmp_path, b"click_id,time,user\na,t,\xff\n"))
    assert found["user"].to_pylist() == [b"\xff"]


def test_purchases_are_read_after_the_clicks(tmp_path: Path) -> None:
    """A purchase log has a mapping of its own, and may be empty."""
    clicks = csv(tmp_path, "click_id,time\na,t\n")
    bought = csv(tmp_path, "order,time,customer\np,t,u\n", "bought.csv")
    purchases = PurchasesSettings(path=str(bought), columns={"purchase_id": "order", "user": "customer"})
    feeds = list(table.read(ClicksSettings(path=str(clicks)), purchases))
    assert feeds[-1].clicks is None
    assert feeds[-1].purchases is not None
    assert feeds[-1].purchases.to_pylist() == [{"purchase_id": "p", "user": "u", "time": "t"}]
    bought.write_text("order,time,customer\n")
    *_, last = table.read(ClicksSettings(path=str(clicks)), purchases)
    assert last.purchases is not None
    assert last.purchases.num_rows == 0


def test_a_missing_column_of_purchases_names_their_mapping(tmp_path: Path) -> None:
    """A fault in the purchase log is told as one of purchases."""
    clicks = csv(tmp_path, "click_id,time\na,t\n")
    bought = csv(tmp_path, "order,time\np,t\n", "bought.csv")
    with pytest.raises(SourceError, match=r"bought\.csv: column 'purchase_id' is missing"):
        list(table.read(ClicksSettings(path=str(clicks)), PurchasesSettings(path=str(bought))))
