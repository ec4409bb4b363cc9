from __future__ import annotations

from typing import get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import SECOND
from slidr.errors import TableError
from slidr.features.clicks import Click
from slidr.lake.door import AHEAD, LONGEST, Seen, admit_clicks, admit_purchases
from slidr.lake.schema import arrow_schema
from slidr.settings import ClicksSettings
from slidr.tables import CLICKS, PURCHASES

NOW = 1_800_000_000 * SECOND
GOOD = "2026-03-02T10:00:00Z"
SETTINGS = ClicksSettings()


def admit(settings: ClicksSettings = SETTINGS, /, **columns: object) -> tuple[pa.Table, dict[tuple[str, str], int]]:
    """Admit clicks of the given columns; identifiers and times are made where they are not given."""
    rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    made = {"click_id": [f"c{row}" for row in range(rows)], "time": [GOOD] * rows}
    clicks, rejections = admit_clicks(pa.table({**made, **columns}), settings=settings, now=NOW)
    assert clicks.num_rows + rejections.total == rows
    return clicks, rejections.counts


def test_clean_rows_pass_and_follow_the_schema() -> None:
    """A clean row is admitted with our types, and its further columns pass through."""
    clicks, counts = admit(user=["u"], cost=["250000"], logged_in=["true"], region=["north"])
    assert counts == {}
    assert clicks.schema.names == [*CLICKS.names, "region"]
    assert clicks.drop_columns(["region"]).schema.equals(arrow_schema(CLICKS))
    assert clicks.select(["user", "cost", "logged_in"]).to_pylist() == [
        {"user": "u", "cost": 250_000, "logged_in": True}
    ]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("time", None, "null"),
        ("time", "", "null"),
        ("time", "yesterday", "not a time"),
        ("time", "2026-02-30T00:00:00Z", "not a time"),
        ("time", "NaN", "not a time"),
        ("time", "-inf", "not a time"),
        ("time", "1e999", "not a time"),
        ("time", "99999-01-01T00:00:00Z", "not a time"),
        ("time", "2026-03-02T10:00:00", "without a time zone"),
        ("time", "1969-12-31T23:59:59Z", "not after the start of 1970"),
        ("time", "1970-01-01T00:00:00Z", "not after the start of 1970"),
        ("time", "2100-01-01T00:00:00Z", "in the future"),
        ("click_id", None, "null"),
        ("click_id", "", "null"),
        ("click_id", "c0", "occurred before"),
        ("click_id", "ä" * 257, "longer than 256 characters"),
        ("ip", "10.0.0.256", "not an IP address"),
        ("ip", "::ffff:192.0.2.256", "not an IP address"),
        ("ip", "192.0.2.01", "not an IP address"),
        ("ip", "2001:db8::1::2", "not an IP address"),
        ("ip", "192.0.2.1, 10.0.0.1", "not an IP address"),
        ("logged_in", "perhaps", "not true or false"),
        ("cost", "0.5", "not a whole number"),
        ("cost", "-1", "negative"),
        ("cost", "9223372036854775808", "not a whole number"),
    ],
)
def test_a_row_at_fault_is_rejected_alone(column: str, value: str | None, reason: str) -> None:
    """The neighbours of a row at fault are admitted, and the fault is counted under its column and reason."""
    fine = {"time": GOOD, "ip": "192.0.2.1", "logged_in": "true", "cost": "1"}
    good = ["c0", "c2"] if column == "click_id" else [fine[column]] * 2
    clicks, counts = admit(**{column: [good[0], value, good[1]]})
    assert clicks["click_id"].to_pylist() == ["c0", "c2"]
    assert counts == {(column, reason): 1}


def test_examples_show_row_and_raw_value() -> None:
    """The first five rows at fault are kept, with what stood there."""
    raw = pa.table({"click_id": list("abcdefgh"), "time": [GOOD, *["never"] * 7]})
    _, rejections = admit_clicks(raw, settings=SETTINGS, now=NOW)
    assert rejections.examples["time", "not a time"] == tuple((row, "never") for row in range(1, 6))
    assert rejections.summary()[0].startswith("time: not a time: 7 rows, such as row 1 'never', row 2")


def test_a_row_with_two_faults_is_counted_once() -> None:
    """Counts add up to the rows that are missing."""
    _, counts = admit(time=["never"], ip=["nowhere"])
    assert counts == {("time", "not a time"): 1}


def test_null_users_sessions_and_addresses_are_admitted() -> None:
    """Clicks without user, session, ip and the rest are flagged later, never dropped; empty text reads null."""
    clicks, counts = admit(
        user=["", None], session=[None, ""], ip=["", None], user_agent=["", ""], logged_in=["", None]
    )
    assert counts == {}
    assert (
        clicks.select(["user", "session", "ip", "user_agent", "logged_in"]).to_pylist()
        == [dict.fromkeys(["user", "session", "ip", "user_agent", "logged_in"])] * 2
    )


def test_addresses_are_made_canonical() -> None:
    """One client has one address, however it was written."""
    clicks, counts = admit(ip=["2001:DB8::0:1", "::ffff:192.0.2.1", "192.0.2.1"])
    assert counts == {}
    assert clicks["ip"].to_pylist() == ["2001:db8::1", "192.0.2.1", "192.0.2.1"]


def test_the_service_takes_what_the_door_takes() -> None:
    """The longest click_id and the first instant are those of the service's door."""
    admit(click_id=["ä" * LONGEST], time=["1970-01-01T00:00:00.000001Z"])
    [limits] = get_type_hints(Click, include_extras=True)["click_id"].__metadata__
    assert limits.max_length == LONGEST


def test_whole_floats_are_identifiers_without_an_exponent() -> None:
    """Identifiers that were stored as floats for their gaps are written as the integers that they are."""
    clicks, counts = admit(user=[12345678901.0, float("nan"), None], cost=[1e15, 2e18, 1.5])
    assert counts == {("cost", "not a whole number"): 1}
    assert clicks["user"].to_pylist() == ["12345678901", None]
    assert clicks["cost"].to_pylist() == [10**15, 2 * 10**18]
    with pytest.raises(TableError, match=r"'user': 7\.5 is a float with a fraction"):
        admit(user=[7.0, 7.5])


def test_empty_text_is_null_in_further_columns_too() -> None:
    """A further column's empty text is missing, as it is in ours; other types pass as they are."""
    clicks, counts = admit(region=["", "north"], rank=[0.5, None], tags=[["a"], []])
    assert counts == {}
    assert clicks.select(["region", "rank", "tags"]).to_pydict() == {
        "region": [None, "north"],
        "rank": [0.5, None],
        "tags": [["a"], []],
    }


def test_opaque_addresses_are_left_alone() -> None:
    """Where a log encodes its addresses, any string is one."""
    clicks, counts = admit(ClicksSettings(ip="opaque"), ip=["87540", "x"])
    assert counts == {}
    assert clicks["ip"].to_pylist() == ["87540", "x"]


def test_times_without_a_zone_take_that_of_the_settings() -> None:
    """A local time is read in the zone set, beside times that carry their own."""
    clicks, counts = admit(
        ClicksSettings(timezone="Europe/Berlin"), time=["2026-07-01T12:00:00", "2026-07-01T10:00:00Z"]
    )
    assert counts == {}
    assert clicks["time"][0] == clicks["time"][1]


def test_typed_times_without_a_zone_are_rejected_unless_one_is_set() -> None:
    """A naive timestamp of a Parquet file is treated as naive text is."""
    naive = pa.array([NOW - 1]).cast(pa.timestamp("us"))
    assert admit(time=naive)[1] == {("time", "without a time zone"): 1}
    assert admit(ClicksSettings(timezone="UTC"), time=naive)[1] == {}


def test_the_future_begins_five_minutes_ahead() -> None:
    """A clock that is a little fast is forgiven, up to the limit and not beyond it."""
    times = pa.array([NOW + AHEAD, NOW + AHEAD + 1]).cast(pa.timestamp("us", "UTC"))
    clicks, counts = admit(time=times)
    assert clicks.num_rows == 1
    assert counts == {("time", "in the future"): 1}


def test_bytes_that_are_not_text_are_rejected_in_any_column() -> None:
    """Broken UTF-8 is found in our columns and in further ones."""
    clicks, counts = admit(user=[b"\xff", b"u", b"u"], region=[b"x", b"\xfe", b"y"])
    assert counts == {("user", "not UTF-8"): 1, ("region", "not UTF-8"): 1}
    assert clicks["region"].to_pylist() == ["y"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["time"], "'click_id' is missing; known: time"),
        (["click_id", "tme"], "'time' is missing; did you mean 'tme'"),
        (["click_id", "time", "user_agnt"], "did you mean 'user_agent'"),
    ],
)
def test_missing_and_misspelt_columns_refuse_the_log(columns: list[str], message: str) -> None:
    """A column that is not there is no fault of a row; the nearest column is suggested."""
    with pytest.raises(TableError, match=message):
        admit_clicks(pa.table({name: [GOOD] for name in columns}), settings=SETTINGS, now=NOW)


def test_an_empty_log_gives_an_empty_table() -> None:
    """No rows in, no rows out, and the schema is ours."""
    clicks, rejections = admit_clicks(pa.table({"click_id": [], "time": []}), settings=SETTINGS, now=NOW)
    assert clicks.schema.equals(arrow_schema(CLICKS))
    assert (clicks.num_rows, rejections.total) == (0, 0)


def test_a_repeat_is_known_across_chunks_and_its_row_is_that_of_the_log() -> None:
    """The first of two clicks with one identifier wins, also where the second comes in a later chunk."""
    seen = Seen()
    first = pa.table({"click_id": ["a", "b"], "time": [GOOD] * 2})
    assert admit_clicks(first, settings=SETTINGS, now=NOW, seen=seen)[0].num_rows == 2
    clicks, rejections = admit_clicks(
        pa.table({"click_id": ["c", "a"], "time": [GOOD] * 2}), settings=SETTINGS, now=NOW, seen=seen
    )
    assert clicks["click_id"].to_pylist() == ["c"]
    assert rejections.examples == {("click_id", "occurred before"): ((3, "a"),)}


def test_a_rejected_row_does_not_hide_a_good_one_of_its_identifier() -> None:
    """Only admitted rows count as the first of their identifier."""
    clicks, counts = admit(click_id=["a", "a"], time=["never", GOOD])
    assert clicks["click_id"].to_pylist() == ["a"]
    assert counts == {("time", "not a time"): 1}


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.integers(1, 7))
def test_chunks_do_not_change_what_is_a_repeat(identifiers: list[str], size: int) -> None:
    """However the log is cut, exactly the first of each identifier is admitted."""
    seen = Seen()
    kept: list[str] = []
    for start in range(0, len(identifiers), size):
        chunk = pa.array(identifiers[start : start + size])
        repeated = seen.repeats(chunk)
        kept += [name for name, repeat in zip(chunk.to_pylist(), repeated, strict=True) if name and not repeat]
    assert kept == list(dict.fromkeys(identifiers))


def test_a_long_table_is_admitted_whole() -> None:
    """A table of more than one chunk keeps its order, its faults and its numbering of rows."""
    rows = 600_001
    identifiers = np.arange(rows).astype(str).tolist()
    raw = pa.table({"click_id": identifiers, "time": [GOOD] * (rows - 1) + ["never"]})
    clicks, rejections = admit_clicks(raw, settings=SETTINGS, now=NOW)
    assert clicks["click_id"].to_pylist() == identifiers[:-1]
    assert rejections.examples == {("time", "not a time"): ((rows - 1, "never"),)}


def test_purchases_pass_the_same_door() -> None:
    """Purchases are checked as clicks are; refunds and further columns stay outside."""
    raw = pa.table(
        {
            "purchase_id": ["p1", "p2", "p1", "p3"],
            "time": [GOOD] * 4,
            "user": ["u", None, "u", "u"],
            "value": ["1000000", "0", "5", "-5"],
            "basket": ["x"] * 4,
        }
    )
    purchases, rejections = admit_purchases(raw, settings=SETTINGS, now=NOW)
    assert purchases.schema.equals(arrow_schema(PURCHASES))
    assert purchases["purchase_id"].to_pylist() == ["p1", "p2"]
    assert rejections.counts == {("value", "negative"): 1, ("purchase_id", "occurred before"): 1}


def test_a_misspelt_column_of_purchases_is_refused() -> None:
    """A further column of purchases is dropped only where it cannot be one of ours."""
    raw = pa.table({"purchase_id": ["p"], "time": [GOOD], "clickid": ["c"]})
    with pytest.raises(TableError, match="did you mean 'click_id'"):
        admit_purchases(raw, settings=SETTINGS, now=NOW)
