"""Days of the past, judged by thresholds that other days set."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from tests.decided import Decided, decisions
from tests.learned import NOW, Learned, copy_of

from slidr.backtest.judging import backtest
from slidr.backtest.page import told
from slidr.backtest.plan import Asked, plan_days
from slidr.backtest.results import Backtest
from slidr.billing.periods import period
from slidr.bundle import Bundle, Parts, write_bundle
from slidr.clock import DAY, midnight
from slidr.daily.listed import listed
from slidr.daily.plan import Run, logged
from slidr.errors import BillingError, RegistryError, TableError
from slidr.features.backfill import feature_rows
from slidr.journal import Context
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.registry import Registry, open_registry
from slidr.report.document import as_html
from slidr.rules import prepare_rules
from slidr.settings import Settings
from slidr.tables import CLICKS, CONTEXTS, DECISIONS, FEATURES, PURCHASES, ROWS

LAST = "2026-03-10"
BUDGETS = (0.02, 0.05)


def asked(name: str = LAST, **more: object) -> Asked:
    """Ask about the last day of the log."""
    return Asked(**{"period": period(name, "UTC"), "budgets": BUDGETS, **more})  # type: ignore[arg-type]


class Past(NamedTuple):
    """A log, and a registry with its network, which says that it was trained on earlier days than it was."""

    run: Run
    registry: Registry

    def test(self, wanted: Asked, settings: Settings | None = None) -> Backtest:
        """Run a backtest."""
        return backtest(settings or self.run.settings, self.registry, wanted, now=NOW)


def past_of(run: Run, bundle: Bundle, folder: Path) -> Past:
    """Return a past whose network was trained, as it says, up to the fourth day."""
    registry, (start, end) = Registry(folder / "aged"), bundle.data["train"]
    kept = {name: getattr(bundle, name) for name in Parts.__struct_fields__}
    kept["data"] = bundle.data | {"train": [start, end - 3 * DAY]}
    made = write_bundle(folder / "bundles", Parts(**kept), created_at=0, version="0")
    registry.publish(folder / "bundles" / made.id)
    registry.promote(made.id, at=NOW, who="tests", why="to have a champion")
    return Past(run, registry)


@pytest.fixture(scope="module")
def past(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A past that no test writes to."""
    return past_of(learned.run, learned.bundle, tmp_path_factory.mktemp("past"))


@pytest.fixture(scope="module")
def found(past: Past) -> Backtest:
    """The last day by two budgets, by campaign and device slice."""
    return past.test(asked(by=("campaign", "slice")))


def test_figures_add_up(found: Backtest, past: Past) -> None:
    """Groups sum up to currencies, these to all clicks, and all clicks are those of the log."""
    clicks = past.run.lake.read(CLICKS, start=found.days[0].judged.start, end=found.days[0].judged.end)
    for one in found.tested:
        assert one.whole is not None
        assert one.whole.clicks == clicks.num_rows
        for name in ("clicks", "general", "sophisticated", "purchasing", "false_positives"):
            assert sum(getattr(line, name) for line in one.groups) == getattr(one.whole, name)
            assert sum(getattr(line, name) for line in one.currencies) == getattr(one.whole, name)
        for name in ("cost", "general_cost", "sophisticated_cost", "purchasing_cost", "false_positive_cost"):
            assert sum(getattr(line, name) for line in one.groups) == sum(
                getattr(line, name) for line in one.currencies
            )
        assert sum(line.cost for line in one.currencies) == sum(clicks["cost"].to_pylist())


def test_more_budget_refunds_more(found: Backtest) -> None:
    """The larger budget marks what the smaller one does and more; what list rules find does not depend on it."""
    small, large = (one.whole for one in found.tested)
    assert small is not None
    assert large is not None
    assert small.general == large.general
    assert 0 < small.sophisticated < large.sophisticated
    assert small.false_positives <= large.false_positives
    assert large.fpr.low is not None
    assert large.fpr.high is not None
    assert large.fpr.low <= large.false_positives / large.purchasing <= large.fpr.high


def test_no_purchase_of_the_judged_day_sets_its_thresholds(
    learned: Learned, past: Past, found: Backtest, tmp_path: Path
) -> None:
    """Without any purchase since the judged day began the same clicks are refunded."""
    run = copy_of(learned, tmp_path)
    none = run.lake.read(PURCHASES).slice(0, 0)
    for day in run.lake.days(PURCHASES):
        if midnight(day) >= found.days[0].judged.start:
            run.lake.write(PURCHASES, none, day=day)
    (again, _) = Past(run, past.registry).test(asked()).tested
    (before, _) = found.tested
    assert again.whole is not None
    assert before.whole is not None
    assert again.whole.sophisticated == before.whole.sophisticated
    assert again.whole.purchasing == 0
    assert again.whole.fpr.value is None


def test_days_that_cannot_be_judged_say_why(past: Past, learned: Learned) -> None:
    """Not mature, not in the log, seen by every network: each is told, and a period of such days alone is refused."""
    wanted = asked("2026-03")
    days, left = plan_days(wanted, logged(past.run.settings), past.registry, "UTC", NOW - 2 * DAY)
    why = {one.day: one.why for one in left}
    assert [day.name for day in days] == ["2026-03-08", "2026-03-09"]
    assert why["2026-03-31"] == "its labels are not mature yet"
    assert "no network was trained" in why["2026-03-03"]
    for day in days:
        assert day.ranking.end == day.level.start
        assert day.level.end + DAY == day.judged.start
    trained_on = open_registry(learned.settings)
    with pytest.raises(BillingError, match="no network was trained on days before those"):
        backtest(learned.settings, trained_on, asked(), now=NOW)
    with pytest.raises(BillingError, match="the lake has no clicks of it"):
        past.test(asked("2025-03-10"))


def test_what_is_asked_wrongly_is_refused(past: Past, tmp_path: Path) -> None:
    """A budget that is no share, a bundle that is not there, a registry without one, rows that nobody journalled."""
    with pytest.raises(BillingError, match="no share between 0 and 1"):
        past.test(asked(budgets=(2.0,)))
    with pytest.raises(RegistryError, match="no bundle 'nobody'"):
        past.test(asked(bundle="nobody"))
    with pytest.raises(BillingError, match="has no champion whose training days are known"):
        backtest(past.run.settings, Registry(tmp_path), asked(), now=NOW)
    with pytest.raises(TableError, match="run `slidr ship` first"):
        past.test(asked(source="journal"))


def test_a_certificate_that_cannot_be_had_is_told(past: Past) -> None:
    """Too few purchasers for a small budget: the day is judged by the others alone, and the page says so."""
    calibration = msgspec.structs.replace(past.run.settings.calibration, certificate="required")
    settings = msgspec.structs.replace(past.run.settings, calibration=calibration)
    small, large = past.test(asked(budgets=(0.0001, 0.2)), settings).tested
    assert (small.days, small.whole, large.days) == (0, None, 1)
    assert "needs 29956 purchasers" in small.left[0].why
    # That is what there is to mend, and not the days that no network can judge.
    with pytest.raises(BillingError, match=r"2026-03-08: .* purchasers"):
        past.test(asked("2026-03", budgets=(0.0001,)), settings)


def test_the_page_is_whole(found: Backtest) -> None:
    """Every budget and group stands there, and no number that is not finite."""
    page = as_html(told(found))
    assert "2.00\u00a0%" in page
    assert "5.00\u00a0%" in page
    assert all(str(line.group["campaign"]) in page for line in found.tested[0].groups[:5])
    assert "nan" not in page.replace("finance", "")
    assert "<script" not in page


def test_journalled_rows_give_what_backfilled_ones_give(
    learned: Learned, past: Past, found: Backtest, tmp_path: Path
) -> None:
    """The same rows, as services journal them, are refunded the same; what they decided in truth stands beside.

    A click that nobody decided has no row: it is not refunded, and is counted.
    """
    run = copy_of(learned, tmp_path)
    days = found.days[0]
    clicks = run.lake.read(CLICKS, start=days.level.start, end=days.judged.end)
    rows = feature_rows(run.lake.read(FEATURES, start=days.level.start, end=days.judged.end), names_of(learned.bundle))
    hits = listed([one for one in prepare_rules(run.settings.rules) if one.action == "invalid"], clicks)
    general = np.logical_or.reduce([np.zeros(clicks.num_rows, np.bool_), *hits.values()])
    lost = clicks["click_id"].to_pylist().index(clicks["click_id"][-1].as_py())
    journalled(run.lake, learned.bundle, clicks, rows, general, lost)
    small, _ = Past(run, past.registry).test(asked(source="journal", by=("campaign", "slice"))).tested
    before, _ = found.tested
    assert small.whole is not None
    assert before.whole is not None
    assert small.whole.clicks == before.whole.clicks
    assert small.whole.general == before.whole.general
    assert 0 <= before.whole.sophisticated - small.whole.sophisticated <= 1
    again = Past(run, past.registry).test(asked(source="journal"))
    paid = sum(clicks.filter(pc.greater_equal(clicks["time"].cast("int64"), days.judged.start))["cost"].to_pylist())
    assert sum(one.cost for one in again.decided.values()) == paid


def names_of(bundle: Bundle) -> tuple[str, ...]:
    """Return the features of a bundle."""
    return tuple(feature.name for feature in bundle.catalogue)


def journalled(
    lake: Lake, bundle: Bundle, clicks: pa.Table, rows: NDArray[np.float32], general: NDArray[np.bool_], lost: int
) -> None:
    """Write decisions and rows of clicks as a service's journal brings them into the lake; of one there are none."""
    context = Context(bundle.id, (), names_of(bundle))
    lake.write(CONTEXTS, pa.table({"context": [context.id], "document": [context.encoded()]}))
    ids, times = clicks["click_id"].to_pylist(), clicks["time"].cast("int64").to_pylist()
    made, held = [], []
    for place, (click_id, time) in enumerate(zip(ids, times, strict=True)):
        if place == lost:
            continue
        verdict = "invalid_general" if general[place] else "valid"
        one = Decided(click_id, time, verdict, None, None, None, None, decision_id=f"j-{place}")
        made.append(one)
        held.append({
            "click_id": click_id, "time": time, "decision_id": f"j-{place}", "journal": "j", "sequence": place,
            "decided_at": time, "context": context.id, "click_key": 0, "logged_in": -1, "keys": b"",
            "row": rows[place].tobytes(),
        })  # fmt: skip
    lake.append(DECISIONS, decisions(*made))
    lake.append(ROWS, pa.Table.from_pylist(held, schema=arrow_schema(ROWS)))
