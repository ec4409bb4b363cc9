from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.making import NOW, click

from slidr.clock import ManualClock
from slidr.features.clicks import Click, click_type
from slidr.service.door import Door
from slidr.service.intake import Admitted, RefusedError

DOOR = Door(click_type(["shop"]), addresses=True, most=100, clock=ManualClock(NOW))
ONE = msgspec.json.encode(click(1))
BAD: dict[bytes, str] = {
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","user":"\\ud800"}': "a click in JSON",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","user":"\xff"}': "a click in JSON",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","user":\xff}': "a click in JSON",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","cost":1e999}': "Number out of range",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","cost":1' + b"0" * 5000 + b"}": "Integer value out of range",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","cost":NaN}': "a click in JSON",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","user":' + b"[" * 9000 + b"]" * 9000 + b"}": "nested too deep",
    b'{"click_id":"a" "time":"2026-03-02T08:00:00Z"}': "a click in JSON",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z"} x': "a click in JSON",
    b"nonsense": "a click in JSON",
    b'{"click_id":"a","time":"2026-03-02T08:00:00Z","note":"a,b]},{[\\"",}': "a click in JSON",
}
"""Clicks that are no JSON, or that nothing holds, and what is said of them."""


def clicks(*places: int) -> list[bytes]:
    """Return clicks as JSON."""
    return [msgspec.json.encode(click(place)) for place in places]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
def test_what_no_parser_reads_spoils_only_itself(bad: bytes, *, lines: bool) -> None:
    """Half a surrogate pair, bytes that are no UTF-8, endless nesting: one click is refused, not its request."""
    parts = [*clicks(0), bad, *clicks(2)]
    body = b"\n".join(parts) if lines else b"[" + b", ".join(parts) + b"]"
    found = DOOR.admit(body, lines=lines)
    assert [item.click_id for item in found.items] == ["click-0", "click-2"]
    assert list(found.faults) == [1]
    assert str(found.faults[1].path).startswith("[1]")
    assert BAD[bad] in found.faults[1].detail
    assert len(msgspec.json.encode(found.faults[1])) < 1500


def test_lines_are_clicks_in_order() -> None:
    """Each line is a click, blank ones are none, however lines end and whether or not the last one does."""
    body = b"\n \r\n".join(clicks(1, 2)) + b"\r\n\n" + clicks(3)[0]
    found = DOOR.admit(body, lines=True)
    assert [item.click_id for item in found.items] == ["click-1", "click-2", "click-3"]
    assert (found.single, found.faults) == (False, {})
    assert DOOR.admit(b"", lines=True).items == []
    assert DOOR.admit(b"[1]\n", lines=True).faults[0].value == [1]


def test_answers_stand_in_their_places() -> None:
    """What was refused stands as an error between the answers to the others."""
    found = DOOR.admit(b"\n".join([b"5", ONE, b"{", ONE]), lines=True)
    told = msgspec.to_builtins(found.in_places(["first", "second"]))
    assert [told[1], told[3]] == ["first", "second"]
    assert [told[0]["error"]["path"], told[2]["error"]["path"]] == ["[0]", "[2]"]
    assert Admitted([], {}, single=False).in_places([]) == []


def test_the_last_of_two_fields_of_one_name_counts() -> None:
    """Of a field that stands twice the last value holds, as in most parsers; fields that are unknown hold nothing."""
    body = b'{"click_id":"a","click_id":"b","time":"2026-03-02T08:00:00Z","cost":1,"cost":2,"colour":"red","\\u0000":1}'
    (found,) = DOOR.admit(body).items
    assert (found.click_id, found.cost) == ("b", 2)


def test_nul_and_other_odd_characters_are_text() -> None:
    """A click_id may hold any character of Unicode, and keeps it."""
    for name in ("\x00", "a\x00b", "\U0001f600", "\u202e", "é", "e\u0301", " "):
        (found,) = DOOR.admit(msgspec.json.encode(click(0, click_id=name))).items
        assert found.click_id == name


@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
def test_a_hundred_thousand_are_refused_whole(*, lines: bool) -> None:
    """More items than one request may hold are refused, whatever they are."""
    for one in (ONE, b"7", b"{]", b'"\\ud800"'):
        parts = [one] * 100_000
        with pytest.raises(RefusedError) as caught:
            DOOR.admit(b"\n".join(parts) if lines else b"[" + b",".join(parts) + b"]", lines=lines)
        assert caught.value.problem.status == 413
        assert "at most 100 are taken" in caught.value.problem.detail


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 4_000_000,
        b"{}" * 2_000_000,
        b'["' + b'\\"' * 2_000_000,
        b"[" + b'"' * 4_000_001,
        b"[" + b"{}" * 2_000_000,
    ],
    ids=["nested", "objects", "escapes", "quotes", "elements"],
)
def test_a_body_made_to_take_long_does_not(body: bytes) -> None:
    """The largest body that is taken is refused after a bounded number of steps, whatever is in it."""
    with pytest.raises(RefusedError):
        DOOR.admit(body)


def test_an_item_that_would_take_long_to_pass_over_spoils_its_request() -> None:
    """One with more brackets than any click has is not passed over: to look at each holds all other requests up."""
    nested = (b"[" * 20_000 + b"]" * 20_000, b"{},[]" * 20_000)
    for item in nested:
        with pytest.raises(RefusedError) as caught:
            DOOR.admit(b'[{"a":[' + item + b"]}," + ONE + b"]")
        assert caught.value.problem.status == 400


PIECES = st.sampled_from(
    [*BAD, ONE, b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b" ", b"1", b"null", b"\xff"]
)


@given(st.lists(PIECES, max_size=8).map(b"".join), st.booleans())
def test_no_body_is_more_than_refused(body: bytes, lines: bool) -> None:  # noqa: FBT001 drawn
    """Whatever the pieces of a body are, its clicks are admitted, or it is refused with a status of its own."""
    try:
        found = DOOR.admit(body, lines=lines)
    except RefusedError as fault:
        assert fault.problem.status in {400, 413, 422}  # noqa: PT017 both outcomes are fine
        return
    assert all(isinstance(item, Click) for item in found.items)
    assert msgspec.json.encode(found.in_places([item.click_id for item in found.items]))


@given(st.lists(st.one_of(st.sampled_from([*BAD, ONE]), st.text(max_size=20).map(msgspec.json.encode)), min_size=1))
def test_an_array_is_cut_at_its_own_commas(parts: list[bytes]) -> None:
    """Array and lines of the same items give the same clicks and the same problems at the same places."""
    array = DOOR.admit(b"[" + b",".join(parts) + b"]")
    lines = DOOR.admit(b"\n".join(parts), lines=True)
    assert array.items == lines.items
    assert list(array.faults) == list(lines.faults)
