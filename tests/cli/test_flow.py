"""The commands at work, in the order of the flow, as text and as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from tests.cli.conftest import Run
from tests.demo.test_loop import settle
from tests.learned import Learned

from slidr.daily.flow import run_lock
from slidr.lake.delta import Lake
from slidr.locking import only_run
from slidr.settings import Settings, read_settings
from slidr.tables import CLICKS, DECISIONS


def test_init_writes_the_defaults(slidr: Run, tmp_path: Path) -> None:
    """The file that init writes reads as the defaults, and an existing file is left alone."""
    path = tmp_path / "new" / "slidr.toml"
    assert slidr("init", path, "--json").document == {"settings": str(path)}
    assert read_settings(path).calibration == Settings().calibration
    path.write_text("mine")
    said = slidr("init", path)
    assert (said.code, path.read_text()) == (1, "mine")
    assert said.err == f"slidr: {path} exists already; edit it, or name another file\n"


def test_features_are_shown(slidr: Run, tmp_path: Path) -> None:
    """The catalogue is shown with meaning, unit, window and bytes, in 120 columns, what the settings add included."""
    (tmp_path / "slidr.toml").write_text('[features]\nadd = [{kind = "Clicks", by = "campaign", window = "1h"}]\n')
    added = slidr("features", "--settings", tmp_path / "slidr.toml", "--json").document["features"]
    shown = slidr("features", "--json").document["features"]
    assert added[:-1] == shown
    assert (added[-1]["name"], added[-1]["entity"], added[-1]["unit"]) == ("clicks_campaign_1h", "campaign", "clicks")
    assert all(set(row) == {"name", "meaning", "unit", "entity", "window", "bytes"} for row in added)
    text = slidr("features").out
    assert f"{len(shown)} features." in text
    assert max(map(len, text.splitlines())) <= 120
    assert all(row["name"] in text for row in shown)


def test_simulate_writes_logs(slidr: Run, tmp_path: Path) -> None:
    """Logs and truth lie in folders of their own, and the same seed writes the same bytes."""
    written = slidr("simulate", tmp_path / "a", "--clicks", 4500, "--seed", 5, "--json").document
    assert set(written) == {"clicks", "purchases", "truth"}
    assert written["clicks"] == written["truth"]
    slidr("simulate", tmp_path / "b", "--clicks", 4500, "--seed", 5)
    for path in (tmp_path / "a").rglob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_simulate_writes_faults(slidr: Run, tmp_path: Path) -> None:
    """A fault changes the logs and not their truth, and a newcomer keeps a family out of the first days."""
    at = ("--clicks", 4500, "--seed", 5, "--newcomer", "botnet", "--json")
    good = slidr("simulate", tmp_path / "a", *at).document
    bad = slidr("simulate", tmp_path / "b", *at, "--fault", "duplicated_feed:2:0.5").document
    assert bad["clicks"] > good["clicks"]
    assert bad["truth"] == good["truth"]
    first = pq.read_table(tmp_path / "a" / "truth" / "2026-03-02.parquet")
    assert "botnet" not in first["family"].to_pylist()


def test_the_stages_one_by_one(slidr: Run, project: Path, learned: Learned) -> None:
    """Each stage run by its command gives what the flow gave, and says so as JSON."""
    at = ("--settings", project / "slidr.toml", "--json")
    document = slidr("ingest", *at).document
    assert (document["clicks"], document["rejected"]) == (learned.log.clicks.num_rows, 0)
    labels = slidr("label", *at).document
    assert set(labels) == {"purchase", "rfm", "none"}
    assert Path(slidr("backfill", *at).document["seed"]).exists()
    assert set(slidr("train", *at).document["networks"]) == {"logistic", "three_layer", "velocity"}
    thresholds = slidr("calibrate", *at).document["thresholds"]
    assert {one["slice"]: one["threshold"] for one in thresholds} == {
        one.slice: one.threshold for one in learned.bundle.thresholds
    }
    judged = slidr("judge", *at, "--truth", project / "logs" / "truth").document
    assert judged["networks"][0]["ivr"] == msgspec.to_builtins(learned.evaluation.networks[0].ivr)
    assert judged["networks"][0]["caught"]["families"]
    assert judged["notes"] == list(learned.evaluation.notes)
    assert Path(judged["report"]).exists()
    # The log is old, so the day must be asked for by name.
    bundle = slidr("publish", *at, "--day", "2026-03-10", "--why", "a try").document["bundle"]
    listed = slidr("bundles", *at).document
    assert [one["bundle"] for one in listed["bundles"] if one["role"] == "champion"] == [bundle]
    assert [one["why"] for one in listed["history"]] == [
        "to have a champion",
        "daily run of 2026-03-10: a try",
    ]


def test_the_flow_of_a_day(slidr: Run, project: Path, learned: Learned) -> None:
    """`slidr daily` runs ingest to publish; on the same lake that is the same model, and once is enough."""
    at = ("daily", "--settings", project / "slidr.toml", "--day", "2026-03-10")
    said = slidr(*at)
    assert said.code == 0, said.err
    assert "guardrails: 19 of 19 passed" in said.out
    assert "champion: " in said.out
    assert "three_layer" in said.out
    assert all(f"note: {note}" in said.out for note in learned.evaluation.notes if "truth" not in note)
    assert "2026-03-10 00:00:00  2026-03-11 00:00:00" in said.out
    listed = slidr("bundles", "--settings", project / "slidr.toml", "--json").document
    assert listed["history"][-1]["why"] == "daily run of 2026-03-10"
    certified = {one["bundle"]: one["certified"] for one in listed["bundles"]}
    assert certified[learned.bundle.id] is learned.bundle.certified is False
    again = slidr(*at, "--json").document
    assert (again["status"], again["bundle"]) == ("done", listed["history"][-1]["bundle"])
    assert set(again["seconds"]) == {"ingest"}


def test_exit_statuses_tell_a_scheduler_what_happened(slidr: Run, project: Path, learned: Learned) -> None:
    """3 where a guardrail refuses, 4 where another run is going on, 2 for a command that is written wrong, else 1."""
    at = ("daily", "--settings", project / "slidr.toml", "--json")
    said = slidr(*at)
    assert said.code == 3
    assert '"refused_by":["freshness"]' in said.out
    assert "--override freshness --why TEXT" in slidr(*at[:-1]).out
    with only_run(run_lock(read_settings(project / "slidr.toml"))):
        said = slidr(*at)
        assert (said.code, '"status":"busy"' in said.out) == (4, True)
    assert slidr(*at, "--day", "yesterday").code == 2
    said = slidr(*at, "--override", "freshnes", "--why", "x")
    assert (said.code, "there is no such guardrail; known: band" in said.err) == (2, True)
    said = slidr(*at, "--override", "freshness")
    assert (said.code, "an override needs a reason" in said.err) == (2, True)
    document = slidr(*at, "--override", "freshness", "--why", "an old log on purpose").document
    assert document["status"] == "published"
    assert document["bundle"] != learned.bundle.id


def test_a_day_decided_in_batch(slidr: Run, project: Path) -> None:
    """Every click of the day gets a decision of the champion's, written to the lake; twice is as once."""
    at = ("decide", "2026-03-10", "--settings", project / "slidr.toml", "--json")
    verdicts = slidr(*at).document
    lake = Lake(read_settings(project / "slidr.toml").storage.lake)
    decisions = lake.read(DECISIONS)
    day = decisions["time"][0].as_py().date()
    assert day.isoformat() == "2026-03-10"
    assert sum(verdicts.values()) == decisions.num_rows
    assert set(decisions["click_id"].to_pylist()) <= set(lake.read(CLICKS)["click_id"].to_pylist())
    assert verdicts["invalid_sophisticated"] > 0
    assert slidr(*at).document == verdicts
    assert lake.read(DECISIONS).num_rows == decisions.num_rows


def test_a_champion_is_promoted_with_a_reason(slidr: Run, project: Path, learned: Learned) -> None:
    """A bundle is made champion by its name, for a reason that the history keeps; an unknown one is not."""
    at = ("--settings", project / "slidr.toml")
    entry = slidr("promote", learned.bundle.id, "--why", "it is better", *at, "--json").document
    assert (entry["bundle"], entry["why"], entry["number"]) == (learned.bundle.id, "it is better", 2)
    said = slidr("promote", "0123456789abcdef", "--why", "x", *at)
    assert said.code == 1
    assert "has no bundle '0123456789abcdef'" in said.err
    assert slidr("promote", learned.bundle.id, *at).code == 2


def test_the_demo_speaks_to_people(slidr: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo prints parts, comparison with the batch, networks with families, latencies and the report."""
    settle(monkeypatch, "simulation")
    said = slidr("demo", "--folder", tmp_path / "demo", "--size", 15_000)
    assert said.code == 0, said.err
    for words in ("every one equals the batch", "burst", "velocity", "p99.9 ", "report: ", "purchasing clicks"):
        assert words in said.out
    assert said.out.rstrip().splitlines()[-1].startswith("report: ")


def test_nothing_published_yet_is_an_empty_list(slidr: Run, tmp_path: Path) -> None:
    """A registry without bundles is no error."""
    (tmp_path / "slidr.toml").write_text("")
    assert slidr("bundles", "--settings", tmp_path / "slidr.toml", "--json").document == {"bundles": [], "history": []}
