from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tests.decided import Decided, at, decisions, lake_of

from slidr.billing.clicks import billed_clicks
from slidr.billing.figures import figures, totals
from slidr.billing.invoice import close, draft, invoices
from slidr.billing.periods import period
from slidr.errors import BillingError
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.registry import Registry
from slidr.tables import ADJUSTMENTS, DECISIONS, PERIODS

MONTHS = ("2026-02", "2026-03", "2026-04")
LATER = at("2026-06-01T00:00")
EUR = {"clicks": 1, "cost": 1_000_000, "currency": "EUR", "campaign": "spring", "advertiser": "acme"}


def closed(lake: Lake, where: Path, month: str, now: int = LATER) -> dict[str, int]:
    """Close a month and return what is due."""
    wanted = period(month, "UTC")
    found = close(lake, Registry(where / "registry"), wanted, zone="UTC", now=now, who="ann", why="month end")
    return found.invoice.due


def correct(lake: Lake, replay: str, one: Decided, *, verdict: str, booked: str) -> None:
    """Supersede a valid click and book what is to be credited, as a replay does."""
    cause = f"replay:{replay}"
    lake.append(DECISIONS, decisions(one._replace(verdict=verdict, cause=cause, supersedes=f"live-{one.click_id}")))
    day = pa.array([one.time]).cast(pa.timestamp("us", "UTC")).cast(pa.date32())[0].as_py()
    row = {"replay": cause, "period": booked, "billing_day": day, **EUR}
    lake.append(ADJUSTMENTS, pa.Table.from_pylist([row], schema=arrow_schema(ADJUSTMENTS)), (cause, 1))


def test_a_month_is_closed_once(tmp_path: Path) -> None:
    """Closing twice changes nothing; the audit log holds one record with the hash of the document."""
    lake = lake_of(tmp_path, Decided("a", at("2026-02-10T00:00")))
    assert closed(lake, tmp_path, "2026-02") == {"EUR": 1_000_000}
    before = invoices(lake)
    lake.append(DECISIONS, decisions(Decided("late", at("2026-02-11T00:00"))))
    assert closed(lake, tmp_path, "2026-02", LATER + 1) == {"EUR": 1_000_000}
    assert invoices(lake) == before
    (record,) = Registry(tmp_path / "registry").audit.records()
    assert (record.kind, record.subject, record.who) == ("close", "2026-02", "ann")
    assert record.details["sha256"] == before["2026-02"].sha256


def test_a_crash_before_the_audit_log_is_caught_up_with(tmp_path: Path) -> None:
    """A month whose document is kept and not recorded is recorded by the next closing."""
    lake = lake_of(tmp_path, Decided("a", at("2026-02-10T00:00")))
    closed(lake, tmp_path / "lost", "2026-02")
    closed(lake, tmp_path, "2026-02")
    assert len(Registry(tmp_path / "registry").audit.records()) == 1


def test_a_changed_document_is_found(tmp_path: Path) -> None:
    """Who closes again a month whose document was changed is told so."""
    lake = lake_of(tmp_path, Decided("a", at("2026-02-10T00:00")))
    closed(lake, tmp_path, "2026-02")
    row = lake.read(PERIODS).to_pylist()[0]
    row["document"] = row["document"].replace("1000000", "2000000")
    lake.write(PERIODS, pa.Table.from_pylist([row], schema=arrow_schema(PERIODS)))
    with pytest.raises(BillingError, match="it was changed"):
        closed(lake, tmp_path, "2026-02")


def test_an_open_month_and_one_out_of_order_are_not_closed(tmp_path: Path) -> None:
    """Not before its end, not before the month before it, not behind a later one, no day, none without decisions."""
    rows = (Decided("a", at("2026-02-10T00:00")), Decided("b", at("2026-03-10T00:00")))
    lake = lake_of(tmp_path, *rows)
    with pytest.raises(BillingError, match="is not over"):
        closed(lake, tmp_path, "2026-02", at("2026-02-28T23:59"))
    with pytest.raises(BillingError, match="close it before 2026-03"):
        closed(lake, tmp_path, "2026-03")
    with pytest.raises(BillingError, match="is no month"):
        draft(lake, period("2026-02-10", "UTC"), "UTC")
    closed(lake, tmp_path, "2026-02")
    closed(lake, tmp_path, "2026-03")
    with pytest.raises(BillingError, match="lies before it"):
        closed(lake, tmp_path, "2026-01")
    with pytest.raises(BillingError, match="no decisions of 2026-04"):
        closed(lake, tmp_path, "2026-04")


def test_every_month_before_is_closed_first(tmp_path: Path) -> None:
    """The message names each open month, also one whose only clicks lie, by UTC, in the month behind it."""
    lake = lake_of(tmp_path, *(Decided(month, at(f"{month}-10T00:00")) for month in MONTHS))
    with pytest.raises(BillingError, match="2026-02, 2026-03 have decisions and are not closed; close them in this"):
        closed(lake, tmp_path, "2026-04")
    closed(lake, tmp_path, "2026-02")
    with pytest.raises(BillingError, match="2026-03 has decisions and is not closed; close it before 2026-04"):
        closed(lake, tmp_path, "2026-04")
    # An empty month between two does no harm.
    gap = lake_of(tmp_path / "gap", Decided("a", at("2026-02-10T00:00")), Decided("b", at("2026-04-10T00:00")))
    with pytest.raises(BillingError, match="2026-02 has decisions"):
        closed(gap, tmp_path / "gap", "2026-04")
    closed(gap, tmp_path / "gap", "2026-02")
    assert closed(gap, tmp_path / "gap", "2026-04") == {"EUR": 1_000_000}
    west = lake_of(tmp_path / "west", Decided("a", at("2026-03-01T03:00")), Decided("b", at("2026-03-10T00:00")))
    march, zone = period("2026-03", "America/New_York"), "America/New_York"
    with pytest.raises(BillingError, match="2026-02 has decisions"):
        close(west, Registry(tmp_path / "west"), march, zone=zone, now=LATER, who="ann", why="month end")


def test_a_replay_that_was_not_ended_holds_the_closing(tmp_path: Path) -> None:
    """Corrections without their adjustments would be counted by half."""
    one = Decided("a", at("2026-02-10T00:00"))
    fixed = one._replace(verdict="invalid_general", cause="replay:r", supersedes="live-a")
    with pytest.raises(BillingError, match="run it to its end"):
        closed(lake_of(tmp_path, one, fixed), tmp_path, "2026-02")


def test_a_correction_after_the_closing_is_credited_in_the_next_month(tmp_path: Path) -> None:
    """The closed invoice stays; the next one is less by the credit, wherever it was booked, and only that one."""
    first, second, third = (Decided(month, at(f"{month}-10T00:00")) for month in MONTHS)
    lake = lake_of(tmp_path, first, second, third)
    assert closed(lake, tmp_path, "2026-02") == {"EUR": 1_000_000}
    # The period was still open when the replay looked, so it is booked into the closed one: not lost all the same.
    correct(lake, "r", first, verdict="invalid_sophisticated", booked="2026-02")
    assert [closed(lake, tmp_path, month)["EUR"] for month in MONTHS] == [1_000_000, 0, 1_000_000]


@examples(max_examples=6, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=4, unique_by=lambda one: one[1]))
def test_invoices_telescope(steps: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whenever corrections come, invoices and what is not yet invoiced sum up to what holds in the end."""
    folder = tmp_path_factory.mktemp("telescope")
    clicks = [Decided(month, at(f"{month}-10T00:00")) for month in MONTHS]
    ends = Decided("end", at("2026-05-10T00:00"))
    lake = lake_of(folder, *clicks, ends)
    due = 0
    for turn, month in enumerate((*MONTHS, "2026-05")):
        for when, which in steps:
            if when == turn:
                correct(lake, f"r{which}", clicks[which], verdict="invalid_general", booked=MONTHS[which])
        due += closed(lake, folder, month)["EUR"]
    holds = 0
    for month in (*MONTHS, "2026-05"):
        holds += totals(figures(billed_clicks(lake, period(month, "UTC")), (), "UTC"))["EUR"].cost.billable
    assert due == holds
