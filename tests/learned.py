"""One small simulated log through the whole daily flow, as the command line would run it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from slidr.bundle import Bundle
from slidr.clock import SECOND, ManualClock
from slidr.daily.calibration import calibrate_thresholds
from slidr.daily.judge import judge, publish, write_report
from slidr.daily.plan import Run, plan_run
from slidr.daily.stages import backfill_features, label_clicks, train_networks
from slidr.evaluation.results import Evaluation
from slidr.ingest import Log, ingest
from slidr.lake.delta import Lake
from slidr.settings import Settings, read_settings
from slidr.settings.document import write_document
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan

PLAN = Plan(clicks=36_000)
NOW = 1_773_360_000 * SECOND
"""2026-03-13: the labels of all nine days are mature."""
DOCUMENT: dict[str, dict[str, Any]] = {
    "clicks": {"path": "logs/clicks"},
    "purchases": {"path": "logs/purchases"},
    "model": {"widths": [16]},
    "calibration": {"fpr_budget": 0.05, "certificate": "off"},
}
"""A small network, and a budget that the few purchases of a small log can show."""


class Learned(NamedTuple):
    """A run whose stages are all done.

    Attributes:
        folder: holds slidr.toml, logs, and everything that the stages made.
        log: as it passed the door.
        run: the run.
        evaluation: what was judged, with the truth.
        bundle: the champion.
        before: the state as it was before the judging part.
    """

    folder: Path
    log: Log
    run: Run
    evaluation: Evaluation
    bundle: Bundle
    before: Path

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self.run.settings


def quiet(stage: str, share: float) -> None:
    """Show no progress."""
    del stage, share


def learn(folder: Path) -> Learned:
    """Run every stage in a folder."""
    write_traffic(PLAN, np.random.default_rng(3), folder / "logs", quiet)
    (folder / "slidr.toml").write_text(write_document(DOCUMENT))
    settings, clock = read_settings(folder / "slidr.toml"), ManualClock(NOW)
    log = ingest(settings, Lake(settings.storage.lake), clock)
    run = plan_run(settings, clock, quiet)
    before = folder / "before.npz"
    label_clicks(run)
    backfill_features(run, state_before_judging=before)
    train_networks(run)
    calibrate_thresholds(run)
    evaluation = judge(run, title="a small log", truth=pq.read_table(folder / "logs" / "truth"))
    write_report(run, evaluation)
    bundle = publish(run, evaluation, clock, who="tests", why="to have a champion")
    return Learned(folder, log, run, evaluation, bundle, before)


def copy_of(learned: Learned, folder: Path) -> Run:
    """Return the run in a copy of its folder, where stages may write."""
    shutil.copytree(learned.folder, folder, dirs_exist_ok=True)
    return plan_run(read_settings(folder / "slidr.toml"), ManualClock(NOW), quiet)
