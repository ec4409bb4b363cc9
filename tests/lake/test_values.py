from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.errors import TableError
from slidr.lake import values

ZONES = st.sampled_from(["Z", "+00:00", "-0530", "+14"])


@given(st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1)), st.sampled_from("T "), ZONES)  # noqa: DTZ001
def test_a_time_reads_the_same_whatever_its_neighbours(moment: dt.datetime, separator: str, zone: str) -> None:
    """The fast parser of clean columns and the patient one of columns with faults agree."""
    text = moment.isoformat(separator) + zone
    clean = values.moments("time", pa.array([text]), "").values
    beside_a_fault = values.moments("time", pa.array([text, "x"]), "").values
    assert clean[0].as_py() == beside_a_fault[0].as_py()


@given(st.datetimes(dt.datetime(2015, 1, 1), dt.datetime(2030, 1, 1)))  # noqa: DTZ001
def test_a_local_time_reads_the_same_whatever_its_neighbours(moment: dt.datetime) -> None:
    """Local times, those of skipped and repeated hours too, do not depend on the rest of the column."""
    text = moment.isoformat()
    clean = values.moments("time", pa.array([text]), "Europe/Berlin").values
    mixed = values.moments("time", pa.array([text, "2026-03-02T10:00:00Z", "x"]), "Europe/Berlin").values
    assert clean[0].as_py() == mixed[0].as_py()


def test_timestamps_of_any_unit_and_zone_become_microseconds_in_utc() -> None:
    """Typed times keep their instant; nanoseconds are cut off."""
    for kind in (pa.timestamp("s", "UTC"), pa.timestamp("ns", "Asia/Tokyo")):
        parsed = values.moments("time", pa.array([86_400], pa.int64()).cast(pa.timestamp("s", "UTC")).cast(kind), "")
        assert parsed.values.cast(pa.int64()).to_pylist() == [86_400_000_000]


@pytest.mark.parametrize("column", [pa.array([1]), pa.array([1.5]), pa.array([dt.date(2026, 3, 2)]), pa.array([True])])
def test_a_time_column_of_numbers_is_refused(column: pa.Array[object]) -> None:
    """A number has no unit and a date no time of day: the message says what is taken."""
    with pytest.raises(TableError, match="slidr takes timestamps or ISO 8601 text"):
        values.moments("time", column, "UTC")


@given(st.integers())
def test_whole_numbers_are_those_that_fit(number: int) -> None:
    """Text of an integer is read exactly or is at fault where 64 bits do not hold it."""
    parsed = values.whole("cost", pa.array([str(number)]))
    fits = -(2**63) <= number < 2**63
    assert parsed.values.to_pylist() == [number if fits else None]
    assert any(fault.any() for fault in parsed.faults.values()) != fits


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("12.0", 12), ("12.5", None), ("0x1A", None), ("1e3", None), (" 1", None), ("", None), ("-3", -3)],
)
def test_text_of_whole_numbers(raw: str, expected: int | None) -> None:
    """A fraction of zero is whole; hexadecimal, exponents and blanks are not taken."""
    assert values.whole("cost", pa.array([raw])).values.to_pylist() == [expected]


def test_numbers_of_other_types_are_whole_where_they_have_no_fraction() -> None:
    """Floats and unsigned integers are read where they are whole."""
    assert values.whole("cost", pa.array([1.0, 2.5, None])).values.to_pylist() == [1, None, None]
    assert values.whole("cost", pa.array([1e15, 2.0**63, np.nan, np.inf])).values.to_pylist() == [
        10**15,
        None,
        None,
        None,
    ]
    assert values.whole("cost", pa.array([2**63], pa.uint64())).values.to_pylist() == [None]


def test_booleans_are_read_in_any_case() -> None:
    """The usual words are taken, others are faults, null stays null."""
    parsed = values.truth("logged_in", pa.array(["True", "f", "YES", "0", None, "maybe"]))
    assert parsed.values.to_pylist() == [True, False, True, False, None, None]
    assert parsed.faults[values.NOT_BOOLEAN].tolist() == [False] * 5 + [True]


def test_text_takes_any_encoding_of_a_string() -> None:
    """Dictionaries, large strings, bytes and numbers all read as strings; the empty string reads null."""
    for column in (
        pa.array(["7", ""]).dictionary_encode(),
        pa.array(["7", ""], pa.large_string()),
        pa.array([b"7", b""]),
        pa.array([7, None]),
        pa.array([7.0, np.nan]),
        pa.array([7.0, None], pa.float32()),
    ):
        assert values.text("user", column).values.to_pylist() == ["7", None]


def test_text_that_is_not_utf8_is_at_fault_alone() -> None:
    """One broken value leaves its neighbours as they are."""
    parsed = values.text("user", pa.array([b"a", b"\xff", None]))
    assert parsed.values.to_pylist() == ["a", None, None]
    assert parsed.faults[values.NOT_TEXT].tolist() == [False, True, False]


@given(st.integers(-(2**53), 2**53))
def test_whole_floats_are_written_as_integers(number: int) -> None:
    """Every whole number that a float holds exactly is written with all its digits."""
    assert values.text("user", pa.array([float(number)])).values.to_pylist() == [str(number)]


@pytest.mark.parametrize("number", [0.5, 2.0**53 + 2, -1e300, np.inf])
def test_floats_that_name_nobody_are_refused(number: float) -> None:
    """A fraction, or a float that stands for several integers, is refused by column and value."""
    with pytest.raises(TableError, match=r"'user'.*write the column as text"):
        values.text("user", pa.array([1.0, number]))


def test_lists_are_not_text() -> None:
    """A column of lists is refused by name and type."""
    with pytest.raises(TableError, match="'user' holds list"):
        values.text("user", pa.array([["a"]]))
