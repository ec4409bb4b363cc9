"""The flow of a day: once, as a whole, on from where it was killed, and never past a guardrail unseen."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.learned import NOW, Learned, copy_of, quiet

from slidr.bundle import read_bundle
from slidr.clock import DAY, HOUR, ManualClock
from slidr.daily.claims import Claim, Claims, run_key
from slidr.daily.flow import RESULT, Request, Result, run_daily, run_lock
from slidr.daily.plan import Run
from slidr.daily.stamps import current
from slidr.errors import BusyError, LabelError, RegistryError, SettingsError, SourceError
from slidr.locking import only_run
from slidr.registry import open_registry
from slidr.tables import CLICKS, FEATURES, LABELS, PURCHASES, SCORES, THRESHOLDS

JUDGED = date(2026, 3, 10)


@pytest.fixture
def run(learned: Learned, tmp_path: Path) -> Run:
    """The learned run in a copy of its folder, fed otherwise than from logs."""
    run = copy_of(learned, tmp_path / "copy")
    clicks = msgspec.structs.replace(run.settings.clicks, path="")
    return Run(**{**vars(run), "settings": msgspec.structs.replace(run.settings, clicks=clicks)})


def go(run: Run, **asked: object) -> Result:
    """Run the day."""
    return run_daily(run.settings, ManualClock(NOW), Request("tests", **asked), quiet)  # type: ignore[arg-type]


def lose_purchases(run: Run, first: int, last: int) -> None:
    """Lose the purchases of a span of time."""
    purchases = run.lake.read(PURCHASES)
    times = purchases["time"].cast(pa.int64()).to_numpy()
    kept = (times < first) | (times >= last)
    run.lake.write(PURCHASES, purchases.filter(pa.array(kept)))
    for day in {*run.lake.days(PURCHASES)} - {*purchases.filter(pa.array(kept))["time"].cast(pa.date32()).to_pylist()}:
        run.lake.write(PURCHASES, purchases.slice(0, 0), day=day)


def test_a_day_is_published_once(run: Run) -> None:
    """The first run publishes with all findings; the second one does nothing and says so; --again does it again."""
    first = go(run)
    assert (first.status, len(first.findings)) == ("published", 19)
    assert list(first.seconds) == ["guard data", "judge", "guard model", "publish"]
    registry = open_registry(run.settings)
    history = registry.history()
    assert history[-1].bundle == first.bundle
    assert history[-1].why == "daily run of 2026-03-10"
    bundle = read_bundle(Path(run.settings.storage.bundles) / first.bundle)
    assert [one["name"] for one in bundle.guardrails] == [one.name for one in first.findings]
    assert bundle.metrics["expected"]["golden"]["humans"]
    assert len(bundle.metrics["expected"]["hours"]) == 24
    second = go(run)
    assert (second.status, second.bundle, second.seconds) == ("done", first.bundle, {})
    assert registry.history() == history
    written = msgspec.json.decode((Path(run.settings.storage.report) / RESULT).read_bytes())
    assert (written["status"], written["day"]) == ("done", "2026-03-10")
    third = go(run, again=True)
    assert third.status == "published"
    assert next(one for one in third.findings if one.name == "golden").numbers["humans_marked"] == 0
    assert go(run).status == "done"


def test_missing_purchases_are_refused_and_an_override_is_kept(run: Run) -> None:
    """The champion stays, slow features are there; bundle, page and audit log say who let it pass all the same."""
    begin = run.split.train[0] + 3 * DAY + 6 * HOUR
    lose_purchases(run, begin, begin + 14 * HOUR)
    before = open_registry(run.settings).champion()
    refused = go(run)
    names = {one.name for one in refused.findings if one.refuses}
    assert (refused.status, refused.evaluation) == ("refused", None)
    assert names >= {"purchase_volume"}
    assert refused.report is not None
    assert "purchase_volume" in refused.report.read_text()
    assert open_registry(run.settings).champion() == before
    assert current(run, "backfill")
    assert sorted(Path(run.settings.storage.slow).iterdir())
    given = {"overrides": tuple(names), "why": "the shop was closed"}
    passed = go(run, **given)
    assert passed.status == "published"
    bundle = read_bundle(Path(run.settings.storage.bundles) / passed.bundle)
    kept = {one["name"]: one["override"] for one in bundle.guardrails if one["override"]}
    assert set(kept) == names
    assert {(one["who"], one["why"]) for one in kept.values()} == {("tests", "the shop was closed")}
    assert passed.report is not None
    assert "the shop was closed" in passed.report.read_text()
    go(run, **given)
    records = [one for one in open_registry(run.settings).audit.records() if one.kind == "override"]
    assert {one.details["guardrail"] for one in records} == names
    assert len(records) == len(names)
    assert open_registry(run.settings).audit.verify().faults == ()


def test_a_model_that_leaves_the_champion_is_refused(run: Run) -> None:
    """The refusal names numbers and limit, the page shows them, and the network stays for an override."""
    limits = msgspec.structs.replace(run.settings.guardrails, most_latency_ms=1e-9)
    strict = msgspec.structs.replace(run.settings, guardrails=limits)
    result = run_daily(strict, ManualClock(NOW), Request("tests"), quiet)
    assert (result.status, [one.name for one in result.findings if one.refuses]) == ("refused", ["latency"])
    assert result.evaluation is not None
    assert result.report is not None
    assert "guardrail latency refuses" in result.report.read_text()
    # Limits shape no table: nothing but the guards and publishing is left to do.
    assert list(go(run).seconds) == ["guard data", "guard model", "publish"]


@pytest.mark.parametrize("stage", ["label", "train", "calibrate", "publish"])
def test_a_run_that_stops_goes_on(learned: Learned, run: Run, stage: str) -> None:
    """Wherever a run is stopped, the next one gives the tables and thresholds of one that was not."""

    def stop(at: str, share: float) -> None:
        if at == stage and share < 1:
            raise InterruptedError

    (Path(run.settings.storage.networks) / "stages.json").unlink()
    with pytest.raises(InterruptedError):
        run_daily(run.settings, ManualClock(NOW), Request("tests"), stop)
    result = go(run)
    assert result.status == "published"
    for table in (LABELS, FEATURES, SCORES, THRESHOLDS):
        assert run.lake.read(table).equals(learned.run.lake.read(table)), table.name
    assert read_bundle(Path(run.settings.storage.bundles) / result.bundle).thresholds == learned.bundle.thresholds
    assert [entry.bundle for entry in open_registry(run.settings).history()][1:] == [result.bundle]


SCRIPT = """
import sys
from pathlib import Path
from slidr.clock import ManualClock
from slidr.daily.flow import Request, run_daily
from slidr.settings import read_settings
print("begun", flush=True)
clock = ManualClock(int(sys.argv[2]))
settings = read_settings(Path(sys.argv[1]))
result = run_daily(settings, clock, Request("tests"), lambda stage, share: print(stage, flush=True))
print(result.status, flush=True)
"""


def process(run: Run) -> subprocess.Popen[str]:
    """Start a run as a process of its own."""
    toml = Path(run.settings.storage.lake).parent / "slidr.toml"
    command = [sys.executable, "-c", SCRIPT, str(toml), str(NOW)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 ours


def test_a_run_that_is_killed_leaves_no_lock_and_nothing_half(run: Run) -> None:
    """A kill -9 in the middle of training and of publishing; the next run ends what they began, with one bundle."""
    (Path(run.settings.storage.networks) / "stages.json").unlink()
    for stage in ("train", "publish"):
        with process(run) as killed:
            assert any(stage in line for line in killed.stdout or ()), killed.communicate()
            os.kill(killed.pid, signal.SIGKILL)
    assert go(run).status in {"published", "done"}
    bundles = [path for path in Path(run.settings.storage.bundles).iterdir() if not path.name.startswith(".")]
    for path in bundles:
        read_bundle(path)
    assert len(open_registry(run.settings).history()) == 2


def test_two_runs_at_once_do_the_work_of_one(run: Run) -> None:
    """On one machine the second one is told who is at work, and leaves everything alone."""
    with only_run(run_lock(run.settings)), pytest.raises(BusyError, match=f"process {os.getpid()} holds"):
        go(run)
    assert len(open_registry(run.settings).history()) == 1
    assert go(run).status == "published"


def test_of_two_machines_the_first_claim_stands(learned: Learned, run: Run) -> None:
    """A run that comes second promotes the bundle that was claimed first, and the history has it once."""
    claims = Claims(run.settings.storage.registry)
    theirs = Claim(learned.bundle.id, NOW, "another machine", "")
    # It was promoted already by hand, so the run is done.
    claims.make(run_key(run), theirs)
    assert go(run).status == "done"
    assert claims.make(run_key(run), Claim("mine", NOW, "me", "")) == theirs
    entries = [entry.bundle for entry in open_registry(run.settings).history()]
    open_registry(run.settings).promote(theirs.bundle, at=NOW, who="x", why="x", once=True)
    assert [entry.bundle for entry in open_registry(run.settings).history()] == entries


def test_thresholds_are_refitted_and_the_network_is_kept(run: Run) -> None:
    """Two more days, and --recalibrate gives the same network thresholds of the newest mature hours."""
    clicks, purchases = run.lake.read(CLICKS), run.lake.read(PURCHASES)
    last = clicks.filter(pc.greater_equal(clicks["time"], pa.scalar(run.split.calibrate[0], pa.timestamp("us", "UTC"))))
    bought = purchases.filter(
        pc.greater_equal(purchases["time"], pa.scalar(run.split.calibrate[0], pa.timestamp("us", "UTC")))
    )
    for table, rows, key in ((CLICKS, last, "click_id"), (PURCHASES, bought, "purchase_id")):
        later = pa.array(rows["time"].cast(pa.int64()).to_numpy() + 2 * DAY).cast(pa.timestamp("us", "UTC"))
        names = pc.binary_join_element_wise(rows[key], "later", "-")
        moved = rows.set_column(rows.column_names.index("time"), "time", later)
        moved = moved.set_column(moved.column_names.index(key), key, names)
        if table is PURCHASES:
            ids = pc.binary_join_element_wise(moved["click_id"], "later", "-")
            moved = moved.set_column(moved.column_names.index("click_id"), "click_id", ids)
        run.lake.merge(table, moved)
    clock = ManualClock(run.split.judge[1] + 3 * DAY)
    # The same people come twice, so the peaks of their addresses are seen to grow.
    limits = msgspec.structs.replace(run.settings.guardrails, most_feature_drift=9.0)
    settings = msgspec.structs.replace(run.settings, guardrails=limits)
    before = open_registry(run.settings).champion()
    result = run_daily(settings, clock, Request("tests", recalibrate=True), quiet)
    assert before is not None
    assert result.status == "published", [one.message for one in result.findings if one.refuses]
    assert result.run.split.judge == (run.split.judge[0] + 2 * DAY, run.split.judge[1] + 2 * DAY)
    made = read_bundle(Path(run.settings.storage.bundles) / result.bundle)
    old = read_bundle(Path(run.settings.storage.bundles) / before.bundle)
    assert made.graph == old.graph
    assert made.thresholds != old.thresholds
    assert open_registry(run.settings).history()[-1].why == "recalibrated of 2026-03-12"
    assert run_daily(settings, clock, Request("tests", recalibrate=True), quiet).status == "done"


def test_nothing_to_recalibrate_is_said(run: Run, tmp_path: Path) -> None:
    """Without a champion, or without mature hours behind its training, the message says what to do."""
    with pytest.raises(LabelError, match="are not both mature and behind the champion's training"):
        go(run, recalibrate=True, day=date(2026, 3, 4))
    storage = msgspec.structs.replace(run.settings.storage, registry=str(tmp_path / "empty"))
    empty = msgspec.structs.replace(run.settings, storage=storage)
    with pytest.raises(SettingsError, match="has no champion whose network could be kept"):
        run_daily(empty, ManualClock(NOW), Request("tests", recalibrate=True), quiet)


def test_a_day_without_clicks_or_purchases(run: Run) -> None:
    """Without clicks a day is not judged, nor let pass among the nine; without purchases slow features are built."""
    with pytest.raises(LabelError, match="2026-03-11 cannot be judged"):
        go(run, day=date(2026, 3, 11))
    run.lake.write(CLICKS, run.lake.read(CLICKS).slice(0, 0), day=date(2026, 3, 6))
    result = go(run, day=JUDGED)
    assert result.status == "refused"
    refusal = next(one for one in result.findings if one.name == "click_volume")
    assert "no click at all on 2026-03-06" in refusal.message
    lose_purchases(run, 0, 2 * NOW)
    with pytest.raises(LabelError, match="purchase"):
        go(run, day=JUDGED)
    assert any(path.name == "2026-03-10" for path in Path(run.settings.storage.slow).iterdir())


def test_a_truncated_log_changes_nothing(learned: Learned, tmp_path: Path) -> None:
    """Half of a file is no log: the fault names it, and lake, champion and history stay."""
    run = copy_of(learned, tmp_path / "copy")
    path = max((Path(run.settings.storage.lake).parent / "logs" / "clicks").iterdir())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    version = run.lake.version(CLICKS)
    with pytest.raises(SourceError, match=path.name):
        run_daily(run.settings, ManualClock(NOW), Request("tests"), quiet)
    assert run.lake.version(CLICKS) == version
    assert len(open_registry(run.settings).history()) == 1


def _limited() -> None:
    """Let no file grow beyond 1 kB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))


def test_a_registry_that_cannot_be_written_stops_the_last_step_alone(run: Run, tmp_path: Path) -> None:
    """On a full disk the champion stays and nothing is half there; with room again, only publishing is left."""

    def full(stage: str, share: float) -> None:
        if stage == "publish" and share == 0:
            _limited()

    before = open_registry(run.settings).history()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises((RegistryError, OSError, Exception), match=r"cannot be written|File too large"):
            run_daily(run.settings, ManualClock(NOW), Request("tests"), full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert open_registry(run.settings).history() == before
    assert list(go(run).seconds) == ["guard data", "guard model", "publish"]
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    storage = msgspec.structs.replace(run.settings.storage, registry=str(blocked))
    with pytest.raises(RegistryError, match=r"check storage\.registry and the rights to it"):
        run_daily(msgspec.structs.replace(run.settings, storage=storage), ManualClock(NOW), Request("tests"), quiet)


def test_a_day_in_a_zone_whose_clocks_change(run: Run) -> None:
    """Billing days of a zone where the clocks went forward on the judged week's Sunday pass as those of UTC do."""
    zoned = msgspec.structs.replace(run.settings, timezone="America/New_York")  # 2026-03-08, 2:00
    assert run_daily(zoned, ManualClock(NOW), Request("tests", again=True), quiet).status == "published"


def test_changed_data_are_told_and_not_taken_for_done_work(run: Run) -> None:
    """A done day stays done when late clicks come, with a note; done again, nothing of the old run is taken over."""
    go(run)
    clicks = run.lake.read(CLICKS, start=run.split.judge[0], end=run.split.judge[1])
    run.lake.write(CLICKS, clicks.slice(0, clicks.num_rows - 50))
    told = go(run)
    assert told.status == "done"
    assert "run with --again" in told.notes[0]
    again = go(run, again=True)
    assert {"label", "backfill", "train"} <= set(again.seconds)
    assert run.lake.read(LABELS).num_rows == run.lake.read(CLICKS, start=run.split.train[0]).num_rows


Attempt = Callable[[], object]


def test_bad_overrides_are_refused_before_any_work(run: Run) -> None:
    """An unknown guardrail, or no reason, is said at once."""
    attempts: list[tuple[Attempt, str]] = [
        (lambda: go(run, overrides=("bend",), why="x"), "--override bend: there is no such guardrail"),
        (lambda: go(run, overrides=("band",)), "an override needs a reason"),
    ]
    for attempt, words in attempts:
        with pytest.raises(SettingsError, match=words):
            attempt()
