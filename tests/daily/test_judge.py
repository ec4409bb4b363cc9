"""Judge and publish: what thresholds do on a later day, and the bundle that carries them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.learned import NOW, Learned, copy_of

from slidr.bundle import read_bundle
from slidr.clock import ManualClock
from slidr.contest import read_champion
from slidr.daily.calibration import read_calibration, read_thresholds
from slidr.daily.judge import judge, publish, read_evaluation, write_report
from slidr.daily.parts import read_part
from slidr.daily.plan import Run
from slidr.daily.stages import read_networks, read_reference
from slidr.errors import FeatureError, LabelError, SettingsError
from slidr.model.scorer import Scorer
from slidr.registry import Registry
from slidr.simulate.truth import HUMAN
from slidr.tables import CLICKS, FEATURES, LABELS, PURCHASES, SCORES, THRESHOLDS


@pytest.fixture
def run(learned: Learned, tmp_path: Path) -> Run:
    """The learned run in a copy of its folder."""
    return copy_of(learned, tmp_path / "copy")


def test_the_deciding_network_comes_first_and_each_is_compared(learned: Learned) -> None:
    """The calibrated network leads, and every network stands there with one threshold at the same budget."""
    results = [(result.network, result.calibration) for result in learned.evaluation.networks]
    assert results[0] == ("three_layer", learned.settings.calibration.method)
    assert results[1:] == [(name, "one threshold") for name in ("three_layer", "logistic", "velocity")]
    assert learned.evaluation.budget == learned.settings.calibration.fpr_budget


def test_numbers_are_those_of_the_judging_day(learned: Learned) -> None:
    """IVR, FPR and counts of the deciding network are what scores and thresholds give when counted by hand."""
    run, evaluation = learned.run, learned.evaluation
    part = read_part(run, run.split.judge)
    scores = Scorer(read_networks(run)[run.settings.model.network]).score(part.rows)
    by_slice = {threshold.slice: np.float32(threshold.threshold) for threshold in read_thresholds(run)}
    columns = zip(part.clicks["device"].to_pylist(), part.clicks["logged_in"].to_pylist(), strict=True)
    paths = [f"device={device}/logged_in={str(logged_in).lower()}" for device, logged_in in columns]
    marked = scores > np.array([by_slice[path] for path in paths], np.float32)
    result = evaluation.networks[0]
    assert result.ivr.value == pytest.approx(marked.mean())
    assert result.fpr.value == pytest.approx(marked[part.purchased].mean())
    assert evaluation.slices[0].clicks == len(scores)
    assert evaluation.slices[0].purchases == part.purchased.sum()


def crawl(run: Run) -> tuple[set[str], set[str]]:
    """Make crawlers of two thirds of the judged clicks and take the names off a tenth; return their click_ids."""
    reached = read_part(run, run.split.judge).clicks["click_id"].to_pylist()
    crawlers, nameless = {*reached[::3], *reached[1::3]}, set(reached[2::30])
    clicks = run.lake.read(CLICKS)
    ids = clicks["click_id"].to_pylist()
    for column, changed, value in (
        ("user_agent", crawlers, "Googlebot/2.1"),
        *((name, nameless, None) for name in ("user", "session", "ip")),
    ):
        old = zip(ids, clicks[column].to_pylist(), strict=True)
        new = pa.array([value if click_id in changed else kept for click_id, kept in old], pa.string())
        clicks = clicks.set_column(clicks.column_names.index(column), column, new)
    run.lake.write(CLICKS, clicks)
    return crawlers, nameless


def test_all_clicks_are_counted_on_a_day_of_crawlers(run: Run) -> None:
    """IVR and FPR of all clicks take in what list rules hit, and unmeasurable clicks as not invalidated."""
    before = read_part(run, run.split.judge)
    scores = Scorer(read_networks(run)[run.settings.model.network]).score(before.rows)
    by_slice = {threshold.slice: np.float32(threshold.threshold) for threshold in read_thresholds(run)}
    columns = zip(before.clicks["device"].to_pylist(), before.clicks["logged_in"].to_pylist(), strict=True)
    limits = [by_slice[f"device={device}/logged_in={str(logged_in).lower()}"] for device, logged_in in columns]
    crawlers, nameless = crawl(run)
    ids = before.clicks["click_id"].to_pylist()
    listed, unnamed = (np.array([click_id in some for click_id in ids]) for some in (crawlers, nameless))
    invalid = listed | (~unnamed & (scores > np.array(limits, np.float32)))
    outside = before.listed.clicks + before.unmeasurable.clicks
    bought = int(before.purchased.sum()) + before.listed.purchases + before.unmeasurable.purchases
    evaluation = judge(run, title="crawlers")
    totals = evaluation.totals
    assert (totals.clicks, totals.purchases) == (len(ids) + outside, bought)
    assert totals.listed == listed.sum() + before.listed.clicks > totals.clicks / 2
    assert totals.listed_purchases == (listed & before.purchased).sum() + before.listed.purchases
    assert totals.unmeasurable == unnamed.sum() + before.unmeasurable.clicks
    assert totals.unmeasurable_purchases == (unnamed & before.purchased).sum() + before.unmeasurable.purchases
    assert totals.ivr == pytest.approx((invalid.sum() + before.listed.clicks) / totals.clicks)
    assert totals.fpr.value == pytest.approx((invalid & before.purchased).sum() / bought, abs=1e-9)
    assert totals.reached == evaluation.slices[0].clicks == (~listed & ~unnamed).sum()
    assert totals.reached_purchases == evaluation.slices[0].purchases


def test_features_of_another_catalogue_are_refused(run: Run) -> None:
    """Features that were made before the catalogue changed, or for some days only, name the first that is missing."""
    features = run.lake.read(FEATURES)
    name = run.catalogue[3].name
    place = features.column_names.index(name)
    missing = pa.nulls(features.num_rows, pa.float32())
    run.lake.write(FEATURES, features.set_column(place, name, missing))
    with pytest.raises(FeatureError, match=f"of another catalogue; run `slidr backfill` again.*missing: {name}"):
        read_part(run, run.split.judge)
    windows = msgspec.structs.replace(run.settings.features, windows=("3m",))
    changed = dataclasses.replace(run, settings=msgspec.structs.replace(run.settings, features=windows))
    with pytest.raises(FeatureError, match=r"run `slidr backfill` again.*missing: clicks_user_3m"):
        read_part(changed, run.split.judge)


def test_the_spans_are_those_of_the_run(learned: Learned) -> None:
    """The evaluation tells which part of the log was for what, and what it held."""
    evaluation, split = learned.evaluation, learned.run.split
    for span, bounds in ((evaluation.train, split.train), (evaluation.calibrate, split.calibrate),
                         (evaluation.judge, split.judge)):  # fmt: skip
        assert (span.start, span.end) == bounds
        labels = learned.run.lake.read(LABELS, start=bounds[0], end=bounds[1])["reason"].to_pylist()
        assert (span.clicks, span.purchases) == (len(labels), labels.count("purchase"))


def test_the_truth_adds_families_and_changes_nothing_else(learned: Learned) -> None:
    """With the truth every robot family has its recall; without it all other numbers are the same."""
    caught = learned.evaluation.networks[0].caught
    assert caught is not None
    families = [result.family for result in caught.families]
    assert HUMAN not in families
    assert len(families) >= 4
    assert families == sorted(families)
    blind = judge(learned.run, title=learned.evaluation.title)
    assert blind.missed == ()
    assert any("truth is not known" in note for note in blind.notes)
    for field in ("curves", "slice_curves", "health", "proxy", "assurance", "learning", "card", "train", "judge"):
        assert getattr(blind, field) == getattr(learned.evaluation, field)
    for one, other in zip(blind.networks, learned.evaluation.networks, strict=True):
        assert msgspec.structs.replace(other, caught=None, caught_at_budget=None) == one
    for mine, its in zip(blind.slices, learned.evaluation.slices, strict=True):
        assert msgspec.structs.replace(its, recall=None, true_fpr=None) == mine


def test_a_few_purchases_are_said_to_be_few(learned: Learned) -> None:
    """On a small log the notes tell how wide the intervals are, and the intervals are wide."""
    assert any("purchasing clicks" in note for note in learned.evaluation.notes)
    found = learned.evaluation.networks[0].fpr
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 0.02


def test_another_logs_truth_is_refused(learned: Learned) -> None:
    """A truth that lacks judged clicks is refused, not guessed."""
    truth = pq.read_table(learned.folder / "logs" / "truth")
    with pytest.raises(LabelError, match="truth lacks"):
        judge(learned.run, title="x", truth=truth.slice(0, 100))


def test_publish_makes_the_champion(learned: Learned) -> None:
    """The bundle lies in the registry, is the champion, and loads as it was made."""
    storage = learned.settings.storage
    registry = Registry(storage.registry)
    assert registry.ids() == (learned.bundle.id,)
    (entry,) = registry.history()
    assert (entry.bundle, entry.who, entry.why) == (learned.bundle.id, "tests", "to have a champion")
    assert read_champion(storage.registry, Path(storage.bundles)) == learned.bundle
    assert read_bundle(Path(storage.bundles) / learned.bundle.id) == learned.bundle


def test_a_bundle_says_what_it_was_made_from(learned: Learned) -> None:
    """It carries the versions of every table, the spans, the contract, and what was measured."""
    run, bundle = learned.run, learned.bundle
    versions = {
        table.name: run.lake.version(table) for table in (CLICKS, PURCHASES, LABELS, FEATURES, SCORES, THRESHOLDS)
    }
    assert bundle.data["lake"] == versions
    assert tuple(bundle.data["train"]) == run.split.train
    assert bundle.data["as_of"] == run.as_of
    assert bundle.catalogue == run.catalogue
    assert bundle.graph == read_networks(run)[run.settings.model.network]
    assert bundle.thresholds == read_thresholds(run)
    assert bundle.contract.key_fingerprint == run.pseudonymiser.fingerprint
    assert bundle.contract.slice_columns == ("device", "logged_in")
    assert bundle.metrics["networks"][0]["ivr"]["value"] == learned.evaluation.networks[0].ivr.value
    assert bundle.metrics["card"]["facts"][0][0] == "network"
    assert bundle.calibration == read_calibration(run)
    assert bundle.reference == read_reference(run)
    assert not bundle.certified
    assert bundle.manifest.created_at == NOW


def test_publishing_again_is_the_same_bundle(learned: Learned, run: Run) -> None:
    """The same run gives the same bundle; the history grows by an entry all the same."""
    again = publish(run, learned.evaluation, ManualClock(NOW + 5), who="tests", why="again")
    assert again.id == learned.bundle.id
    registry = Registry(run.settings.storage.registry)
    assert registry.ids() == (again.id,)
    assert [entry.why for entry in registry.history()] == ["to have a champion", "again"]


def test_an_evaluation_is_kept_and_read(learned: Learned, tmp_path: Path) -> None:
    """The report is one page beside its numbers, which read back as they were."""
    again = read_evaluation(learned.settings)
    assert msgspec.json.encode(again) == msgspec.json.encode(learned.evaluation)
    page = Path(learned.settings.storage.report) / "report.html"
    assert "a small log" in page.read_text()
    storage = msgspec.structs.replace(learned.settings.storage, report=str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"evaluation\.json does not exist; run `slidr judge` first"):
        read_evaluation(msgspec.structs.replace(learned.settings, storage=storage))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "evaluation.json").write_text('{"title": "of an older version"}')
    with pytest.raises(SettingsError, match=r"not an evaluation of this version .*; run `slidr judge` again"):
        read_evaluation(msgspec.structs.replace(learned.settings, storage=storage))


def test_an_infinite_threshold_is_judged_and_published(run: Run) -> None:
    """A slice that is never invalidated goes all the way into report and bundle."""
    thresholds = run.lake.read(THRESHOLDS).to_pylist()
    for threshold in thresholds:
        threshold["threshold"] = float("inf")
    run.lake.write(THRESHOLDS, run.lake.read(THRESHOLDS).from_pylist(thresholds))
    evaluation = judge(run, title="nothing marked")
    assert evaluation.networks[0].ivr.value == 0
    write_report(run, evaluation)
    again = read_evaluation(run.settings)
    bundle = publish(run, again, ManualClock(NOW), who="tests", why="harmless")
    assert {threshold.threshold for threshold in bundle.thresholds} == {float("inf")}
