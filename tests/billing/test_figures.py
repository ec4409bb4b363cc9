from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tests.decided import Decided, at, lake_of

from slidr.billing.clicks import billed_clicks
from slidr.billing.figures import DIMENSIONS, figures, totals
from slidr.billing.periods import begun, period
from slidr.clock import DAY, HOUR, MINUTE
from slidr.errors import BillingError
from slidr.lake.delta import Lake
from slidr.tables import NO_CURRENCY

MARCH = period("2026-03", "UTC")
NOON = at("2026-03-02T12:00")
VERDICTS = ("valid", "invalid_general", "invalid_sophisticated", "unmeasurable")
ROW = st.tuples(
    st.sampled_from(VERDICTS),
    st.none() | st.integers(0, 10**12),
    st.none() | st.sampled_from(["EUR", "USD"]),
    st.none() | st.sampled_from(["spring", "autumn"]),
    st.integers(0, 40 * 24),
    st.booleans(),
)


def test_clicks_of_each_kind_count_where_they_belong(tmp_path: Path) -> None:
    """Gross, net of general, net of all and the decision rate; an unmeasurable click is billable."""
    lake = lake_of(tmp_path, *(Decided(name, NOON, name) for name in VERDICTS))
    (one,) = figures(billed_clicks(lake, MARCH), ("campaign",), "UTC").values()
    clicks = one.clicks
    assert (clicks.gross, clicks.net_of_general, clicks.net_of_all, clicks.billable) == (4, 3, 2, 2)
    assert (one.cost.gross, one.cost.billable, one.decision_rate) == (4_000_000, 2_000_000, 0.75)


def test_an_invalid_click_that_was_answered_valid_is_charged(tmp_path: Path) -> None:
    """In shadow, nothing is refunded: it counts as invalid and as billable."""
    lake = lake_of(tmp_path, Decided("a", NOON, "invalid_sophisticated", enforced=False))
    (one,) = figures(billed_clicks(lake, MARCH), (), "UTC").values()
    assert (one.clicks.net_of_all, one.clicks.billable) == (0, 1)


def test_currencies_are_never_added(tmp_path: Path) -> None:
    """Each currency has its line and its total; a cost without one stands under XXX, a missing cost is counted."""
    rows = (Decided("a", NOON), Decided("b", NOON, currency="USD"), Decided("c", NOON, cost=None, currency=None))
    found = figures(billed_clicks(lake_of(tmp_path, *rows), MARCH), ("campaign",), "UTC")
    assert list(found) == [("spring", "EUR"), ("spring", "USD"), ("spring", NO_CURRENCY)]
    assert {name: (one.cost.gross, one.unpriced) for name, one in totals(found).items()} == {
        "EUR": (1_000_000, 0),
        "USD": (1_000_000, 0),
        NO_CURRENCY: (0, 1),
    }


def test_a_null_campaign_is_a_line_of_its_own(tmp_path: Path) -> None:
    """Clicks without a campaign are not lost, and not those of a campaign called null."""
    lake = lake_of(tmp_path, Decided("a", NOON, campaign=None), Decided("b", NOON, campaign="null"))
    assert list(figures(billed_clicks(lake, MARCH), ("campaign",), "UTC")) == [("null", "EUR"), (None, "EUR")]


def test_a_click_counts_once(tmp_path: Path) -> None:
    """A repeat at another process, a correction, and a repeat on the other side of midnight leave one click."""
    late = at("2026-03-02T23:50")
    lake = lake_of(
        tmp_path,
        Decided("a", NOON),
        Decided("a", NOON, "invalid_general", decision_id="other", later=1),
        Decided("b", late),
        Decided("b", late + 20 * MINUTE, decision_id="again"),
        Decided("c", NOON),
        Decided("c", NOON, "invalid_sophisticated", supersedes="live-c", cause="replay:r", later=DAY),
    )
    (one,) = figures(billed_clicks(lake, MARCH), (), "UTC").values()
    assert (one.clicks.gross, one.clicks.general, one.clicks.sophisticated) == (3, 1, 1)
    next_day = figures(billed_clicks(lake_of(tmp_path / "2", Decided("x", late + DAY)), MARCH), (), "UTC")
    assert next_day[("EUR",)].clicks.gross == 1


def test_a_repeat_after_the_month_belongs_to_the_month_before(tmp_path: Path) -> None:
    """Of a click that is answered again past midnight only the first month has a click."""
    end = at("2026-03-31T23:59")
    lake = lake_of(
        tmp_path, Decided("a", end), Decided("a", end + 2 * MINUTE, decision_id="x"), Decided("b", end + DAY)
    )
    counts = [
        sum(one.clicks.gross for one in figures(billed_clicks(lake, period(name, "UTC")), (), "UTC").values())
        for name in ("2026-03", "2026-04")
    ]
    assert counts == [1, 1]


def test_the_log_tells_cost_and_payer_where_the_decision_does_not(tmp_path: Path) -> None:
    """Decisions of a batch bear no cost; clicks of the log that nobody decided are shown, and charged."""
    clicks = [
        {"click_id": name, "time": NOON, "cost": 5, "currency": "USD", "campaign": "log", "advertiser": "zenith"}
        for name in ("a", "b")
    ]
    none = Decided("a", NOON, cost=None, currency=None, campaign=None, advertiser=None)
    found = figures(billed_clicks(lake_of(tmp_path, none, clicks=clicks), MARCH), ("campaign", "advertiser"), "UTC")
    (one,) = found.values()
    assert list(found) == [("log", "zenith", "USD")]
    assert (one.clicks.gross, one.clicks.undecided, one.cost.billable, one.decision_rate) == (2, 1, 10, 0.5)


def test_hours_and_days_are_those_of_the_zone(tmp_path: Path) -> None:
    """In the night in which clocks go back the hour from two to three is two hours of one day."""
    moments = ("2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T22:59", "2026-10-25T23:01")
    lake = lake_of(tmp_path, *(Decided(text, at(text)) for text in moments))
    clicks = list(billed_clicks(lake, period("2026-10", "Europe/Berlin")))
    hours = figures(clicks, ("hour",), "Europe/Berlin")
    assert [key[0] for key in hours][:2] == ["2026-10-25T02+02:00", "2026-10-25T02+01:00"]
    days = figures(clicks, ("day",), "Europe/Berlin")
    assert {key[0]: one.clicks.gross for key, one in days.items()} == {"2026-10-25": 3, "2026-10-26": 1}
    day = billed_clicks(lake, period("2026-10-25", "Europe/Berlin"))
    assert sum(part.num_rows for part in day) == 3


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-2-1", "march", "", "2026-02-30", "0000-01"])
def test_what_is_no_period_is_refused(text: str) -> None:
    """The message says how a period is written."""
    with pytest.raises(BillingError, match="write a month such as 2026-11"):
        period(text, "UTC")


def test_a_period_without_decisions_is_refused(tmp_path: Path) -> None:
    """No table, no day, and the future: each says what is there, or what to do."""
    with pytest.raises(BillingError, match="run `slidr ship` first"):
        list(billed_clicks(Lake(str(tmp_path)), MARCH))
    lake = lake_of(tmp_path, Decided("a", NOON))
    with pytest.raises(BillingError, match="they run from 2026-03-02 to 2026-03-02"):
        list(billed_clicks(lake, period("2026-04", "UTC")))
    with pytest.raises(BillingError, match="has not begun"):
        begun(MARCH, MARCH.start)


@examples(max_examples=8, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), by=st.sets(st.sampled_from(DIMENSIONS)))
def test_gross_is_never_less_than_its_nets(
    rows: list[tuple[str, int | None, str | None, str | None, int, bool]], by: set[str]
) -> None:
    """Gross >= net of general >= net of all, in clicks and in cost; groups sum up to the same totals."""
    start = at("2026-02-25T00:00")
    given_rows = [
        Decided(str(place), start + hours * HOUR, verdict, cost, currency, campaign, enforced=enforced)
        for place, (verdict, cost, currency, campaign, hours, enforced) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        parts = [
            part
            for month in ("2026-02", "2026-03", "2026-04")
            if any(within(month, one.time) for one in given_rows)
            for part in billed_clicks(lake_of(f"{folder}/{month}", *given_rows), period(month, "UTC"))
        ]
    found = figures(parts, tuple(sorted(by)), "Europe/Berlin")
    for one in found.values():
        for amount in (one.clicks, one.cost):
            assert amount.gross >= amount.net_of_general >= amount.net_of_all >= 0
            assert amount.net_of_all <= amount.billable <= amount.gross
    assert totals(found) == totals(figures(parts, (), "Europe/Berlin"))
    assert sum(one.clicks.gross for one in found.values()) == len(rows)


def within(month: str, time: int) -> bool:
    """Return whether a moment lies in a month."""
    chosen = period(month, "UTC")
    return chosen.start <= time < chosen.end
