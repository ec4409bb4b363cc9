"""The demo: the whole loop with a real service behind a real socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slidr.clock import SystemClock
from slidr.daily.judge import read_evaluation
from slidr.demo.loop import LOGS, Request, Shown, run_demo
from slidr.errors import LabelError, SettingsError, SlidrError, SourceError
from slidr.settings import read_settings
from slidr.sources import weblog

STAGES = ["simulate", "ingest", "label", "backfill", "guard data", "train", "calibrate", "judge", "guard model",
          "publish", "serve", "compare"]  # fmt: skip
SMALL = {"widths": [16]}
"""A small network, which learns a small log as well and much sooner."""


class Watching:
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.counted: dict[str, int] = {}

    def __call__(self, stage: str, share: float) -> None:
        """Remember a stage."""
        assert 0 <= share <= 1
        self.stages.append(stage)

    def counting(self, stage: str, total: int | None = None) -> Callable[[int], None]:
        """Remember how many clicks a stage was done with."""
        del total
        self.counted[stage] = 0

        def count(clicks: int) -> None:
            self.counted[stage] += clicks

        return count


def settle(monkeypatch: pytest.MonkeyPatch, source: str, **sections: object) -> None:
    """Add sections to the settings that the demo writes for a source."""
    monkeypatch.setitem(LOGS, source, {**LOGS[source], "model": SMALL, **sections})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shown, Path, Watching]:
    """A demo of simulated traffic, its folder, and what was shown meanwhile."""
    folder, watch = tmp_path_factory.mktemp("demo") / "output", Watching()
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, "simulation")
        return run_demo(Request(folder, size=20_000), SystemClock(), watch), folder, watch


def test_every_live_decision_equals_the_batch(simulated: tuple[Shown, Path, Watching]) -> None:
    """The whole judging day goes through HTTP, and no decision differs from the batch in any bit."""
    shown, _, _ = simulated
    assert shown.comparison.differences == 0
    assert shown.comparison.decisions == shown.evaluation.judge.clicks > 1000
    assert sum(shown.comparison.verdicts.values()) == shown.comparison.decisions
    assert shown.comparison.verdicts["invalid_sophisticated"] > 0
    assert shown.latencies.unanswered == 0
    assert 0 < shown.latencies.quantile(0.5) <= shown.latencies.quantile(0.999)


def test_the_demo_shows_what_it_did(simulated: tuple[Shown, Path, Watching]) -> None:
    """Stages in order with their seconds, true recall per family, the report, the bundle, nothing rejected."""
    shown, folder, watch = simulated
    assert list(shown.seconds) == STAGES
    assert all(seconds > 0 for seconds in shown.seconds.values())
    caught = shown.evaluation.networks[0].caught
    assert caught is not None
    assert {family.family for family in caught.families} > {"clockwork", "click_farm"}
    assert shown.report.is_relative_to(folder)
    assert shown.bundle in [path.name for path in (folder / "bundles").iterdir()]
    assert shown.rejections == ()
    assert set(watch.stages) >= {"simulate", "label", "backfill", "train", "calibrate", "judge", "publish"}
    assert watch.counted["serve"] == watch.counted["compare"] == shown.comparison.decisions


def test_the_folder_serves_every_other_command(simulated: tuple[Shown, Path, Watching]) -> None:
    """The settings file that the demo leaves behind names everything that it made."""
    shown, folder, _ = simulated
    settings = read_settings(folder / "slidr.toml")
    assert read_evaluation(settings).networks == shown.evaluation.networks
    for path in (settings.storage.lake, settings.storage.registry, settings.storage.state, settings.storage.journal):
        assert Path(path).exists()


def test_the_same_seed_makes_the_same_bundle(
    simulated: tuple[Shown, Path, Watching], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The demo is the same every time, and replaces an earlier one in its folder."""
    shown, _, _ = simulated
    settle(monkeypatch, "simulation")
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / ".slidr-demo").touch()
    (folder / "old").touch()
    again = run_demo(Request(folder, size=20_000, rate=4000), SystemClock(), Watching())
    assert not (folder / "old").exists()
    assert again.evaluation == shown.evaluation
    # Clicks that are under way together are decided in the order in which they arrive, which may be another.
    assert again.comparison[:2] == shown.comparison[:2]


@pytest.mark.parametrize("name", ["window_2017-11-07_1424.csv.gz", "sample_100k.csv.gz"])
def test_real_logs_end_with_honest_numbers(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On TalkingData the loop finishes, live equals batch, and the notes say how little the installs can show."""
    settle(monkeypatch, "talkingdata")
    request = Request(tmp_path / "output", "talkingdata", data / "talkingdata" / name)
    shown = run_demo(request, SystemClock(), Watching())
    assert shown.comparison.differences == 0
    assert shown.comparison.decisions >= 0.19 * 100_000
    notes = " ".join(shown.evaluation.notes)
    assert "cannot show an FPR below 0.5 % with 95 % confidence: read the intervals" in notes
    assert "had too few purchases for a threshold of their own" in notes
    found = shown.evaluation.networks[0].fpr
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 0.05
    assert "global" in {threshold.source.value for threshold in shown.evaluation.slices}
    assert shown.evaluation.networks[0].caught is None
    assert all(note in shown.report.read_text() for note in ("read the intervals", "borrowed"))


def test_a_log_without_purchases_ends_clearly(tmp_path: Path) -> None:
    """A web log tells of no purchase: the demo says so, as every other run does."""
    (tmp_path / "access.log").write_text(weblog.EXAMPLE)
    with pytest.raises(LabelError, match="purchase"):
        run_demo(Request(tmp_path / "output", "weblog", tmp_path / "access.log"), SystemClock(), Watching())


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """A folder that holds files of no demo is refused and keeps them."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="holds files that no demo made; name an empty folder"):
        run_demo(Request(tmp_path), SystemClock(), Watching())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("source", "clicks", "error", "message"),
    [
        ("webblog", "access.log", SettingsError, "source 'webblog' is unknown; known: simulation, talkingdata"),
        ("talkingdata", None, SettingsError, "needs a click log; name it with --clicks"),
        ("simulation", "clicks.csv", SettingsError, "name its source with --source"),
        ("table", "nowhere.csv", SourceError, r"nowhere\.csv"),
    ],
)
def test_a_request_that_cannot_be_met(
    tmp_path: Path, source: str, clicks: str | None, error: type[SlidrError], message: str
) -> None:
    """An unknown source, a log that is not named, not there, or of no source is refused with what to do."""
    request = Request(tmp_path / "output", source, None if clicks is None else tmp_path / clicks)
    with pytest.raises(error, match=message):
        run_demo(request, SystemClock(), Watching())
