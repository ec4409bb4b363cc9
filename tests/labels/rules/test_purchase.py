from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr.clock import HOUR
from slidr.labels.rules import purchase
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


def buyers(clicks: list[Click], bought: list[Bought], as_of: int = LATE) -> list[str | None]:
    """Return who bought after clicks (hour, user), named c00, c01, ..., given purchases (hour, user, click_id)."""
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
    tables = conform(CLICKS, made), conform(PURCHASES, paid)
    found: list[str | None] = purchase.purchasers(*tables, as_of=as_of, settings=SETTINGS).to_pylist()
    human = purchase.human(*tables, as_of=as_of, settings=SETTINGS)
    assert human.tolist() == [buyer is not None for buyer in found]
    return found


def marked(clicks: list[Click], bought: list[Bought], as_of: int = LATE) -> list[bool]:
    """Return which of the clicks led to a purchase."""
    return [buyer is not None for buyer in buyers(clicks, bought, as_of)]


def plainly(clicks: list[Click], bought: list[Bought]) -> list[str | None]:
    """Say the rule again, one purchase at a time, the first one first."""
    found: list[str | None] = [None] * len(clicks)
    for when, place in sorted((when, place) for place, (when, _, _) in enumerate(bought)):
        _, who, which = bought[place]
        touched = [
            (hour, row)
            for row, (hour, user) in enumerate(clicks)
            if (which == f"c{row:02}" and 0 <= when - hour <= 24)
            or (which is None and who is not None and user == who and 0 <= when - hour <= 24)
        ]
        if touched:
            row = max(touched)[1]
            found[row] = found[row] or who or clicks[row][1] or f"c{row:02}"
    return found


@given(CLICKS_DRAWN, BOUGHT_DRAWN)
def test_the_rule_is_what_its_definition_says(clicks: list[Click], bought: list[Bought]) -> None:
    """The vectorised rule agrees with the definition, ties, windows and buyers included."""
    assert buyers(clicks, bought) == plainly(clicks, bought)


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


def test_a_buyer_is_named_as_well_as_can_be() -> None:
    """It is the purchase's user, else the click's, else the click itself."""
    bought: list[Bought] = [(1, "eve", "c00"), (1, None, "c01"), (1, None, "c02")]
    assert buyers([(0, "ann"), (0, "ann"), (0, None), (0, "bob")], bought) == ["eve", "ann", "c02", None]


def test_the_first_of_several_purchases_names_the_buyer() -> None:
    """Whichever row it stands in, the earliest purchase of a click counts, by click_id or by user."""
    assert buyers([(0, "ann")], [(9, "bob", "c00"), (5, "eve", "c00")]) == ["eve"]
    assert buyers([(0, "ann")], [(9, "bob", "c00"), (5, "ann", None)]) == ["ann"]
