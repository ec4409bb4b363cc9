"""The stages on a small simulated log: they meet in the lake alone, and run again to the same."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from msgspec.structs import replace
from tests.learned import NOW, Learned, copy_of, quiet

from slidr.clock import ManualClock
from slidr.daily.calibration import calibrate_thresholds, read_thresholds
from slidr.daily.parts import read_part, sample_of, slice_sample
from slidr.daily.plan import Run, plan_run
from slidr.daily.stages import (
    backfill_features,
    label_clicks,
    read_networks,
    read_reference,
    train_networks,
)
from slidr.errors import CalibrationError, LabelError, SettingsError, SlidrError
from slidr.features.catalogue import catalogue_hash
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.ingest import ingest
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.model.scorer import Scorer
from slidr.settings import FeaturesSettings, Settings, located, parse_settings
from slidr.slices import ROOT
from slidr.tables import CLICKS, FEATURES, LABELS, PURCHASES, SCORES, THRESHOLDS


@pytest.fixture
def run(learned: Learned, tmp_path: Path) -> Run:
    """The learned run in a copy of its folder, to be run again or broken."""
    return copy_of(learned, tmp_path / "copy")


def test_labels_and_features_are_of_the_same_clicks(learned: Learned) -> None:
    """Both tables have the clicks of the run, one row each, in the lake's order."""
    span = (learned.run.split.train[0], learned.run.split.judge[1])
    clicks, labels, features = (
        learned.run.lake.read(table, start=span[0], end=span[1]) for table in (CLICKS, LABELS, FEATURES)
    )
    assert clicks.num_rows > 30_000
    assert labels["click_id"].equals(clicks["click_id"])
    assert features["click_id"].equals(clicks["click_id"])
    assert learned.run.lake.read(LABELS).num_rows == learned.run.lake.read(FEATURES).num_rows == clicks.num_rows
    assert set(labels["reason"].to_pylist()) == {"purchase", "rfm", "none"}


def test_burn_in_days_warm_the_state(learned: Learned) -> None:
    """Clicks before the training part are folded and keep no rows: the first row has a past."""
    features = learned.run.lake.read(FEATURES)
    before = learned.run.lake.read(CLICKS, end=learned.run.split.train[0]).num_rows
    assert before > 0
    assert features["sequence"][0].as_py() == before
    assert pc.max(features["clicks_network_24h"].slice(0, 20)).as_py() > 1


def test_the_states_stand_where_they_should(learned: Learned) -> None:
    """One snapshot is from before the judging part, the other from behind the last click."""
    run = learned.run
    clicks = run.lake.read(CLICKS, columns=["time"])["time"].cast(pa.int64()).to_numpy()
    for path, end in ((learned.before, run.split.judge[0]), (Path(run.settings.storage.seed), run.split.judge[1])):
        store = EmbeddedStore(compile_catalogue(run.catalogue))
        store.restore(path, fingerprint=run.pseudonymiser.fingerprint)
        assert store.sequence == int((clicks < end).sum())


def test_features_are_written_once(run: Run) -> None:
    """Backfill of a lake that has not changed folds nothing, and the stages behind it must run again all the same."""
    assert backfill_features(run).folded == 0
    with pytest.raises(SettingsError, match="the stage train has not been done"):
        read_networks(run)


def test_a_backfill_that_stops_is_not_done(run: Run) -> None:
    """From its start on, a backfill's old rows may be half replaced, so later stages refuse them until it ends."""

    def stop(stage: str, share: float) -> None:
        del stage, share
        raise InterruptedError

    with pytest.raises(InterruptedError):
        backfill_features(dataclasses.replace(run, progress=stop))
    with pytest.raises(SettingsError, match="the stage backfill has not been done; run `slidr backfill` first"):
        train_networks(run)


def test_every_network_is_fitted_to_the_catalogue(learned: Learned) -> None:
    """Each network of the settings is written as a graph that reads the catalogue's features, and holds no code."""
    graphs = read_networks(learned.run)
    assert set(graphs) == {"three_layer", "logistic", "velocity"}
    names = tuple(feature.name for feature in learned.run.catalogue)
    for name, graph in graphs.items():
        assert (Scorer(graph).names, Scorer(graph).network) == (names, name)
        onnx.checker.check_model(onnx.load_from_string(graph))


def test_the_reference_is_the_people_of_the_training_part(learned: Learned, run: Run) -> None:
    """What is usual comes from clicks labelled human on the days that train; without the file it says what to do."""
    part = read_part(learned.run, learned.run.split.train)
    names = tuple(feature.name for feature in learned.run.catalogue)
    found = read_reference(learned.run)
    assert found.clicks == part.human.sum()
    people = np.sort(part.rows[part.human][:, names.index("clicks_user_24h")])
    assert found.features["clicks_user_24h"].median == people[(len(people) - 1) // 2]
    (Path(run.settings.storage.networks) / "reference.json").unlink()
    with pytest.raises(SettingsError, match="run `slidr train` again"):
        read_reference(run)


def test_scores_are_of_the_clicks_that_reach_the_model(learned: Learned) -> None:
    """SCORES holds calibration and judging part, in the order of their parts, in [0, 1]."""
    run = learned.run
    scorer = Scorer(read_networks(run)[run.settings.model.network])
    for span in (run.split.calibrate, run.split.judge):
        part, scores = read_part(run, span), run.lake.read(SCORES, start=span[0], end=span[1])
        assert scores["click_id"].equals(part.clicks["click_id"])
        np.testing.assert_array_equal(scores["score"].to_numpy(), scorer.score(part.rows))
        assert 0 <= pc.min(scores["score"]).as_py() <= pc.max(scores["score"]).as_py() <= 1
    assert run.lake.read(SCORES, end=run.split.calibrate[0]).num_rows == 0


def test_thresholds_keep_the_budget(learned: Learned) -> None:
    """On the calibration part itself the thresholds mark no larger share of purchasing clicks than the budget."""
    run = learned.run
    thresholds = read_thresholds(run)
    assert ROOT in {threshold.slice for threshold in thresholds}
    part = read_part(run, run.split.calibrate)
    scores = run.lake.read(SCORES, start=run.split.calibrate[0], end=run.split.calibrate[1])["score"].to_numpy()
    sample = sample_of(run, part, scores)
    by_slice = {threshold.slice: np.float32(threshold.threshold) for threshold in thresholds}
    marked = scores > np.array([by_slice[path] for path in sample.paths], np.float32)[sample.slices]
    assert 0 < marked.mean() < 0.9
    assert marked[part.purchased].mean() <= run.settings.calibration.fpr_budget


def test_stages_run_again_give_the_same_tables(learned: Learned, run: Run) -> None:
    """Labels, features, networks, scores and thresholds come out bit for bit as before."""
    label_clicks(run)
    backfill_features(run)
    graphs = {name: fitted.graph for name, fitted in train_networks(run).items()}
    thresholds = calibrate_thresholds(run).thresholds
    for table in (LABELS, FEATURES, SCORES, THRESHOLDS):
        assert run.lake.read(table).equals(learned.run.lake.read(table)), table.name
    assert graphs == read_networks(learned.run)
    assert thresholds == read_thresholds(run) == read_thresholds(learned.run)


def test_no_stage_needs_the_truth(learned: Learned, run: Run) -> None:
    """Without the truth and without the logs, which are in the lake by now, every stage up to calibration runs."""
    folder = Path(run.settings.storage.lake).parent
    shutil.rmtree(folder / "logs")
    label_clicks(run)
    backfill_features(run)
    train_networks(run)
    calibrate_thresholds(run)
    assert read_thresholds(run) == read_thresholds(learned.run)
    names = {
        name for table in (CLICKS, PURCHASES, LABELS, FEATURES, SCORES) for name in run.lake.read(table).column_names
    }
    assert not names & {"robot", "family", "truth"}


def test_an_unknown_network_is_not_read(run: Run) -> None:
    """Without a trained network the error says which stage makes it."""
    (Path(run.settings.storage.networks) / "three_layer.onnx").unlink()
    with pytest.raises(SettingsError, match=r"holds no three_layer\.onnx; run `slidr train` first"):
        read_networks(run)
    shutil.rmtree(run.settings.storage.networks)
    with pytest.raises(SettingsError, match="the stage train has not been done; run `slidr train` first"):
        read_networks(run)


def test_later_purchases_do_not_reach_the_training(learned: Learned, run: Run) -> None:
    """What accounts buy after the training part changes no RFM label; what clicks led to still counts."""
    before = label_clicks(run)
    first = run.split.train[1]
    accounts = learned.log.clicks["user"].drop_null().unique()
    later = pa.table(
        {
            "purchase_id": [f"later-{place}" for place in range(len(accounts))],
            "time": pa.array([first + place for place in range(len(accounts))]).cast(pa.timestamp("us", "UTC")),
            "user": accounts,
            "click_id": pa.nulls(len(accounts), pa.string()),
            "value": pa.array([10**9] * len(accounts)),
            "currency": ["EUR"] * len(accounts),
        }
    )
    run.lake.append(PURCHASES, later)
    after = label_clicks(run)
    rfm = [pc.equal(labels["reason"], "rfm").to_numpy() for labels in (before, after)]
    bought = pc.equal(after["reason"], "purchase").to_numpy()
    assert rfm[0].any()
    assert not (rfm[1] & ~rfm[0]).any()
    assert (bought & ~pc.equal(before["reason"], "purchase").to_numpy()).any()


def test_the_seed_has_the_days_that_are_not_mature(learned: Learned, tmp_path: Path) -> None:
    """A new service starts behind the lake's newest click, and its rows wait for its label, which is not mature."""
    mine = small_run(tmp_path, learned.log.clicks, learned.log.purchases, day=date(2026, 3, 9))
    backfill_features(mine)
    store = EmbeddedStore(compile_catalogue(mine.catalogue))
    store.restore(Path(mine.settings.storage.seed), fingerprint=mine.pseudonymiser.fingerprint)
    assert store.sequence == learned.log.clicks.num_rows
    written = mine.lake.read(FEATURES, start=mine.split.judge[1])
    assert written["click_id"].equals(mine.lake.read(CLICKS, start=mine.split.judge[1])["click_id"])


def test_stages_of_other_runs_are_refused(run: Run) -> None:
    """Other days or other settings than those that a stage was done with are named, with the stage to run again."""
    wider = replace(run.settings, slices=replace(run.settings.slices, columns=("region",)))
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("calibrate", lambda: read_thresholds(dataclasses.replace(run, settings=wider))),
        ("label", lambda: train_networks(dataclasses.replace(run, as_of=run.as_of + 1))),
        (
            "backfill",
            lambda: train_networks(
                dataclasses.replace(run, settings=replace(run.settings, features=FeaturesSettings(windows=("1h",))))
            ),
        ),
    ]
    for stage, attempt in refusals:
        with pytest.raises(SettingsError, match=f"the stage {stage} was done for other days .* `slidr {stage}`"):
            attempt()
    label_clicks(run)
    with pytest.raises(SettingsError, match="the stage train has not been done"):
        read_networks(run)


def test_labels_of_other_clicks_are_refused(run: Run) -> None:
    """Labels or features that lack a click of the part are refused with the stages to run again."""
    labels = run.lake.read(LABELS, start=run.split.train[0], end=run.split.train[1])
    run.lake.write(LABELS, labels.slice(5))
    with pytest.raises(
        LabelError, match=r"labels has .* rows for .* clicks from 2026-03-02 00:00 to 2026-03-09 00:00;"
    ):
        read_part(run, run.split.train)
    run.lake.write(LABELS, labels)
    read_part(run, run.split.train)
    features = run.lake.read(FEATURES, start=run.split.train[0], end=run.split.train[1])
    run.lake.write(FEATURES, features.take(pa.array(range(features.num_rows)[::-1])).slice(1))
    with pytest.raises(LabelError, match=r"features has .* run `slidr label` and `slidr backfill` again"):
        train_networks(run)


def test_a_part_keeps_out_what_never_reaches_the_model(learned: Learned, tmp_path: Path) -> None:
    """Crawlers that say so, clicks without identifiers and unripe labels are counted, and are not learned from."""
    run = learned.run
    whole = read_part(run, run.split.judge)
    total = run.lake.read(CLICKS, start=run.split.judge[0], end=run.split.judge[1]).num_rows
    kept_out = whole.listed.clicks + whole.unmeasurable.clicks + whole.unripe
    assert whole.clicks.num_rows + kept_out == total
    assert len(whole.rows) == len(whole.human) == len(whole.purchased) == len(whole.times) == whole.clicks.num_rows
    assert not (whole.purchased & ~whole.human).any()
    listed = msgspec.structs.replace(run.settings.rules, crawlers=(str(tmp_path / "everybody.txt"),))
    (tmp_path / "everybody.txt").write_text("^[A-Za-z]\n")
    everybody = Run(
        msgspec.structs.replace(run.settings, rules=listed), run.lake, run.split, run.as_of, run.final, quiet
    )
    named = whole.clicks["user_agent"].null_count
    assert read_part(everybody, run.split.judge).clicks.num_rows == named


def test_values_that_name_one_slice_are_one_slice() -> None:
    """The text "true" and "True" of a further column are one slice, not two of one name."""
    clicks = pa.table(
        {
            "shop": ["true", "True", None],
            "session": pa.nulls(3, pa.string()),
            "time": pa.array([1, 2, 3]).cast(pa.timestamp("us", "UTC")),
        }
    )
    sample = slice_sample(clicks, np.zeros(3, np.float32), np.array([0, -1, -1]), ("shop",), 50)
    assert (sample.paths, sample.slices.tolist()) == (("shop=true", "shop=null"), [0, 0, 1])


def test_slices_need_their_columns(learned: Learned) -> None:
    """A slice column that the clicks lack is refused, the nearest suggested; null is a slice of its own."""
    clicks = learned.log.clicks.slice(0, 200)
    scores, purchaser = np.zeros(200, np.float32), np.where(np.arange(200) < 5, 0, -1)
    with pytest.raises(SettingsError, match="clicks have no column 'devise'; did you mean 'device'"):
        slice_sample(clicks, scores, purchaser, ("devise",), 50)
    sample = slice_sample(clicks, scores, purchaser, (), 50)
    assert (sample.paths, set(sample.slices.tolist())) == ((ROOT,), {0})
    none = clicks.set_column(clicks.column_names.index("device"), "device", pa.nulls(200, pa.string()))
    assert slice_sample(none, scores, purchaser, ("device",), 50).paths == ("device=null",)


def small_run(folder: Path, clicks: pa.Table, purchases: pa.Table, day: date | None = None, **document: object) -> Run:
    """Return a run over a lake with these tables alone."""
    settings: Settings = located(parse_settings({"model": {"widths": [4]}, **document}), folder)
    lake = Lake(settings.storage.lake)
    lake.write(CLICKS, clicks)
    lake.write(PURCHASES, purchases)
    return plan_run(settings, ManualClock(NOW), quiet, day=day)


def test_a_log_without_purchases_is_refused(learned: Learned, tmp_path: Path) -> None:
    """Nothing can be learned without purchases, and the error says so before anything is computed."""
    empty = learned.log.purchases.slice(0, 0)
    run = small_run(tmp_path, learned.log.clicks, empty)
    with pytest.raises(LabelError, match="purchase"):
        label_clicks(run)


def test_a_log_that_was_never_given_purchases_is_refused(learned: Learned, tmp_path: Path) -> None:
    """Settings without a purchase log come to the same clear end."""
    document = {"clicks": {"path": str(learned.folder / "logs" / "clicks")}}
    settings = located(parse_settings(document), tmp_path)
    ingest(settings, Lake(settings.storage.lake), ManualClock(NOW))
    with pytest.raises(SlidrError, match="purchase"):
        label_clicks(plan_run(settings, ManualClock(NOW), quiet))


def test_scores_of_other_clicks_are_refused(learned: Learned, tmp_path: Path) -> None:
    """A score that went missing between training and calibration is noticed, not shifted onto its neighbour."""
    shutil.copytree(learned.settings.storage.lake, tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    lake.write(SCORES, lake.read(SCORES).slice(1))
    with pytest.raises(CalibrationError, match="run `slidr train` again"):
        calibrate_thresholds(dataclasses.replace(learned.run, lake=lake))


def test_a_calibration_part_without_purchases_is_refused(learned: Learned, tmp_path: Path) -> None:
    """Purchases of the training days alone set no threshold."""
    run = learned.run
    early = run.lake.read(PURCHASES, end=run.split.train[1])
    mine = small_run(tmp_path, learned.log.clicks, early, labels={"rfm": False})
    label_clicks(mine)
    backfill_features(mine)
    train_networks(mine)
    with pytest.raises(CalibrationError, match="purchas"):
        calibrate_thresholds(mine)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_a_handful_of_clicks_ends_clearly(learned: Learned, tmp_path: Path, count: int) -> None:
    """A log too short to learn from is refused on purpose by some stage, never by a traceback."""
    clicks = learned.log.clicks.slice(learned.log.clicks.num_rows - count)
    run = small_run(tmp_path, clicks, learned.log.purchases)

    def learn() -> None:
        label_clicks(run)
        backfill_features(run)
        train_networks(run)
        calibrate_thresholds(run)

    with pytest.raises(SlidrError):
        learn()


def test_features_carry_the_catalogue_that_made_them(learned: Learned) -> None:
    """The columns of FEATURES are those of the run's catalogue."""
    features = learned.run.lake.read(FEATURES)
    assert features.column_names[len(FEATURES.names) :] == [feature.name for feature in learned.run.catalogue]
    assert len(catalogue_hash(learned.run.catalogue)) == 16
    assert conform(FEATURES, features).num_rows == features.num_rows
