"""Quality on traffic whose truth is known: networks at equal FPR, sample weights on and off, and who is missed.

    python -m benchmarks.quality [--clicks 1500000] [--seeds 101 102 103]

Each seed is a log of nine days through the daily flow: train on seven, calibrate on the eighth, judge on the ninth.
One robot family, another for each seed, is absent from the training days. The seeds are kept for these figures. Weights
are compared by the network's score alone, so that no calibration stands between. `true_recall` is that of the score
where half a percent of people's clicks is marked, `true_recall_known` that of the families that training has seen,
`true_recall_default` that of the default calibration's ranking. Every figure is the mean over the seeds, and `spread`
holds the standard deviations. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from benchmarks.budgets import show
from benchmarks.traffic import Traffic, prepare
from tabulate import tabulate

from slidr.daily.ablation import Ablated, Variation, ablate
from slidr.daily.calibration import calibrate_thresholds
from slidr.daily.judge import judge
from slidr.daily.stages import train_networks
from slidr.evaluation.results import Caught, Evaluation
from slidr.simulate import robots
from slidr.simulate.plan import Plan

SEEDS = (101, 102, 103)
NEWCOMERS = ("botnet", "click_farm", "rotating_crawler")
"""The family that each seed's training days lack, in the order of the seeds."""
PEERS = ("logistic", "velocity", "lightgbm")
SETTINGS = {"model": {"peers": list(PEERS)}, "slices": {"columns": ["device", "logged_in", "marketplace"]}}

DEFAULT = Variation("default calibration")
ON = Variation("weights on", one_threshold=True)
OFF = Variation("weights off", weighted=False, one_threshold=True)


class Seed(NamedTuple):
    """What one seed gave."""

    evaluation: Evaluation
    ablated: dict[str, Ablated]
    newcomer: str


def run_seed(clicks: int, seed: int, newcomer: str, folder: Path) -> Seed:
    """Take one log through the flow."""
    traffic: Traffic = prepare(Plan(clicks=clicks, newcomer=newcomer), seed, folder, SETTINGS)
    run, truth = traffic
    train_networks(run)
    calibrate_thresholds(run)
    evaluation = judge(run, title=f"seed {seed}", truth=truth)
    chosen = [DEFAULT, ON, OFF]
    return Seed(evaluation, {found.variation: found for found in ablate(run, truth, chosen)}, newcomer)


def figures(seed: Seed) -> dict[str, float]:
    """Return the figures of one seed."""
    decided, *alone = seed.evaluation.networks
    by_name = {result.network: result for result in alone}
    caught = by_name[decided.network].caught_at_budget
    default, on, off = (seed.ablated[one.name] for one in (DEFAULT, ON, OFF))
    assert decided.caught is not None
    assert caught is not None
    found = {
        "ivr_network": by_name[decided.network].ivr_at_budget,
        "ivr_logistic": by_name["logistic"].ivr_at_budget,
        "ivr_heuristic": by_name["velocity"].ivr_at_budget,
        "ivr_lightgbm": by_name["lightgbm"].ivr_at_budget,
        "night_recall_on": on.sparse_recall,
        "night_recall_off": off.sparse_recall,
        "true_fpr_on": on.true_fpr,
        "true_fpr_off": off.true_fpr,
        "ivr_on": on.ivr,
        "ivr_off": off.ivr,
        "true_recall": caught.recall,
        "true_recall_known": _known_recall(seed),
        "true_recall_default": default.recall,
        "true_fpr": caught.true_fpr,
        "worst_family_recall": min(family.recall for family in caught.families),
        "held_out_ivr": decided.ivr.value,
        "held_out_fpr": decided.fpr.value,
        "held_out_true_fpr": decided.caught.true_fpr,
        "held_out_true_recall": decided.caught.recall,
    }
    return {name: value for name, value in found.items() if value is not None}


def _known_recall(seed: Seed) -> float:
    """Return the recall over the families that training has seen."""
    known = [family for family in _at_limit(seed).families if family.family != seed.newcomer]
    return sum(family.recall * family.clicks for family in known) / sum(family.clicks for family in known)


def _at_limit(seed: Seed) -> Caught:
    caught = seed.evaluation.networks[0].caught_at_budget
    assert caught is not None
    return caught


def families_table(seeds: Sequence[Seed]) -> str:
    """Return recall by family where at most the budget of people's clicks is marked, a column a seed."""
    by_seed = [{family.family: family for family in _at_limit(seed).families} for seed in seeds]
    rows = []
    for name in robots.families():
        recalls = [found[name].recall if name in found else float("nan") for found in by_seed]
        new = [seed.newcomer == name for seed in seeds]
        cells = [f"{recall:.2f}{' new' * late}" for recall, late in zip(recalls, new, strict=True)]
        rows.append((name, *cells, robots.load(name).SIGNAL))
    return tabulate(rows, headers=("family", *(f"seed {place}" for place in range(len(seeds))), "signal"))


def main() -> None:
    """Take every seed through the flow, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=1_500_000, help="of the nine days together")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    chosen = parser.parse_args()
    newcomers = [NEWCOMERS[place % len(NEWCOMERS)] for place in range(len(chosen.seeds))]
    found = []
    for seed, newcomer in zip(chosen.seeds, newcomers, strict=True):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found.append(run_seed(chosen.clicks, seed, newcomer, Path(folder)))
        sys.stderr.write(f"seed {seed}: {time.perf_counter() - start:.0f} s\n")
    each = [figures(seed) for seed in found]
    table = [(name, *(f"{one[name]:.4f}" for one in each)) for name in each[0]]
    print(tabulate(table, headers=("figure", *map(str, chosen.seeds)), disable_numparse=True))
    print(families_table(found))
    means = {name: round(float(np.mean([one[name] for one in each])), 5) for name in each[0]}
    spread = {
        name: round(float(np.std([one[name] for one in each], ddof=min(1, len(each) - 1))), 5) for name in each[0]
    }
    show("quality", {**means, "spread": spread})


if __name__ == "__main__":
    pa.set_cpu_count(2)
    main()
