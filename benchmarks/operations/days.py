"""Nine daily runs in a row, and a robot family that none of the first ones can have seen: when is it caught?

    python -m benchmarks.operations.days [--clicks 20000] [--newcomer botnet] [--plot docs/images/nine-days.svg]

Eighteen days of simulated traffic and the attribution window; every midnight the newest mature day is judged, so that
the first run is that of day 9, two days later. The newcomer comes on the day that the fifth run judges. A day's clicks
are decided by the champion of its first instant, as a service would: IVR, FPR and what is caught of the newcomer are
those decisions', against the simulation's truth. It is caught on the first day on which half of its clicks are invalid.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from benchmarks.budgets import show
from matplotlib.figure import Figure
from tabulate import tabulate

from slidr.bundle import Bundle, read_bundle
from slidr.clock import DAY, MINUTE, ManualClock, midnight
from slidr.daily.flow import Request, run_daily
from slidr.daily.parts import read_part, sample_of
from slidr.daily.plan import Run, plan_run
from slidr.evaluation.judging import thresholds_of
from slidr.guardrails import guardrails
from slidr.model.scorer import Scorer
from slidr.registry import open_registry
from slidr.report.drawing import percent_tick, styled, svg
from slidr.settings import Settings, located, parse_settings
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan

DAYS, FIRST, RUNS, FIFTH = 18, 9, 9, 5
CAUGHT = 0.5
_DOCUMENT: dict[str, dict[str, Any]] = {
    "clicks": {"path": "logs/clicks"},
    "purchases": {"path": "logs/purchases"},
    "model": {"peers": []},
    # Few people buy in a small log: a budget that they can show.
    "calibration": {"fpr_budget": 0.02, "certificate": "off"},
}


def main() -> None:
    """Run the days, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=20_000, help="a day")
    parser.add_argument("--newcomer", default="botnet")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="where to write the plot, SVG")
    arguments = parser.parse_args()
    show("operations", measured(arguments.clicks, arguments.newcomer, arguments.seed, arguments.plot))


def measured(clicks: int, newcomer: str, seed: int = 1, plot: Path | None = None) -> dict[str, float | str]:
    """Return the figures, and print the days."""
    folder = Path(tempfile.mkdtemp(prefix="slidr-days-"))
    try:
        plan = Plan(clicks=clicks * DAYS, days=DAYS, newcomer=newcomer, newcomer_after=FIRST + FIFTH - 2)
        write_traffic(plan, np.random.default_rng(seed), folder / "all", _quiet)
        settings = located(parse_settings(_DOCUMENT), folder)
        Path(settings.storage.key_file).write_text(np.random.default_rng([seed, 1]).bytes(16).hex())
        statuses = [_run(settings, plan, number) for number in range(RUNS)]
        rows = decided(settings, plan, newcomer)
    finally:
        shutil.rmtree(folder)
    print(tabulate(rows, headers="keys", floatfmt=".3%", intfmt=","))
    if plot is not None:
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_text(drawn(rows, newcomer))
    came = FIRST + FIFTH - 1
    caught = [row["day"] for row in rows if row["caught"] is not None and row["caught"] >= CAUGHT]
    return {
        "newcomer": newcomer,
        "runs_published": statuses.count("published"),
        "days_to_catch_new_family": caught[0] - came if caught else DAYS,
        "highest_fpr": max(row["fpr"] for row in rows),
        "mean_ivr": float(np.mean([row["ivr"] for row in rows])),
    }


def _run(settings: Settings, plan: Plan, number: int) -> str:
    """Let the log come in up to the midnight at which a day is mature, and run it."""
    day = plan.start + timedelta(days=FIRST - 1 + number)
    now = day + timedelta(days=2)
    root = Path(settings.storage.lake).parent
    for kind in ("clicks", "purchases"):
        there = root / "logs" / kind
        there.mkdir(parents=True, exist_ok=True)
        for path in sorted((root / "all" / kind).iterdir()):
            if path.stem < now.isoformat():
                path.rename(there / path.name)
    # A small log trips guardrails that a large one does not, above all on its first days.
    asked = Request("benchmark", day=day, overrides=guardrails(), why="nine days of a small log")
    return run_daily(settings, ManualClock(midnight(now) + MINUTE), asked, _quiet).status


def decided(settings: Settings, plan: Plan, newcomer: str) -> list[dict[str, Any]]:
    """Return what each day's champion decided of its clicks, against the truth."""
    last = plan.start + timedelta(days=FIRST + RUNS - 2)
    run = plan_run(settings, ManualClock(midnight(last) + 2 * DAY + MINUTE), _quiet)
    truth = pq.read_table(Path(settings.storage.lake).parent / "all" / "truth", columns=["click_id", "family"])
    registry = open_registry(settings)
    rows = []
    for number in range(FIRST + 2, FIRST + RUNS):
        day = plan.start + timedelta(days=number - 1)
        champion = [one.bundle for one in registry.history() if one.at <= midnight(day) + 2 * MINUTE][-1]
        bundle = read_bundle(registry.fetch(champion, Path(settings.storage.bundles)))
        rows.append({"day": number, **_day(run, day, bundle, truth, newcomer)})
    return rows


def _day(run: Run, day: date, bundle: Bundle, truth: pa.Table, newcomer: str) -> dict[str, Any]:
    part = read_part(run, (midnight(day), midnight(day) + DAY))
    scores = Scorer(bundle.graph).score(part.rows)
    sample = sample_of(run, part, scores)
    marked = scores > thresholds_of(sample.slices, sample.paths, bundle.thresholds)
    family = truth["family"].take(pc.index_in(part.clicks["click_id"], truth["click_id"].combine_chunks()))
    new = np.asarray(pc.equal(family, newcomer).to_numpy(), np.bool_)
    robot = np.asarray(pc.not_equal(family, "human").to_numpy(), np.bool_)
    return {
        "clicks": len(marked),
        "ivr": float(marked.mean()),
        "fpr": float(marked[part.purchased].mean()),
        "robots": float(marked[robot].mean()),
        "newcomers": int(new.sum()),
        "caught": float(marked[new].mean()) if new.any() else None,
    }


def drawn(rows: list[dict[str, Any]], newcomer: str) -> str:
    """Return a plot of the days as SVG."""
    with styled():
        figure = Figure((7, 3))
        axes = figure.add_subplot()
        for name, label in (("ivr", "invalid"), ("caught", f"caught of {newcomer}"), ("fpr", "FPR")):
            points = [(row["day"], row[name]) for row in rows if row[name] is not None]
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.set_xlabel("day")
        axes.yaxis.set_major_formatter(lambda share, _place: percent_tick(share))
        axes.legend()
        return svg(figure, "nine-days", "Share of clicks found invalid, of a new robot family caught, and FPR, by day")


def _quiet(stage: str, share: float) -> None:
    del stage, share


if __name__ == "__main__":
    main()
