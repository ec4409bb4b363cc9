from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import HOUR
from slidr.labels import purchase
from slidr.lake.schema import conform
from slidr.settings import LabelsSettings
from slidr.tables import CLICKS, PURCHASES

UTC = pa.timestamp("us", tz="UTC")
SETTINGS = LabelsSettings(attribution_window="24h")
LATE = 10_000 * HOUR
Click = tuple[int, str | None]
Bought = tuple[int, str | None, str | None]
HOURS = st.integers(0, 60)
WHO = st.sampled_from(["ann", "bob", None])
CLICKS_DRAWN = st.lists(st.tuples(HOURS, WHO), max_size=12)
BOUGHT_DRAWN = st.lists(st.tuples(HOURS, WHO, st.sampled_from([None, None, "c00", "c03", "elsewhere"])), max_size=8)


def marked(clicks: list[Click], bought: list[Bought], as_of: int = LATE) -> list[bool]:
    """Return the labels of clicks (hour, user), named c00, c01, ..., given purchases (hour, user, click_id)."""
    made = pa.table(
        {
            "click_id": pa.array([f"c{row:02}" for row in range(len(clicks))], pa.string()),
            "time": pa.array([hour * HOUR for hour, _ in clicks], pa.int64()).cast(UTC),
            "user": pa.array([user for _, user in clicks], pa.string()),
        }
    )
    paid = pa.table(
        {
            "purchase_id": pa.array([f"p{row}" for row in range(len(bought))], pa.string()),
            "time": pa.array([hour * HOUR for hour, _, _ in bought], pa.int64()).cast(UTC),
            "user": pa.array([user for _, user, _ in bought], pa.string()),
            "click_id": pa.array([click for _, _, click in bought], pa.string()),
        }
    )
    found = purchase.human(conform(CLICKS, made), conform(PURCHASES, paid), as_of=as_of, settings=SETTINGS)
    return [bool(one) for one in found]


def plainly(clicks: list[Click], bought: list[Bought]) -> list[bool]:
    """Say the rule again, one purchase at a time."""
    human = [False] * len(clicks)
    for when, who, which in bought:
        touched = [
            (hour, row)
            for row, (hour, user) in enumerate(clicks)
            if (which == f"c{row:02}" and 0 <= when - hour <= 24)
            or (which is None and who is not None and user == who and 0 <= when - hour <= 24)
        ]
        if touched:
            human[max(touched)[1]] = True
    return human


@given(CLICKS_DRAWN, BOUGHT_DRAWN)
def test_the_rule_is_what_its_definition_says(clicks: list[Click], bought: list[Bought]) -> None:
    """The vectorised rule agrees with the definition, ties and windows included."""
    assert marked(clicks, bought) == plainly(clicks, bought)


@given(CLICKS_DRAWN, BOUGHT_DRAWN, BOUGHT_DRAWN)
def test_more_purchases_never_unlabel(clicks: list[Click], bought: list[Bought], more: list[Bought]) -> None:
    """A click once human stays human when purchases are added."""
    before, after = marked(clicks, bought), marked(clicks, [*bought, *more])
    assert all(later for earlier, later in zip(before, after, strict=True) if earlier)


@pytest.mark.parametrize(
    ("bought", "expected"),
    [
        ((12, "ann", None), [False, True, False]),
        ((10, "ann", None), [False, True, False]),
        ((9, "ann", None), [True, False, False]),
        ((34, "ann", None), [False, True, False]),
        ((35, "ann", None), [False, False, False]),
        ((12, "eve", None), [False, False, False]),
        ((12, "ann", "c00"), [True, False, False]),
        ((12, "eve", "c02"), [False, False, True]),
        ((12, "ann", "elsewhere"), [False, False, False]),
        ((33, None, "c00"), [False, False, False]),
        ((8, None, "c00"), [True, False, False]),
        ((7, "ann", "c00"), [False, False, False]),
    ],
    ids=[
        "last touch", "same time", "between", "window's end", "past the window", "another user", "attributed",
        "attributed to another user", "attributed to a click elsewhere", "attributed too late", "attributed at once",
        "attributed before the click",
    ],
)  # fmt: skip
def test_who_gets_the_credit(bought: Bought, expected: list[bool]) -> None:
    """Clicks of ann at 8 and 10 and of bob at 11: one purchase marks at most one of them."""
    assert marked([(8, "ann"), (10, "ann"), (11, "bob")], [bought]) == expected


def test_a_repeated_attribution_counts_from_its_first_purchase() -> None:
    """A late second purchase of a click does not take the first one's credit away."""
    assert marked([(0, "ann")], [(99, "ann", "c00"), (5, "ann", "c00")]) == [True]


def test_a_purchase_before_its_click_hides_no_later_one() -> None:
    """Of two purchases attributed to a click, one before it and one after it, the one after it counts."""
    assert marked([(6, "ann")], [(5, "ann", "c00")]) == [False]
    assert marked([(6, "ann")], [(5, "ann", "c00"), (7, "ann", "c00")]) == [True]
