"""Simulated traffic through the daily flow up to its features, and scored: what the figures on quality are taken on.

The flow is that of `slidr daily`, on a lake in a folder; nothing here computes what a stage of it computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from slidr.clock import ManualClock
from slidr.daily.parts import Part, read_part
from slidr.daily.plan import Run, plan_run
from slidr.daily.stages import backfill_features, label_clicks
from slidr.evaluation.truth import Truth, read_truth
from slidr.ingest import ingest
from slidr.lake.delta import Lake
from slidr.metrics import hours_of_week
from slidr.model.scorer import Scorer
from slidr.settings import located, parse_settings
from slidr.settings.document import write_document
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan

NOW = 1_773_360_000_000_000
"""2026-03-13: the labels of all nine days are mature."""
SLICES = ("device", "logged_in", "marketplace")


class Traffic(NamedTuple):
    """A log of nine days in a lake, labelled and folded, and who made its clicks."""

    run: Run
    truth: pa.Table

    def part(self, span: tuple[int, int]) -> tuple[Part, Truth]:
        """Return a part of the log, and its truth."""
        part = read_part(self.run, span)
        return part, read_truth(self.truth, part.clicks["click_id"].to_pylist())


def quiet(stage: str, share: float) -> None:
    """Show no progress."""
    del stage, share


def prepare(plan: Plan, seed: int, folder: Path, sections: dict[str, dict[str, Any]] | None = None) -> Traffic:
    """Simulate a log, ingest, label and fold it.

    Args:
        plan: what to simulate.
        seed: of the simulation.
        folder: where log and lake go.
        sections: settings that differ from the defaults.
    """
    logs = {"clicks": {"path": "logs/clicks"}, "purchases": {"path": "logs/purchases"}}
    document = logs | (sections or {})
    write_traffic(plan, np.random.default_rng(seed), folder / "logs", quiet)
    (folder / "slidr.toml").write_text(write_document(document))
    settings, clock = located(parse_settings(document, "benchmark"), folder), ManualClock(NOW)
    ingest(settings, Lake(settings.storage.lake), clock)
    run = plan_run(settings, clock, quiet)
    label_clicks(run)
    backfill_features(run)
    return Traffic(run, pq.read_table(folder / "logs" / "truth", columns=["click_id", "family"]))


class Pool(NamedTuple):
    """Scored clicks whose truth is known.

    Attributes:
        scores: float32[n].
        purchased: bool[n].
        purchaser: int64[n], -1 where nobody bought.
        truth: who made them.
        hour: local hour of the week, int64[n].
        slices: values of each slice column, by its name.
    """

    scores: NDArray[np.float32]
    purchased: NDArray[np.bool_]
    purchaser: NDArray[np.int64]
    truth: Truth
    hour: NDArray[np.int64]
    slices: dict[str, NDArray[np.object_]]


def pool_of(traffic: Traffic, span: tuple[int, int], graph: bytes, columns: Sequence[str] = SLICES) -> Pool:
    """Score a part of the log."""
    part, truth = traffic.part(span)
    return Pool(
        Scorer(graph).score(part.rows),
        part.purchased,
        part.purchaser,
        truth,
        hours_of_week(part.times, traffic.run.settings.timezone),
        {name: np.array(part.clicks[name].to_pylist(), dtype=object) for name in columns},
    )
