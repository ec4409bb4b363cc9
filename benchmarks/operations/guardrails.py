"""What a day of missing purchases would do to the share of clicks invalidated if nothing stood in its way.

    python benchmarks/operations/guardrails.py [--clicks 200000] [--seed 3]

Simulated traffic is learnt from twice: as it is, and with the purchases of six hours of one day lost on their way. Both
bundles judge the same good clicks, those of the lost hours' time of the day among them; without guardrails the second
one would decide. With them, the same run ends refused, and the champion stays. JSON on the last line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slidr.clock import HOUR, ManualClock
from slidr.daily.calibration import read_thresholds
from slidr.daily.flow import Request, Result, run_daily
from slidr.daily.parts import Part, read_part, sample_of
from slidr.daily.plan import Run, plan_run
from slidr.daily.stages import read_networks
from slidr.evaluation.judging import thresholds_of
from slidr.guardrails import guardrails
from slidr.metrics import Bools
from slidr.model.scorer import Scorer
from slidr.settings import Settings, located, parse_settings
from slidr.simulate.faults import MissingPurchases
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan

_FIRST, _HOURS = 8, 6
_NOW = 1_773_360_000_000_000  # 2026-03-13: all nine days are mature
_HUMAN = "human"


def quiet(stage: str, share: float) -> None:
    """Show no progress."""
    del stage, share


def settings_in(folder: Path, certificate: str) -> Settings:
    """Return the settings of a project in a folder."""
    document: dict[str, Any] = {
        "clicks": {"path": "logs/clicks"},
        "purchases": {"path": "logs/purchases"},
        "model": {"peers": []},
        "calibration": {"certificate": certificate},
    }
    return located(parse_settings(document), folder)


def learn(folder: Path, arguments: argparse.Namespace, faults: tuple[MissingPurchases, ...]) -> tuple[Run, Result, str]:
    """Run the day on traffic with these faults: as it is, and then with every guardrail overridden."""
    plan = Plan(clicks=arguments.clicks, faults=faults)
    write_traffic(plan, np.random.default_rng(arguments.seed), folder / "logs", quiet)
    settings, clock = settings_in(folder, arguments.certificate), ManualClock(_NOW)
    # The same key, so that distinct counts are the same on both sides.
    Path(settings.storage.key_file).write_text(bytes(16).hex())
    guarded = run_daily(settings, clock, Request("benchmark"), quiet)
    if guarded.status == "refused":
        forced = Request("benchmark", overrides=guardrails(), why="what would have happened")
        run_daily(settings, clock, forced, quiet)
    return plan_run(settings, clock, quiet), guarded, str(folder)


def marks(run: Run, part: Part) -> Bools:
    """Return which clicks of a part the run's bundle marks."""
    scores = Scorer(read_networks(run)[run.settings.model.network]).score(part.rows)
    sample = sample_of(run, part, scores)
    marked: Bools = scores > thresholds_of(sample.slices, sample.paths, read_thresholds(run))
    return marked


def judged(part: Part, marked: Bools, truth: pa.Table) -> dict[str, float | None]:
    """Return IVR, FPR and the share of people's clicks marked, over all clicks and over the hours that were lost."""
    family = dict(zip(truth["click_id"].to_pylist(), truth["family"].to_pylist(), strict=True))
    people = np.array([family[one] == _HUMAN for one in part.clicks["click_id"].to_pylist()])
    hour = part.times // HOUR % 24
    lost = (hour >= _FIRST) & (hour < _FIRST + _HOURS)

    def share(among: Bools) -> float | None:
        return float(marked[among].mean()) if among.any() else None

    return {
        "ivr": share(np.ones(len(marked), np.bool_)),
        "ivr_in_those_hours": share(lost),
        "fpr": share(part.purchased),
        "people_marked": share(people),
        "people_marked_in_those_hours": share(people & lost),
    }


def main() -> None:
    """Print the comparison, and JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--clicks", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--days", type=int, nargs="+", default=[7], help="days, from 1, whose purchases are lost")
    parser.add_argument("--certificate", default="off", choices=("required", "optional", "off"))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slidr-guardrails-"))
    try:
        good, _, _ = learn(folder / "good", arguments, ())
        faults = tuple(MissingPurchases(day, _FIRST, _HOURS) for day in arguments.days)
        bad, guarded, _ = learn(folder / "bad", arguments, faults)
        part = read_part(good, good.split.judge)
        truth = pq.read_table(folder / "good" / "logs" / "truth", columns=["click_id", "family"])
        found = {
            "clicks": arguments.clicks,
            "days_lost": arguments.days,
            "guarded": guarded.status,
            "refused_by": [one.name for one in guarded.findings if one.refuses],
            "as_it_is": judged(part, marks(good, part), truth),
            "without_guardrails": judged(part, marks(bad, part), truth),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in found.items():
        print(f"{name}: {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
