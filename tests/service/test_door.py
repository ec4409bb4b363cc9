from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.making import NOW, START, click

from slidr.clock import ManualClock
from slidr.features.clicks import click_type
from slidr.service.door import AHEAD, Door, Problem, RefusedError

DOOR = Door(click_type(["device", "placement"]), addresses=True, most=100, clock=ManualClock(NOW))
OPAQUE = Door(click_type([]), addresses=False, most=100, clock=ManualClock(NOW))


def refusal(content: bytes, door: Door = DOOR) -> Problem:
    """Return why a body is refused."""
    with pytest.raises(RefusedError) as caught:
        door.admit(content)
    return caught.value.problem


def encode(*clicks: object) -> bytes:
    """Return an array of clicks as JSON."""
    return msgspec.json.encode(clicks)


def test_a_click_and_an_array_of_clicks_are_admitted() -> None:
    """An object is one click, an array as many as it holds, none included, whatever blanks stand before it."""
    one = DOOR.admit(msgspec.json.encode(click(1, placement="top")))
    assert (one.single, len(one.items), one.faults) == (True, 1, {})
    assert one.items[0].placement == "top"  # type: ignore[attr-defined]
    many = DOOR.admit(b" \n" + encode(click(1), click(2)))
    assert (many.single, [found.click_id for found in many.items]) == (False, ["click-1", "click-2"])
    assert DOOR.admit(b"[]").items == []


MALFORMED: list[tuple[dict[str, Any], str, Any, str]] = [
    ({"time": 5}, "time", 5, "datetime, got int"),
    ({"time": "soon"}, "time", "soon", "RFC3339"),
    ({"time": "2026-03-02T08:00:00"}, "time", "2026-03-02T08:00:00", "timezone"),
    ({"time": "1970-01-01T00:00:00Z"}, "time", "1970-01-01T00:00:00Z", "later than 1970"),
    ({"time": "2999-01-01T00:00:00Z"}, "time", "2999-01-01T00:00:00Z", "5 minutes ahead of the clock"),
    ({"click_id": ""}, "click_id", "", "str of length >= 1"),
    ({"click_id": None}, "click_id", None, "str"),
    ({"ip": "10.0.0.256"}, "ip", "10.0.0.256", "an IPv4 or IPv6 address"),
    ({"logged_in": "yes"}, "logged_in", "yes", "bool | null, got str"),
    ({"cost": -1}, "cost", -1, "int >= 0"),
    ({"cost": 2**63}, "cost", 2**63, "int <= 9223372036854775807"),
    ({"user_agent": "x" * 8193}, "user_agent", "x" * 200, "str of length <= 8192"),
    ({"headers": {"accept": 1}}, "headers[...]", {"accept": 1}, "expected: str, got int"),
    ({"cost": 1.5}, "cost", 1.5, "int | null, got float"),
    ({"placement": [1]}, "placement", [1], "got array"),
]


@pytest.mark.parametrize(("change", "path", "value", "expected"), MALFORMED)
def test_a_malformed_click_is_named_by_field_and_value(
    change: dict[str, Any], path: str, value: object, expected: str
) -> None:
    """A wrong value is refused with its path, itself and what is expected, alone and in an array of good clicks."""
    alone = refusal(msgspec.json.encode(click(1, **change)))
    assert (alone.status, alone.path, alone.value) == (422, path, value) or str(alone.value).startswith(str(value)[:10])
    assert expected in alone.detail
    among = DOOR.admit(encode(click(0), click(1, **change), click(2)))
    assert [found.click_id for found in among.items] == ["click-0", "click-2"]
    assert list(among.faults) == [1]
    assert among.faults[1].path == f"[1].{path}"
    assert expected in among.faults[1].detail


def test_a_missing_field_and_a_click_that_is_none_are_named() -> None:
    """What is required and absent is named, and so is a click that is no object."""
    without = {name: value for name, value in click(1).items() if name != "time"}
    found = refusal(msgspec.json.encode(without))
    assert (found.path, found.value) == ("time", None)
    assert "required" in found.detail
    faults = DOOR.admit(encode(click(0), without, 7, None)).faults
    assert [faults[place].path for place in (1, 2, 3)] == ["[1].time", "[2]", "[3]"]
    assert [faults[place].value for place in (2, 3)] == [7, None]
    assert refusal(b"7").detail == "the click is 7; expected: object, got int"


def test_a_time_on_the_edge_is_admitted() -> None:
    """Exactly five minutes ahead of the clock passes, a microsecond more does not."""
    clock = ManualClock(int(START.timestamp()) * 1_000_000 - AHEAD)
    door = Door(click_type([]), addresses=True, most=1, clock=clock)
    content = msgspec.json.encode(click(0, time=START.isoformat()))
    assert len(door.admit(content).items) == 1
    clock.advance(-1)
    assert refusal(content, door).path == "time"


def test_addresses_are_brought_into_one_form() -> None:
    """IPv6 is compressed, a mapped IPv4 is IPv4, and empty texts are null; an opaque ip is left alone."""
    forms = {"2001:DB8:0::1": "2001:db8::1", "::ffff:192.0.2.7": "192.0.2.7", "": None}
    for given_ip, canonical in forms.items():
        assert DOOR.admit(msgspec.json.encode(click(0, ip=given_ip, user=""))).items[0].ip == canonical
    found = OPAQUE.admit(msgspec.json.encode(click(0, ip="8a:not an address", user=""))).items[0]
    assert (found.ip, found.user) == ("8a:not an address", None)


def test_empty_text_is_null_in_further_columns_too() -> None:
    """A column that slices the traffic is missing where it is empty, as it is in a log; other values stay."""
    door = Door(click_type(["shop", "rank"]), addresses=True, most=100, clock=ManualClock(NOW))
    for given_shop, shop in (("", None), ("north", "north"), (0, 0), (False, False)):
        found = door.admit(msgspec.json.encode({**click(0), "shop": given_shop})).items[0]
        assert (getattr(found, "shop"), getattr(found, "rank")) == (shop, None)  # noqa: B009 - of a type made here


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1,",
        b"tru",
        b'{"a":1} x',
        b"\xff\xfe",
        b'{"click_id":"\xff"}',
        b"[" * 100_000,
        b'[{"a":"\xff"',
        b'["',
        b"[1] x",
    ],
)
def test_what_is_not_json_is_refused_whole(content: bytes) -> None:
    """Broken JSON, invalid UTF-8 and endless nesting are refused with 400."""
    problem = refusal(content)
    assert problem.status == 400
    assert "not JSON in UTF-8" in problem.detail


def test_too_many_clicks_are_refused() -> None:
    """A request with more clicks than the limit is refused whole, malformed ones counted."""
    for clicks in ([click(place) for place in range(101)], [7] * 101):
        problem = refusal(encode(*clicks))
        assert problem.status == 413
        assert "101 clicks in one request; at most 100" in problem.detail


def test_long_values_are_shortened() -> None:
    """A value at fault is sent back in at most about 200 characters, and a deep one does no harm."""
    long = refusal(msgspec.json.encode(click(0, ip="x" * 10_000)))
    assert len(str(long.value)) < 210
    deep = b'{"click_id":"a","time":"2026-03-02T08:00:00Z","user":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    assert refusal(deep).status in {400, 422}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(click(0))), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(st.one_of(JSON, JSON.map(lambda value: click(1, user=value)), st.just(click(2))), max_size=6))
def test_every_click_of_an_array_is_admitted_or_named(values: list[object]) -> None:
    """Whatever stands in an array, each place is either a click or a problem with a path that begins with it."""
    found = DOOR.admit(msgspec.json.encode(values))
    assert len(found.items) + len(found.faults) == len(values)
    for place, problem in found.faults.items():
        assert str(problem.path).startswith(f"[{place}]")
        assert msgspec.json.encode(problem)
    for place, value in enumerate(values):
        if value == click(2):
            assert place not in found.faults


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_admitted_or_refused(content: bytes) -> None:
    """No body, however odd, gets anything but clicks or a problem."""
    try:
        DOOR.admit(content)
    except RefusedError as fault:
        assert fault.problem.status in {400, 413, 422}  # noqa: PT017 both outcomes are fine
