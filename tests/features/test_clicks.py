"""Clicks: requests and tables become the same batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import small

from slidr.features.catalogue import Catalogue, Clicks, Distinct, check_catalogue
from slidr.features.clicks import Click, click_type, encode_clicks, microseconds
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.tables import CLICKS

PSEUDONYMISER = Pseudonymiser(small.SECRET)


def test_a_request_has_the_columns_of_the_table() -> None:
    """The fields of a click are the columns of CLICKS and the headers, and the same ones may be missing."""
    assert Click.__struct_fields__ == (*CLICKS.names, "headers")
    needed = {field.name for field in msgspec.structs.fields(Click) if field.required}
    assert needed == {column.name for column in CLICKS.columns if not column.nullable}


def test_further_columns_are_fields() -> None:
    """Columns that are not ours become fields that take any plain value; ours are not repeated."""
    assert click_type(["device", "logged_in"]) is Click
    kind = click_type(["device", "tier", "os"])
    assert kind.__struct_fields__ == (*Click.__struct_fields__, "tier", "os")
    click = msgspec.json.decode(b'{"click_id": "a", "time": "2026-03-02T00:00:00Z", "tier": 3}', type=kind)
    assert msgspec.structs.asdict(click)["tier"] == 3
    assert msgspec.structs.asdict(click)["os"] is None


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001 the zone is drawn beside it
    st.integers(-14 * 60, 14 * 60),
)
def test_microseconds_are_exact(time: datetime, offset: int) -> None:
    """A time in any zone is its exact microsecond, with no rounding by floats."""
    zoned = time.replace(tzinfo=timezone(timedelta(minutes=offset)))
    found = microseconds(zoned)
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=found) == zoned


def test_a_batch_holds_no_identifier(layout: Layout) -> None:
    """What goes on from here are hashes and numbers; null identifiers are zero."""
    clicks = [
        Click(click_id="a", time=small.START, user="ada", ip="192.0.2.1", logged_in=True),
        Click(click_id="b", time=small.START + timedelta(microseconds=5), session="s", logged_in=False),
        Click(click_id="c", time=small.START),
    ]
    batch = encode_clicks(clicks, layout, PSEUDONYMISER)
    assert len(batch) == 3
    assert (batch.times - batch.times[0]).tolist() == [0, 5, 0]
    assert batch.logged_in.tolist() == [1, 0, -1]
    np.testing.assert_array_equal(batch.ids, PSEUDONYMISER.texts(["a", "b", "c"]))
    rows = {entity: batch.keys[row].astype(bool).tolist() for row, entity in enumerate(layout.keys)}
    assert rows[("user",)] == rows[("ip",)] == rows[("network",)] == [True, False, False]
    assert rows[("session",)] == [False, True, False]
    assert rows[("ip", "user_agent")] == [False, False, False]


def test_equal_values_of_a_column_have_equal_keys(layout: Layout) -> None:
    """Neighbours of one /24 share their network's key and not their address's; a compound key needs all its parts."""
    texts = (("192.0.2.1", "a"), ("192.0.2.2", "a"), ("192.0.2.1", "b"), ("192.0.3.1", "a"))
    clicks = [Click(click_id="a", time=small.START, ip=ip, user_agent=agent) for ip, agent in texts]
    batch = encode_clicks(clicks, layout, PSEUDONYMISER)
    distinct = {entity: len(np.unique(batch.keys[row])) for row, entity in enumerate(layout.keys)}
    assert (distinct[("network",)], distinct[("ip",)], distinct[("ip", "user_agent")]) == (2, 3, 4)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_taking_some_clicks(mask: list[bool]) -> None:
    """A part of a batch by mask, by places or by slice is that part of each array."""
    catalogue: Catalogue = check_catalogue((Clicks("ip", "1h"), Distinct("user", ("ip", "device"), "1h")))
    layout = compile_catalogue(catalogue)
    batch = encode_clicks(small.random_clicks(len(mask), seed=3), layout, PSEUDONYMISER)
    chosen = np.array(mask)
    for part in (batch.take(chosen), batch.take(np.flatnonzero(chosen))):
        np.testing.assert_array_equal(part.ids, batch.ids[chosen])
        np.testing.assert_array_equal(part.keys, batch.keys[:, chosen])
        assert part.keys.flags.c_contiguous
        assert len(part) == sum(mask)
    np.testing.assert_array_equal(batch.take(slice(1, 3)).times, batch.times[1:3])


@pytest.mark.parametrize("fields", [{}, {"click_id": ""}, {"click_id": "x" * 257}, {"time": "2026-03-02T00:00:00"}])
def test_what_is_no_click(fields: dict[str, str]) -> None:
    """A click needs an identifier of 1 to 256 characters and a time with a zone."""
    document = {"click_id": "a", "time": "2026-03-02T00:00:00Z"} | fields if fields else {}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Click)
