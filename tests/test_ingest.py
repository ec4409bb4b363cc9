"""Ingest: from logs through the door to tables, with every refused row counted."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.learned import Learned

from slidr.clock import SECOND, ManualClock
from slidr.errors import SettingsError, SlidrError, SourceError, TableError
from slidr.ingest import ingest, read_log
from slidr.lake.delta import Lake
from slidr.settings import Settings, parse_settings
from slidr.sources import talkingdata, weblog
from slidr.tables import CLICKS, PURCHASES

CLOCK = ManualClock(1_800_000_000 * SECOND)
HEADER = "click_id,time,user,session,ip,user_agent,logged_in,cost"


def settings_of(folder: Path, *lines: str, header: str = HEADER, **clicks: Any) -> Settings:
    """Write a click log of these lines and return settings that read it."""
    (folder / "clicks.csv").write_text("\n".join([header, *lines, ""]))
    return parse_settings({"clicks": {"path": str(folder / "clicks.csv"), **clicks}})


def line(name: str, time: str = "2026-03-02T10:00:00Z", ip: str = "192.0.2.1", cost: str = "5") -> str:
    """Return a line of a click log."""
    return f"{name},{time},ada,s,{ip},Mozilla,true,{cost}"


def test_a_log_comes_out_in_the_order_of_time(tmp_path: Path) -> None:
    """Clicks are sorted by time and then click_id, as every later fold takes them."""
    late, early = "2026-03-02T11:00:00Z", "2026-03-02T10:00:00+02:00"
    log = read_log(settings_of(tmp_path, line("c", late), line("b"), line("d", early), line("a", late)), CLOCK)
    assert log.clicks["click_id"].to_pylist() == ["d", "b", "a", "c"]
    assert log.clicks.column_names[: len(CLICKS.names)] == list(CLICKS.names)
    assert (log.purchases.num_rows, log.rejections.total, log.final) == (0, 0, False)


def test_bad_rows_are_counted_and_the_others_pass(tmp_path: Path) -> None:
    """Each kind of bad row is counted with an example, and costs no other row."""
    log = read_log(
        settings_of(
            tmp_path,
            line("a"),
            line("a"),
            line("b", "yesterday"),
            line("c", "2026-03-02T10:00:00"),
            line("d", "2031-01-01T00:00:00Z"),
            line("e", ""),
            line("f", ip="192.0.2.256"),
            line("g", ip="2001:DB8::0001"),
            line("h", ip=""),
            line("", ip=""),
            line("i", cost="-1"),
            line("j", ip="::ffff:192.0.2.9"),
        ),
        CLOCK,
    )
    kept = dict(zip(log.clicks["click_id"].to_pylist(), log.clicks["ip"].to_pylist(), strict=True))
    assert kept == {"a": "192.0.2.1", "g": "2001:db8::1", "h": None, "j": "192.0.2.9"}
    assert log.rejections.total == 8
    summary = "\n".join(log.rejections.summary())
    for word in ("yesterday", "192.0.2.256", "2031-01-01", "2026-03-02T10:00:00'"):
        assert word in summary


def test_times_without_a_zone_take_that_of_the_settings(tmp_path: Path) -> None:
    """A zone in the settings makes local times readable."""
    settings = settings_of(tmp_path, line("a", "2026-07-01T10:00:00"), timezone="Europe/Berlin")
    assert read_log(settings, CLOCK).clicks["time"][0].as_py().isoformat() == "2026-07-01T08:00:00+00:00"


def test_a_log_of_bad_rows_alone_is_refused(tmp_path: Path) -> None:
    """When nothing passes the door, the error says what was wrong with the rows."""
    settings = settings_of(tmp_path, line("a", "never"), line("b", "never"))
    with pytest.raises(SourceError, match=r"no click passed the door\ntime: .*2 rows, such as row 0 'never'"):
        read_log(settings, CLOCK)


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        (HEADER.replace("time", "tiem"), SlidrError, "did you mean 'tiem'"),
        (HEADER.replace("session", "sesion"), SlidrError, "did you mean 'session'"),
        (HEADER.replace("click_id", "id"), SlidrError, "click_id"),
    ],
)
def test_a_missing_or_misspelt_column_is_named(
    tmp_path: Path, header: str, error: type[SlidrError], message: str
) -> None:
    """A column that is missing or misspelt stops the log, the nearest one suggested."""
    with pytest.raises(error) as fault:
        read_log(settings_of(tmp_path, line("a"), header=header), CLOCK)
    assert message in str(fault.value)


def test_columns_are_mapped_and_others_pass_through(tmp_path: Path) -> None:
    """Names of the log map to ours, and a column that is not ours stays."""
    header = HEADER.replace("user,", "customer,") + ",shop"
    log = read_log(settings_of(tmp_path, line("a") + ",north", header=header, columns={"user": "customer"}), CLOCK)
    assert (log.clicks["user"].to_pylist(), log.clicks["shop"].to_pylist()) == (["ada"], ["north"])


@pytest.mark.parametrize("content", [b"", HEADER.encode() + b"\n"])
def test_an_empty_log_is_refused(tmp_path: Path, content: bytes) -> None:
    """A log without a line, or with a header only, is refused by name."""
    path = tmp_path / "clicks.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"clicks\.csv"):
        read_log(parse_settings({"clicks": {"path": str(path)}}), CLOCK)


def test_a_truncated_log_is_refused(tmp_path: Path) -> None:
    """Half a gzip file is refused by name, not read halfway."""
    text = "\n".join([HEADER, *(line(f"c{place}") for place in range(3000))]).encode()
    path = tmp_path / "clicks.csv.gz"
    path.write_bytes(gzip.compress(text)[:-500])
    with pytest.raises(SourceError, match=r"clicks\.csv\.gz"):
        read_log(parse_settings({"clicks": {"path": str(path)}}), CLOCK)


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    """A source that does not exist is refused, the nearest suggested."""
    settings = settings_of(tmp_path, line("a"), source="tabel")
    with pytest.raises(SettingsError, match="did you mean 'table'"):
        read_log(settings, CLOCK)


def test_a_source_may_deliver_both_and_the_last_word(tmp_path: Path) -> None:
    """TalkingData tells of installs beside clicks, and its attribution is final; a web log tells of no purchase."""
    (tmp_path / "day.csv").write_text(talkingdata.EXAMPLE)
    document = {"clicks": {"path": str(tmp_path / "day.csv"), "source": "talkingdata", "ip": "opaque"}}
    log = read_log(parse_settings(document), CLOCK)
    assert (log.clicks.num_rows, log.purchases["click_id"].to_pylist(), log.final) == (3, ["day-2"], True)
    (tmp_path / "access.log").write_text(weblog.EXAMPLE)
    log = read_log(parse_settings({"clicks": {"path": str(tmp_path / "access.log"), "source": "weblog"}}), CLOCK)
    assert log.clicks.num_rows > 0
    assert log.purchases.num_rows == 0


def test_purchases_pass_the_door_too(tmp_path: Path) -> None:
    """A purchase log is read beside the clicks, its bad rows counted among the others."""
    settings = settings_of(tmp_path, line("a"))
    path = tmp_path / "purchases.csv"
    path.write_text("purchase_id,time,user,value\np1,2026-03-02T10:05:00Z,ada,9\np2,no,ada,9\np1,,ada,9\n")
    settings = parse_settings({"clicks": {"path": settings.clicks.path}, "purchases": {"path": str(path)}})
    log = read_log(settings, CLOCK)
    assert log.purchases["purchase_id"].to_pylist() == ["p1"]
    assert log.rejections.total == 2


def test_a_column_of_lists_cannot_slice(tmp_path: Path) -> None:
    """A list passes through the door, but not where the settings slice by it."""
    table = pa.table({"click_id": ["a"], "time": ["2026-03-02T10:00:00Z"], "tags": [["x", "y"]]})
    pq.write_table(table, tmp_path / "clicks.parquet")
    clicks = {"path": str(tmp_path / "clicks.parquet")}
    assert read_log(parse_settings({"clicks": clicks}), CLOCK).clicks["tags"].to_pylist() == [["x", "y"]]
    with pytest.raises(SettingsError, match=r"'tags' of .* holds list.* name another column"):
        read_log(parse_settings({"clicks": clicks, "slices": {"columns": ["tags"]}}), CLOCK)


def test_progress_counts_the_clicks(learned: Learned) -> None:
    """The callback is told of every click, rejected or not."""
    told: list[int] = []
    log = read_log(learned.settings, CLOCK, told.append)
    assert sum(told) == log.clicks.num_rows + log.rejections.total
    assert log.clicks.equals(learned.log.clicks)


def test_twice_is_as_once(tmp_path: Path, learned: Learned) -> None:
    """A log ingested again leaves the same days with the same rows in the lake."""
    day = max((learned.folder / "logs" / "clicks").iterdir())
    settings = parse_settings(
        {"clicks": {"path": str(day)}, "purchases": {"path": str(learned.folder / "logs" / "purchases")}}
    )
    lake = Lake(str(tmp_path / "lake"))
    once = ingest(settings, lake, CLOCK)
    tables = [lake.read(table) for table in (CLICKS, PURCHASES)]
    assert tables[0].num_rows == once.clicks.num_rows == pq.read_metadata(day).num_rows
    ingest(settings, lake, CLOCK)
    assert [lake.read(table) for table in (CLICKS, PURCHASES)] == tables


def ingested(lake: Lake, folder: Path, *lines: str) -> list[tuple[str, int]]:
    """Ingest a log of these lines beside what the lake holds; return (click_id, cost) of all its clicks."""
    ingest(settings_of(folder, *lines), lake, CLOCK)
    held = lake.read(CLICKS)
    return list(zip(held["click_id"].to_pylist(), held["cost"].to_pylist(), strict=True))


def test_a_next_file_adds_to_its_days(tmp_path: Path) -> None:
    """A file that begins on the day on which the last one ended, and a straggler, delete no neighbours."""
    lake = Lake(str(tmp_path / "lake"))
    noon, night, next_day = "2026-03-02T12:00:00Z", "2026-03-02T23:59:59Z", "2026-03-03T00:00:01Z"
    ingested(lake, tmp_path, line("a", noon), line("b", night))
    assert ingested(lake, tmp_path, line("c", night), line("d", next_day)) == [("a", 5), ("b", 5), ("c", 5), ("d", 5)]
    assert [name for name, _ in ingested(lake, tmp_path, line("e", noon))] == ["a", "e", "b", "c", "d"]


def test_a_click_ingested_again_is_the_newer_one(tmp_path: Path) -> None:
    """Of one click_id on one day the row of the later log stays, once."""
    lake = Lake(str(tmp_path / "lake"))
    ingested(lake, tmp_path, line("a"), line("b"))
    assert ingested(lake, tmp_path, line("b", cost="7"), line("c")) == [("a", 5), ("b", 7), ("c", 5)]


def test_purchases_merge_as_clicks_do(tmp_path: Path) -> None:
    """A next purchase log of the same day keeps the purchases of the first."""
    lake = Lake(str(tmp_path / "lake"))
    clicks, bought = settings_of(tmp_path, line("a")).clicks.path, tmp_path / "bought.csv"
    settings = parse_settings({"clicks": {"path": clicks}, "purchases": {"path": str(bought)}})
    for rows in ("p1,{},9\np2,{},9\n", "p2,{},1\np3,{},1\n"):
        bought.write_text("purchase_id,time,value\n" + rows.replace("{}", "2026-03-02T10:05:00Z"))
        ingest(settings, lake, CLOCK)
    held = lake.read(PURCHASES)
    assert held["purchase_id"].to_pylist() == ["p1", "p2", "p3"]
    assert held["value"].to_pylist() == [9, 1, 1]


def test_real_logs_lose_nothing(data: Path) -> None:
    """Every row of the TalkingData sample comes through, installs with the clicks that they name."""
    path = data / "talkingdata" / "sample_100k.csv.gz"
    document = {"clicks": {"path": str(path), "source": "talkingdata", "ip": "opaque"}}
    log = read_log(parse_settings(document), CLOCK)
    assert (log.clicks.num_rows, log.purchases.num_rows, log.rejections.total) == (100_000, 227, 0)
    assert pc.all(pc.is_in(log.purchases["click_id"], log.clicks["click_id"].combine_chunks())).as_py()
    times = log.clicks["time"].cast(pa.int64()).to_numpy()
    assert (times[1:] >= times[:-1]).all()


def test_a_column_changes_its_type_within_the_log(tmp_path: Path) -> None:
    """Text where a number stood passes in CSV, whose values are text; in Parquet the column is named."""
    for name, rank in (("1", 1), ("2", "first")):
        (tmp_path / f"{name}.csv").write_text(f"{HEADER},rank\n{line(name)},{rank}\n")
        table = pa.table({"click_id": [name], "time": ["2026-03-02T10:00:00Z"], "rank": [rank]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    log = read_log(parse_settings({"clicks": {"path": str(tmp_path / "*.csv")}}), CLOCK)
    assert log.clicks["rank"].to_pylist() == ["1", "first"]
    with pytest.raises(TableError, match="rank"):
        read_log(parse_settings({"clicks": {"path": str(tmp_path / "*.parquet")}}), CLOCK)


@pytest.mark.parametrize("before", [0, 20_000, 160_000, 260_000])
def test_a_huge_user_agent_costs_no_row(tmp_path: Path, before: int) -> None:
    """A user agent of 10 MB is read as any other, wherever in the file it stands, and so are the rows around it."""
    huge = line("huge").replace("Mozilla", "x" * 10_000_000)
    log = read_log(settings_of(tmp_path, *(line(f"a{row}") for row in range(before)), huge, line("z")), CLOCK)
    assert (log.clicks.num_rows, log.rejections.total) == (before + 2, 0)
    assert max(pc.utf8_length(log.clicks["user_agent"]).to_pylist()) == 10_000_000


def test_a_line_without_an_end_is_told(tmp_path: Path) -> None:
    """A line longer than any that is read is named as such, not by what the parser calls it."""
    endless = line("endless").replace("Mozilla", "x" * 80_000_000)
    with pytest.raises(SourceError, match="a line is longer than 32 MiB, or a quote in it is never closed"):
        read_log(settings_of(tmp_path, line("a"), endless, line("z")), CLOCK)


def test_times_as_numbers_refuse_the_log(tmp_path: Path) -> None:
    """A column of seconds, NaN and infinity among them, is refused by its type before any row is lost."""
    times = pa.table({"click_id": ["a", "b", "c"], "time": [1.7e9, float("nan"), float("inf")]})
    pq.write_table(times, tmp_path / "clicks.parquet")
    with pytest.raises(TableError, match="column 'time' holds double; slidr takes timestamps or ISO 8601 text"):
        read_log(parse_settings({"clicks": {"path": str(tmp_path / "clicks.parquet")}}), CLOCK)
