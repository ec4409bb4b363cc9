"""The flow in a notebook: the same with Arrow, Polars and pandas, and clear when something does not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import small
from tests.learned import Learned

import slidr
from slidr import notebook
from slidr.clock import ManualClock
from slidr.errors import (
    BundleError,
    CalibrationError,
    LabelError,
    SettingsError,
    SourceError,
    TableError,
    TrainingError,
)
from slidr.labels import mature
from slidr.model.weights import sample_weights
from slidr.tables import Verdict

OPTIONS: dict[str, Any] = {"fpr_budget": 0.05}
LIBRARIES: dict[str, tuple[type, Callable[[pa.Table], Any]]] = {
    "arrow": (pa.Table, lambda table: table),
    "polars": (pl.DataFrame, pl.DataFrame),
    "pandas": (pd.DataFrame, pa.Table.to_pandas),
}


@pytest.fixture(scope="module")
def clicks(learned: Learned) -> pa.Table:
    """The newest clicks of the learned log."""
    return learned.log.clicks.slice(learned.log.clicks.num_rows - 12_000).combine_chunks()


@pytest.fixture(scope="module")
def purchases(learned: Learned) -> pa.Table:
    """Its purchases."""
    return learned.log.purchases


@pytest.fixture(scope="module")
def expected(clicks: pa.Table, purchases: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of the bundle that the flow on Arrow tables makes."""
    labels, (train, tune, _) = slidr.label(clicks, purchases), slidr.split(slidr.backfill(clicks))
    network = slidr.fit(train, labels, widths=(16,))
    thresholds = slidr.calibrate(network, tune, labels, clicks, **OPTIONS)
    return slidr.make_bundle(tmp_path_factory.mktemp("expected"), network, thresholds).id


def test_the_flow_of_the_docstring(learned: Learned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the module shows is under ten lines, runs as it stands, and decides a click."""
    _, _, code = (notebook.__doc__ or "").partition("\n\n")
    assert 5 <= len(code.strip().splitlines()) < 10
    monkeypatch.chdir(tmp_path)
    pq.write_table(learned.log.clicks, "clicks.parquet")
    pq.write_table(learned.log.purchases, "purchases.parquet")
    names: dict[str, Any] = {"slidr": slidr, "now": datetime.now(UTC)}
    exec(textwrap.dedent(code), names)  # noqa: S102 our own docstring
    assert names["decisions"].at(0).verdict in set(Verdict)
    assert names["table"].num_rows == learned.log.clicks.num_rows
    assert names["bundle"].id == next((tmp_path / "bundles").iterdir()).name


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_gets_its_own_back(
    clicks: pa.Table, purchases: pa.Table, expected: str, library: str, tmp_path: Path
) -> None:
    """Labels, features and parts come as the library of the clicks has tables; the bundle is the same for all."""
    kind, converted = LIBRARIES[library]
    given, bought = converted(clicks), converted(purchases)
    labels = slidr.label(given, bought)
    rows = slidr.backfill(given)
    parts = slidr.split(rows)
    for table in (labels, rows, *parts):
        assert isinstance(table, kind)
    assert [len(part) for part in parts] == [7200, 2400, 2400]
    network = slidr.fit(parts[0], labels, widths=(16,))
    thresholds = slidr.calibrate(network, parts[1], labels, given, **OPTIONS)
    bundle = slidr.make_bundle(tmp_path / library, network, thresholds)
    assert bundle.id == expected
    np.testing.assert_array_equal(
        np.column_stack([np.asarray(rows[feature.name]) for feature in network.catalogue]),
        np.column_stack([slidr.backfill(clicks)[feature.name].to_numpy() for feature in network.catalogue]),
    )


def test_libraries_may_be_mixed(clicks: pa.Table, purchases: pa.Table) -> None:
    """Purchases, labels and rows of several libraries go together; the clicks decide what comes back."""
    frame = pl.DataFrame(clicks)
    labels = slidr.label(frame, purchases.to_pandas())
    assert isinstance(labels, pl.DataFrame)
    train, _, _ = slidr.split(slidr.backfill(clicks.to_pandas()))
    assert slidr.fit(train, labels, widths=(4,)).catalogue == slidr.default_catalogue(slidr.Settings().features)


def test_a_time_in_nanoseconds_is_the_same_time(clicks: pa.Table, purchases: pa.Table) -> None:
    """A pandas column in nanoseconds, or in another zone, gives the features and labels of the same instants."""
    frame = clicks.to_pandas()
    frame["time"] = frame["time"].astype("datetime64[ns, UTC]").dt.tz_convert("Asia/Tokyo")
    for one, other in (
        (slidr.backfill(frame), slidr.backfill(clicks.to_pandas())),
        (slidr.label(frame, purchases, as_of=2**51), slidr.label(clicks.to_pandas(), purchases, as_of=2**51)),
    ):
        pd.testing.assert_frame_equal(one, other)


def test_columns_that_do_not_fit_are_named(clicks: pa.Table, purchases: pa.Table) -> None:
    """A missing or misspelt column, or a time without a zone, is named; a nullable one may be absent."""
    with pytest.raises(TableError, match="column 'time' is missing"):
        slidr.backfill(clicks.drop_columns(["time"]))
    with pytest.raises(TableError, match="did you mean 'session'"):
        slidr.backfill(clicks.rename_columns({"session": "sesion"}))
    with pytest.raises(TableError, match="a time needs a zone"):
        slidr.label(clicks.set_column(1, "time", clicks["time"].cast(pa.timestamp("us"))), purchases)
    assert slidr.backfill(clicks.select(["click_id", "time", "ip"])).num_rows == clicks.num_rows


def test_what_does_not_belong_together_is_refused(clicks: pa.Table, purchases: pa.Table) -> None:
    """Rows need the labels and the clicks of the same log, and labels need purchases."""
    labels, rows = slidr.label(clicks, purchases), slidr.backfill(clicks)
    with pytest.raises(LabelError, match="labels has no row for 100 of 12000 clicks"):
        slidr.fit(rows, labels.slice(100))
    network = slidr.fit(rows, labels, widths=(4,))
    with pytest.raises(LabelError, match="clicks has no row for 1 of 12000 clicks"):
        slidr.calibrate(network, rows, labels, clicks.slice(1))
    with pytest.raises(LabelError, match="purchase"):
        slidr.label(clicks, purchases.slice(0, 0))
    with pytest.raises(TrainingError):
        slidr.fit(rows.slice(0, 0), labels)


def test_unripe_labels_are_not_learned_from(clicks: pa.Table, purchases: pa.Table) -> None:
    """Clicks whose attribution window has not closed are left out of the training."""
    start = clicks["time"].cast(pa.int64())[0].as_py()
    labels = slidr.label(clicks, purchases, as_of=start + 1)
    with pytest.raises(TrainingError):
        slidr.fit(slidr.backfill(clicks), labels)


def test_unripe_labels_set_no_threshold(clicks: pa.Table, purchases: pa.Table) -> None:
    """Thresholds are those of the ripe clicks alone, and where none is ripe the error says so."""
    rows, ripe = slidr.backfill(clicks), slidr.label(clicks, purchases)
    network = slidr.fit(rows, ripe, widths=(4,))
    end = clicks["time"].cast(pa.int64())[-1].as_py()
    early = slidr.label(clicks, purchases, as_of=end)
    known = pa.array(mature(early))
    assert 0 < known.true_count < clicks.num_rows
    alone = slidr.calibrate(network, rows.filter(known), early.filter(known), clicks, **OPTIONS)
    assert slidr.calibrate(network, rows, early, clicks, **OPTIONS) == alone
    start = clicks["time"].cast(pa.int64())[0].as_py()
    with pytest.raises(CalibrationError, match="none of 12000 labels is ripe"):
        slidr.calibrate(network, rows, slidr.label(clicks, purchases, as_of=start + 1), clicks, **OPTIONS)


def test_an_unknown_login_is_a_state_of_its_own(
    clicks: pa.Table, purchases: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights tell logged in, logged out and not known apart, as those of the daily flow do."""
    states = [(True, False, None)[place % 3] for place in range(clicks.num_rows)]
    place = clicks.column_names.index("logged_in")
    mixed = clicks.set_column(place, "logged_in", pa.array(states, pa.bool_()))
    given: list[Any] = []

    def kept(times: Any, logged_in: Any, human: Any, *, cap: float) -> Any:
        given.extend(logged_in.tolist())
        return sample_weights(times, logged_in, human, cap=cap)

    monkeypatch.setattr(notebook, "sample_weights", kept)
    slidr.fit(slidr.backfill(mixed), slidr.label(mixed, purchases), network="logistic")
    assert given == states


def test_a_bundle_of_what_does_not_belong_together_is_refused(
    clicks: pa.Table, purchases: pa.Table, tmp_path: Path
) -> None:
    """Thresholds need the slices that they were set for, and ips are addresses or opaque."""
    rows, labels = slidr.backfill(clicks), slidr.label(clicks, purchases)
    network = slidr.fit(rows, labels, widths=(4,))
    thresholds = slidr.calibrate(network, rows, labels, clicks, **OPTIONS)
    for slices in (("logged_in", "device"), ("campaign",), ()):
        with pytest.raises(BundleError, match="has the slice 'device="):
            slidr.make_bundle(tmp_path, network, thresholds, slices=slices)
    assert slidr.make_bundle(tmp_path, network, thresholds).contract.ip == "address"
    assert slidr.make_bundle(tmp_path, network, thresholds, ip="opaque").contract.ip == "opaque"
    with pytest.raises(SettingsError, match="ip = 'hashed' is neither 'address' nor 'opaque'"):
        slidr.make_bundle(tmp_path, network, thresholds, ip="hashed")  # type: ignore[arg-type]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_table_of_clicks_is_decided(tmp_path: Path, library: str) -> None:
    """A table gives the decisions that its clicks give as objects, as a table of the same library."""
    kind, converted = LIBRARIES[library]
    network = notebook.Network(small.graph(), small.CATALOGUE)
    bundle = slidr.make_bundle(tmp_path, network, small.parts().thresholds)
    clicks = small.random_clicks(300, seed=7)
    objects, decider = slidr.decider(bundle).decide(clicks), slidr.decider(bundle)
    decided: Any = slidr.decide_clicks(decider, converted(small.table_of(clicks)), clock=ManualClock(5))
    table = nw.from_native(decided, eager_only=True).to_arrow()
    assert isinstance(decided, kind)
    fresh = np.flatnonzero(~objects.repeats).tolist()
    assert table["click_id"].to_pylist() == [clicks[place].click_id for place in fresh]
    assert table["verdict"].to_pylist() == [objects.verdicts[place].value for place in fresh]
    np.testing.assert_array_equal(table["score"].to_numpy(), objects.scores[fresh])
    assert set(table["decided_at"].cast(pa.int64()).to_pylist()) == {5}
    assert len(slidr.decide_clicks(decider, converted(small.table_of(clicks).slice(0, 0)))) == 0


def test_a_table_without_a_slice_column_is_refused(tmp_path: Path) -> None:
    """A column that slices the traffic and that a table lacks is named, with the nearest."""
    network = notebook.Network(small.graph(), small.CATALOGUE)
    bundle = slidr.make_bundle(tmp_path, network, (small.threshold("all", 0.5),), slices=("region",))
    clicks = small.table_of(small.random_clicks(20, seed=7))
    with pytest.raises(TableError, match="column 'region', which the bundle's slices are made of, is missing"):
        slidr.decide_clicks(slidr.decider(bundle), clicks)
    regions = clicks.append_column("region", pa.array(["north"] * 20))
    assert slidr.decide_clicks(slidr.decider(bundle), regions)["slice"].to_pylist()[0] == "all"


def test_options_are_those_of_the_settings(clicks: pa.Table, purchases: pa.Table) -> None:
    """A misspelt option, or one out of its limits, is refused as in a settings file."""
    labels, rows = slidr.label(clicks, purchases, rfm=False), slidr.backfill(clicks)
    assert set(labels["reason"].to_pylist()) == {"purchase", "none"}
    with pytest.raises(SettingsError, match="unknown key 'rmf'; did you mean 'rfm'"):
        slidr.label(clicks, purchases, rmf=False)
    with pytest.raises(SettingsError, match="is not a duration"):
        slidr.label(clicks, purchases, attribution_window="a day")
    with pytest.raises(SettingsError, match="unknown key 'width'; did you mean 'widths'"):
        slidr.fit(rows, labels, width=(4,))
    with pytest.raises(SettingsError, match="did you mean 'logistic'"):
        slidr.fit(rows, labels, network="logistics")
    with pytest.raises(SettingsError, match="fpr_budget"):
        slidr.calibrate(slidr.fit(rows, labels, widths=(4,)), rows, labels, clicks, fpr_budget=1.5)


def test_reading_a_log(tmp_path: Path) -> None:
    """A log is read with a mapping of columns and any source; a missing one is named."""
    path = tmp_path / "clicks.csv"
    path.write_text("click_id,time,customer\na,2026-03-02T10:00:00Z,ada\n")
    assert slidr.read_log(str(path), columns={"user": "customer"}).clicks["user"].to_pylist() == ["ada"]
    with pytest.raises(SourceError, match=r"none\.csv"):
        slidr.read_log(str(tmp_path / "none.csv"))
    with pytest.raises(SettingsError, match="unknown key 'column'"):
        slidr.read_log(str(path), column={"user": "customer"})


def test_a_network_of_a_catalogue_of_ones_own(clicks: pa.Table, purchases: pa.Table, tmp_path: Path) -> None:
    """A catalogue with further features goes through the whole flow, and its decider decides."""
    settings = slidr.Settings().features
    added = ({"kind": "Clicks", "by": "campaign", "window": "1h"},)
    catalogue = slidr.default_catalogue(type(settings)(add=added))
    rows = slidr.backfill(clicks, catalogue=catalogue)
    labels = slidr.label(clicks, purchases)
    network = slidr.fit(rows, labels, catalogue=catalogue, network="logistic")
    thresholds = slidr.calibrate(network, rows, labels, clicks, slices=(), method="knee")
    bundle = slidr.make_bundle(tmp_path, network, thresholds, slices=())
    decisions = slidr.decider(bundle).decide(small.random_clicks(50, seed=1))
    assert bundle.catalogue[-1].name == "clicks_campaign_1h"
    assert set(decisions.slices) == {"all"}
