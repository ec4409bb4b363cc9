"""Values of raw logs: parsing of whole columns, with a mask of the rows at fault for each reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from slidr.addresses import canonical
from slidr.errors import TableError

TIME = pa.timestamp("us", tz="UTC")
NOT_TEXT = "not UTF-8"
NOT_A_TIME = "not a time"
NO_ZONE = "without a time zone"
NOT_WHOLE = "not a whole number"
NOT_BOOLEAN = "not true or false"
NOT_AN_ADDRESS = "not an IP address"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are counted from a local epoch until their zone is known
_MICROSECOND = timedelta(microseconds=1)
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}(\.0*)?")
_PLAIN = r"^[0-9]{1,18}$"
_LIMIT = 2**63
_EXACT = 2**53  # up to here a float holds every whole number
_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Parsed:
    """A parsed column, and for each reason the rows at fault, which are null in `values`."""

    values: pa.Array[Any]
    faults: dict[str, Mask] = field(default_factory=dict)


def mask(values: Any) -> Mask:
    """Return an Arrow array of booleans as numpy, null as false."""
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def text(name: str, values: pa.Array[Any]) -> Parsed:
    """Return a column as strings; an empty string becomes null, whole numbers are written without exponent or point.

    Floats are taken because a column of integers with gaps is often stored as floats, NaN where a value is missing.

    Raises:
        TableError: the column holds lists or structs, or a float with a fraction or past 2^53, whose digits are lost.
    """
    kind = values.type
    faults: dict[str, Mask] = {}
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    elif pa.types.is_nested(kind):
        raise TableError(f"column {name!r} holds {kind}; slidr takes one value a row", column=name)
    elif pa.types.is_floating(kind):
        values = _whole_floats(name, values)
    try:
        texts = values if values.type == pa.string() else values.cast(pa.string())
    except pa.ArrowInvalid:
        texts, faults = _decoded(values)
    empty = pc.equal(texts, pa.scalar(""))
    if pc.any(empty).as_py():
        texts = pc.if_else(empty, pa.scalar(None, pa.string()), texts)
    return Parsed(texts, faults)


def _whole_floats(name: str, values: pa.Array[Any]) -> pa.Array[Any]:
    """Return floats as int64, NaN as null."""
    numbers, missing = _floats(values)
    wrong = np.flatnonzero(~((np.trunc(numbers) == numbers) & (np.abs(numbers) <= _EXACT)))
    if len(wrong):
        value = float(numbers[wrong[0]])
        raise TableError(
            f"column {name!r}: {value!r} is a float with a fraction or past 2^53, no identifier; "
            "write the column as text",
            column=name,
            value=value,
        )
    return pa.array(numbers.astype(np.int64), mask=missing)


def _floats(values: pa.Array[Any]) -> tuple[NDArray[np.float64], Mask]:
    """Return floats with 0 where they are null or NaN, and where that is."""
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers)
    return np.where(missing, 0.0, numbers), missing


def _decoded(values: pa.Array[Any]) -> tuple[pa.Array[Any], dict[str, Mask]]:
    found: list[str | None] = []
    bad = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values.to_pylist()):
        try:
            found.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            found.append(None)
            bad[row] = True
    return pa.array(found, pa.string()), {NOT_TEXT: bad}


def moments(name: str, values: pa.Array[Any], zone: str) -> Parsed:
    """Return a column as instants, from timestamps or from ISO 8601 text.

    Args:
        name: the column, for errors.
        values: timestamps of any unit, or text such as `2017-11-07 09:30:38+00:00`.
        zone: time zone of times that carry none; empty: such times are faults. Of an hour that occurs twice the first
            is meant; a time in an hour that is skipped counts as the last instant before it.

    Raises:
        TableError: the column holds neither timestamps nor text.
    """
    kind = values.type
    if pa.types.is_timestamp(kind):
        if kind.tz is not None:
            return Parsed(values.cast(TIME, safe=False))
        local = values.cast(pa.timestamp("us"), safe=False)
        if zone:
            return Parsed(_localised(local, zone))
        return Parsed(pa.nulls(len(values), TIME), {NO_ZONE: mask(pc.is_valid(values))})
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_date(kind) or pa.types.is_boolean(kind):
        raise TableError(
            f"column {name!r} holds {kind}; slidr takes timestamps or ISO 8601 text such as 2017-11-07T09:30:38Z",
            column=name,
        )
    parsed = text(name, values)
    try:
        return Parsed(parsed.values.cast(TIME), parsed.faults)
    except pa.ArrowInvalid:
        pass
    if zone:
        try:
            return Parsed(_localised(parsed.values.cast(pa.timestamp("us")), zone), parsed.faults)
        except pa.ArrowInvalid:
            pass
    return _moments_one_by_one(parsed, zone)


def _localised(local: Any, zone: str) -> pa.Array[Any]:
    options = pc.AssumeTimezoneOptions(zone, ambiguous="earliest", nonexistent="earliest")
    return pc.call_function("assume_timezone", [local], options).cast(TIME)


def _moments_one_by_one(parsed: Parsed, zone: str) -> Parsed:
    """Parse a column in which some value is at fault, or only some carry a zone."""
    rows = len(parsed.values)
    instants = np.zeros(rows, np.int64)
    zoned, local, bad = (np.zeros(rows, np.bool_) for _ in range(3))
    for row, value in enumerate(parsed.values.to_pylist()):
        if value is None:
            continue
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            bad[row] = True
            continue
        if moment.tzinfo is None:
            local[row] = True
            instants[row] = (moment - _NAIVE_EPOCH) // _MICROSECOND
        else:
            zoned[row] = True
            instants[row] = (moment - _EPOCH) // _MICROSECOND
    times = pa.array(instants, mask=~zoned).cast(TIME)
    if not zone:
        return Parsed(times, {**parsed.faults, NOT_A_TIME: bad, NO_ZONE: local})
    localised = _localised(pa.array(instants, mask=~local).cast(pa.timestamp("us")), zone)
    return Parsed(pc.coalesce(times, localised), {**parsed.faults, NOT_A_TIME: bad})


def whole(name: str, values: pa.Array[Any]) -> Parsed:
    """Return a column as int64, from numbers without a fraction or from their text; NaN is null."""
    if pa.types.is_floating(values.type):
        numbers, missing = _floats(values)
        bad = ~((np.trunc(numbers) == numbers) & (numbers >= -_LIMIT) & (numbers < _LIMIT))
        found = pa.array(np.where(bad, 0, numbers).astype(np.int64), mask=missing | bad)
        return Parsed(found, {NOT_WHOLE: bad} if bad.any() else {})
    if pa.types.is_integer(values.type) and not pa.types.is_uint64(values.type):
        return Parsed(values.cast(pa.int64()))
    if pa.types.is_string(values.type) and pc.all(pc.match_substring_regex(values, _PLAIN)).as_py():
        return Parsed(values.cast(pa.int64()))
    return _by_value(name, values, _whole, pa.int64(), NOT_WHOLE)


def truth(name: str, values: pa.Array[Any]) -> Parsed:
    """Return a column as booleans, from booleans or from true/false, t/f, yes/no, 1/0 in any case."""
    if pa.types.is_boolean(values.type):
        return Parsed(values)
    return _by_value(name, values, lambda value: _BOOLEANS.get(value.lower()), pa.bool_(), NOT_BOOLEAN)


def address(name: str, values: pa.Array[Any]) -> Parsed:
    """Return a column of IP addresses in canonical form; see `slidr.addresses.canonical`."""
    return _by_value(name, values, canonical, pa.string(), NOT_AN_ADDRESS)


def _whole(value: str) -> int | None:
    if not _WHOLE.fullmatch(value):
        return None
    number = int(value.partition(".")[0])
    return number if -_LIMIT <= number < _LIMIT else None


def _by_value(
    name: str, values: pa.Array[Any], parse: Callable[[str], object], kind: pa.DataType, reason: str
) -> Parsed:
    """Parse each distinct value once; a value that parses to None is at fault."""
    texts = text(name, values)
    encoded = texts.values.dictionary_encode()
    parsed = [parse(str(value)) for value in encoded.dictionary.to_pylist()]
    found = pa.array(parsed, kind).take(encoded.indices)
    if None not in parsed:
        return Parsed(found, texts.faults)
    bad = mask(pc.and_(pc.is_null(found), pc.is_valid(texts.values)))
    return Parsed(found, {**texts.faults, reason: bad})
