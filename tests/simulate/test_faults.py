from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from slidr.clock import HOUR, SECOND
from slidr.errors import SettingsError
from slidr.simulate import Plan, SimulatedDay, parse_fault, simulate
from slidr.simulate.faults import KINDS, ClockSkew, DuplicatedFeed, Fault, LateFeed, MissingPurchases

SMALL = Plan(clicks=6_000, days=2, burn_in=1)
FIRST = 1
"""Place of the first counted day."""


def both(fault: Fault) -> tuple[list[SimulatedDay], list[SimulatedDay]]:
    """Return the days of a plan without a fault and with it."""
    spoilt = Plan(clicks=6_000, days=2, burn_in=1, faults=(fault,))
    good, bad = (list(simulate(plan, np.random.default_rng(4))) for plan in (SMALL, spoilt))
    assert all(one.truth.equals(other.truth) for one, other in zip(good, bad, strict=True))
    return good, bad


def hours(table: pa.Table) -> np.ndarray:
    """Return the hour of day of each row."""
    found: np.ndarray = table["time"].cast(pa.int64()).to_numpy() // HOUR % 24
    return found


def test_missing_purchases_leave_a_hole() -> None:
    """No purchase of the hours is left, every other one is, and no other day changes."""
    good, bad = both(MissingPurchases(day=1, hour=8, hours=12))
    inside = (hours(good[FIRST].purchases) >= 8) & (hours(good[FIRST].purchases) < 20)
    assert inside.any()
    assert bad[FIRST].purchases.equals(good[FIRST].purchases.filter(pa.array(~inside)))
    assert bad[FIRST].clicks.equals(good[FIRST].clicks)
    assert bad[FIRST + 1].purchases.equals(good[FIRST + 1].purchases)


def test_a_duplicated_feed_repeats_rows() -> None:
    """About the share of rows stands twice, and what is distinct is the day as it was."""
    good, bad = both(DuplicatedFeed(day=2, share=0.3))
    table = bad[FIRST + 1].clicks
    assert table.num_rows == pytest.approx(1.3 * good[FIRST + 1].clicks.num_rows, rel=0.1)
    assert set(table["click_id"].to_pylist()) == set(good[FIRST + 1].clicks["click_id"].to_pylist())


def test_a_late_feed_delivers_a_day_later() -> None:
    """What is missing on the day stands behind the clicks of the day after, its times unchanged."""
    good, bad = both(LateFeed(day=1, share=0.4))
    late = bad[FIRST + 1].clicks.slice(good[FIRST + 1].clicks.num_rows)
    assert late.num_rows == good[FIRST].clicks.num_rows - bad[FIRST].clicks.num_rows > 0
    everything = pa.concat_tables([bad[FIRST].clicks, late]).sort_by("click_id")
    assert everything.equals(good[FIRST].clicks.sort_by("click_id"))


def test_a_skewed_clock_moves_one_region() -> None:
    """The region's times are off by the seconds, the others' are not."""
    good, bad = both(ClockSkew(day=1, seconds=90, region="south"))
    moved = pc.subtract(bad[FIRST].clicks["time"].cast(pa.int64()), good[FIRST].clicks["time"].cast(pa.int64()))
    theirs = pc.equal(good[FIRST].clicks["region"], "south").to_numpy()
    assert (moved.to_numpy() == np.where(theirs, 90 * SECOND, 0)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_written_by_its_name_and_day(kind: str) -> None:
    """Every kind can be written with its day alone, and reads back as data."""
    assert parse_fault(f"{kind}:3") == KINDS[kind](day=3)


@pytest.mark.parametrize("text", ["late_feeds:1", "late_feed", "late_feed:0", "late_feed:x", "late_feed:1:2:3"])
def test_a_fault_that_cannot_be_read_is_refused(text: str) -> None:
    """The message names the fault and how one is written."""
    with pytest.raises(SettingsError, match=text.replace(":", ".")):
        parse_fault(text)


@pytest.mark.parametrize(
    "fault",
    [
        LateFeed(day=3),
        LateFeed(day=1, share=0.0),
        DuplicatedFeed(day=1, share=1.5),
        MissingPurchases(day=1, hour=24),
        MissingPurchases(day=1, hour=20, hours=5),
        ClockSkew(day=1, region="moon"),
    ],
)
def test_a_fault_that_hits_nothing_is_refused(fault: Fault) -> None:
    """A day, hour, share or region that the logs lack is refused with those that they have."""
    with pytest.raises(SettingsError, match="hits nothing in this plan; choose of"):
        next(simulate(Plan(clicks=6_000, days=2, burn_in=0, faults=(fault,)), np.random.default_rng(4)))


def test_a_late_feed_needs_a_day_after() -> None:
    """Without settle days, what is late on the last day would be lost."""
    plan = Plan(clicks=6_000, days=2, burn_in=0, settle=0, faults=(LateFeed(day=2),))
    with pytest.raises(SettingsError, match="day = 2 hits nothing in this plan; choose of 1 to 1"):
        next(simulate(plan, np.random.default_rng(4)))
