from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidr import extensions
from slidr.clock import DAY, HOUR
from slidr.errors import LabelError
from slidr.labels import label, mature, rules
from slidr.lake.schema import arrow_schema, conform
from slidr.settings import LabelsSettings
from slidr.tables import CLICKS, LABELS, PURCHASES

UTC = pa.timestamp("us", tz="UTC")
NOW = 1_000 * DAY
SETTINGS = LabelsSettings(rfm_quantiles=2, rfm_minimum=5)
NAMES = extensions.names("slidr.labels.rules")
PAGE = Path(__file__).parents[2] / "docs" / "labels.md"
USERS = ["u0", "u1", "u2", "u3", None]


@pytest.fixture(params=NAMES)
def rule(request: pytest.FixtureRequest) -> ModuleType:
    """Every label rule there is, found without a list."""
    return extensions.load("slidr.labels.rules", request.param)


def clicks_of(seed: int, rows: int = 60) -> pa.Table:
    """Draw clicks of a few users over three days before NOW, some of them at one time."""
    generator = np.random.default_rng(seed)
    times = NOW - generator.integers(0, 72, rows) * HOUR
    users = [USERS[place] for place in generator.integers(0, len(USERS), rows)]
    named = {"click_id": [f"c{row:03}" for row in range(rows)], "time": pa.array(times).cast(UTC), "user": users}
    return conform(CLICKS, pa.table(named))


def purchases_of(seed: int, rows: int = 12, start: int = 0) -> pa.Table:
    """Draw purchases of the same users, a third of them attributed to a click, some without user."""
    generator = np.random.default_rng(seed)
    columns = {
        "purchase_id": [f"p{start + row}" for row in range(rows)],
        "time": pa.array(NOW - generator.integers(0, 72, rows) * HOUR).cast(UTC),
        "user": [USERS[place] for place in generator.integers(0, len(USERS), rows)],
        "click_id": [f"c{place:03}" if place < 60 else None for place in generator.integers(0, 180, rows)],
        "value": generator.integers(1, 100, rows),
        "currency": ["EUR"] * rows,
    }
    return conform(PURCHASES, pa.table(columns))


def human(rule: ModuleType, clicks: pa.Table, purchases: pa.Table, as_of: int = NOW) -> np.ndarray:
    """Apply one rule."""
    found = rule.human(clicks, purchases, as_of=as_of, settings=SETTINGS)
    assert found.shape == (clicks.num_rows,)
    assert found.dtype == np.bool_
    return np.asarray(found)


def test_every_rule_is_documented(rule: ModuleType) -> None:
    """A rule says what it calls human and where it comes from, in the module and on the page."""
    assert "Source:" in (rule.__doc__ or "")
    assert (rule.human.__doc__ or "").strip()
    assert f"`{rule.__name__.rpartition('.')[2]}`" in PAGE.read_text()


@pytest.mark.parametrize("seed", range(20))
def test_purchases_after_the_time_of_labelling_do_not_count(rule: ModuleType, seed: int) -> None:
    """A label as of a time is the same whether or not later purchases are already in the log."""
    clicks, purchases = clicks_of(seed), purchases_of(seed + 100)
    as_of = NOW - 24 * HOUR
    known = purchases.filter(pa.array(purchases["time"].cast(pa.int64()).to_numpy() <= as_of))
    assert (human(rule, clicks, purchases, as_of) == human(rule, clicks, known, as_of)).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_rows_is_irrelevant(rule: ModuleType, seed: int) -> None:
    """Shuffled clicks get the same labels, in their new order; shuffled purchases change nothing."""
    clicks, purchases = clicks_of(seed), purchases_of(seed + 100)
    generator = np.random.default_rng(seed)
    order = generator.permutation(clicks.num_rows)
    expected = human(rule, clicks, purchases)
    assert (human(rule, clicks.take(pa.array(order)), purchases) == expected[order]).all()
    shuffled = purchases.take(pa.array(generator.permutation(purchases.num_rows)))
    assert (human(rule, clicks, shuffled) == expected).all()


def test_some_clicks_are_human_and_some_are_not(rule: ModuleType) -> None:
    """The draws that the contract stands on do exercise the rule."""
    shares = [human(rule, clicks_of(seed), purchases_of(seed + 100)).mean() for seed in range(20)]
    assert 0 < np.mean(shares) < 1


def test_inputs_are_left_as_they_are(rule: ModuleType) -> None:
    """A rule does not write into its tables."""
    clicks, purchases = clicks_of(1), purchases_of(2)
    human(rule, clicks, purchases)
    assert clicks.equals(clicks_of(1))
    assert purchases.equals(purchases_of(2))


def test_chunked_tables_give_what_whole_ones_give(rule: ModuleType) -> None:
    """How a table is cut in memory is not part of its meaning."""
    clicks, purchases = clicks_of(1), purchases_of(2)
    cut = [pa.concat_tables([table.slice(0, 5), table.slice(5)]) for table in (clicks, purchases)]
    assert (human(rule, *cut) == human(rule, clicks, purchases)).all()


def test_empty_tables_give_no_human(rule: ModuleType) -> None:
    """Without clicks there is no label; without purchases no click is human; null users never are."""
    clicks, purchases = clicks_of(1), purchases_of(2)
    assert human(rule, clicks.slice(0, 0), purchases).shape == (0,)
    assert not human(rule, clicks, purchases.slice(0, 0)).any()
    nobody = purchases.set_column(2, "user", pa.nulls(purchases.num_rows, pa.string()))
    nobody = nobody.set_column(3, "click_id", pa.nulls(purchases.num_rows, pa.string()))
    assert not human(rule, clicks, nobody).any()


def test_labels_follow_their_table_and_the_order_of_the_clicks() -> None:
    """Labels conform to LABELS, one a click, and purchase goes before rfm."""
    clicks, purchases = clicks_of(3), purchases_of(4)
    labels = label(clicks, purchases, as_of=NOW, settings=SETTINGS)
    assert conform(LABELS, labels).equals(labels)
    assert labels["click_id"].equals(clicks["click_id"])
    assert rules()[0] == "purchase"
    reasons = np.array(labels["reason"].to_pylist())
    bought = human(extensions.load("slidr.labels.rules", "purchase"), clicks, purchases)
    ranked = human(extensions.load("slidr.labels.rules", "rfm"), clicks, purchases)
    assert ((reasons == "purchase") == bought).all()
    assert ((reasons == "rfm") == (ranked & ~bought)).all()
    assert (labels["human"].to_numpy() == (bought | ranked)).all()
    assert ((reasons == "purchase") == np.array([buyer is not None for buyer in labels["purchaser"].to_pylist()])).all()


@given(st.integers(1, 72))
def test_a_label_matures_when_its_window_closes(hours: int) -> None:
    """Labels are mature from the click's time plus the window on, to the microsecond."""
    settings = LabelsSettings(attribution_window=f"{hours}h")
    clicks = clicks_of(5)
    labels = label(clicks, purchases_of(6), as_of=NOW, settings=settings)
    assert (mature(labels) == (clicks["time"].cast(pa.int64()).to_numpy() + hours * HOUR <= NOW)).all()


def test_final_attribution_is_mature_at_once() -> None:
    """A log that tells the last word need not wait for its window."""
    labels = label(clicks_of(5), purchases_of(6), as_of=NOW, settings=SETTINGS, final=True)
    assert mature(labels).all()


def test_a_log_without_purchases_cannot_be_labelled() -> None:
    """The error says that purchases are missing and what to look at."""
    with pytest.raises(LabelError, match=r"there are no purchases.*set purchases\.path"):
        label(clicks_of(1), arrow_schema(PURCHASES).empty_table(), as_of=NOW, settings=SETTINGS)


def test_purchases_that_are_all_later_cannot_label() -> None:
    """The error tells how many there are and when the first one was."""
    with pytest.raises(LabelError, match="none of 12 purchases is known as of 1970-01-01"):
        label(clicks_of(1), purchases_of(2), as_of=HOUR, settings=SETTINGS)


def test_no_clicks_give_no_labels() -> None:
    """An hour without clicks is labelled without fuss."""
    assert label(clicks_of(1).slice(0, 0), purchases_of(2), as_of=NOW, settings=SETTINGS).num_rows == 0


def test_the_page_runs() -> None:
    """The examples of docs/labels.md give what the page says."""
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried
    assert not failed
