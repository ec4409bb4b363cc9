"""Calibration methods on simulated traffic whose truth is known, with and without a certificate, beside fairlearn.

    python -m benchmarks.calibration [--clicks 9000000] [--seed 104] [--draws 10] [--resamples 300]

A network learns from seven simulated days; the two days after them are one pool of scored clicks. A draw takes about n
purchases and as large a share of the other clicks out of the pool, calibrates on them and is judged on the rest: IVR
where the rest's own FPR is the budget, and recall where that share of people is marked. The slices are marketplace by
login (6) and device by login by marketplace (24). For the certificate purchasers are drawn with replacement, the
pool is the truth, and the clicks of the last training days rank. `wins_…` is the least number of draws in any cell
that the default wins or ties. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.budgets import show
from benchmarks.parity import ivr_of_fairlearn
from benchmarks.traffic import Pool, Traffic, pool_of, prepare
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array
from tabulate import tabulate

from slidr import extensions
from slidr.calibration.calibrate import METHODS
from slidr.calibration.curves import Curves, measure, priced
from slidr.calibration.grouping import group
from slidr.calibration.level import certified_level, level_at_budget, u_of
from slidr.calibration.methods.envelope import envelope_prices
from slidr.calibration.ranking import LOWEST, Ranking, thresholds
from slidr.calibration.sample import CalibrationSample
from slidr.clock import DAY
from slidr.daily.parts import read_part
from slidr.daily.training import training_set
from slidr.evaluation.truth import Truth, catch_at_true_fpr, level_at
from slidr.settings import CalibrationSettings
from slidr.simulate.plan import Plan
from slidr.slices import slice_path

COMPARED = ("one_threshold", "quadratic", "envelope", "neyman_pearson", "human_weighted")
GLOBAL, PAPER = "one_threshold", "quadratic"
BY_SLICES = {6: ("marketplace", "logged_in"), 24: ("device", "logged_in", "marketplace")}
PURCHASES = (1_000, 5_000, 20_000)
SETTINGS = CalibrationSettings()
TRAINED_ON = 2_000_000
"""Clicks that the network learns from."""
_CONVERSION = 0.05


class Scored(NamedTuple):
    """Clicks with their truth."""

    sample: CalibrationSample
    truth: Truth


def scored(pools: Sequence[Pool], columns: tuple[str, ...]) -> Scored:
    """Return pools as one sample, in slices of these columns."""
    held = [np.concatenate([pool.slices[name] for pool in pools]).tolist() for name in columns]
    values = list(zip(*held, strict=True))
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    # Purchasers of two parts are numbered apart.
    apart, purchasers = 0, []
    for pool in pools:
        purchasers.append(np.where(pool.purchaser >= 0, pool.purchaser + apart, -1))
        apart += int(pool.purchaser.max()) + 1
    scores = np.concatenate([pool.scores for pool in pools])
    sample = CalibrationSample(
        scores=scores,
        purchaser=np.concatenate(purchasers),
        busy=np.zeros(len(scores), np.bool_),
        slices=np.fromiter((codes[value] for value in values), np.int32, len(values)),
        paths=tuple(slice_path(columns, value) for value in codes),
    )
    family = np.concatenate([pool.truth.family for pool in pools])
    return Scored(sample, Truth(family, pools[0].truth.families))


def ranked(method: str, sample: CalibrationSample) -> Ranking:
    """Return the ranking of a method."""
    found: Ranking = extensions.load(METHODS, method).fit(sample, SETTINGS)
    return found


class Cell(NamedTuple):
    """What a method gave on the rest of the pool in each draw, float64[draws] each."""

    ivr: NDArray[np.float64]
    fpr: NDArray[np.float64]
    recall: NDArray[np.float64]
    true_fpr: NDArray[np.float64]


def compare(pool: Scored, purchases: int, draws: int) -> dict[str, Cell]:
    """Calibrate every method on draws of so many purchases, and judge it on the rest."""
    found: dict[str, list[tuple[float, ...]]] = {method: [] for method in COMPARED}
    share = purchases / np.count_nonzero(pool.sample.purchased)
    for seed in range(draws):
        inside = np.random.default_rng(seed).random(len(pool.sample.scores)) < share
        fitted, rest, truth = pool.sample[inside], pool.sample[~inside], pool.truth.among(~inside)
        for method in COMPARED:
            ranking = ranked(method, fitted)
            u = u_of(ranking, rest)
            promised = u > level_at_budget(ranking, fitted, SETTINGS.fpr_budget)
            equal = u > level_at(u, rest.purchased, SETTINGS.fpr_budget)
            recall = catch_at_true_fpr(u, truth, SETTINGS.fpr_budget).recall or 0.0
            found[method].append((equal.mean(), promised[rest.purchased].mean(), recall, equal[~truth.robot].mean()))
    return {method: Cell(*np.array(rows).T) for method, rows in found.items()}


def certify(pool: Scored, earlier: Scored, purchasers: int, resamples: int) -> dict[str, float]:
    """Draw purchasers again and again, and count how often thresholds overshoot the budget in the whole pool."""
    sample, budget, risk = pool.sample, SETTINGS.fpr_budget, SETTINGS.risk
    ranking = ranked(SETTINGS.method, earlier.sample)
    u = u_of(ranking, sample)
    bought = np.flatnonzero(sample.purchased)
    numbers, place, clicks = np.unique(sample.purchaser[bought], return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    first = np.cumsum(clicks) - clicks
    # Of all purchasers, each by one random click, as a share: the FPR that a certificate speaks of.
    worth = (1 / clicks[place]) / len(numbers)
    descending = np.argsort(-u[bought])
    spent = np.cumsum(worth[descending])
    ivr_at = np.sort(u)

    def fpr_of(level: float) -> float:
        return float(worth[u[bought] > level].sum())

    def ivr_of(level: float) -> float:
        return 1 - np.searchsorted(ivr_at, level, side="right") / len(ivr_at)

    exact = ivr_of(float(u[bought][descending[np.searchsorted(spent, budget)]]))
    over_certified = over_uncertified = 0
    kept = []
    for seed in range(resamples):
        generator = np.random.default_rng([seed, purchasers])
        drawn = generator.integers(0, len(numbers), purchasers)
        each = bought[order[first[drawn] + generator.integers(0, clicks[drawn])]]
        taken = replace(
            sample,
            scores=sample.scores[each],
            purchaser=np.arange(purchasers),
            busy=sample.busy[each],
            slices=sample.slices[each],
        )
        certificate = certified_level(ranking, taken, budget, risk, generator)
        over_certified += fpr_of(certificate.level) > budget
        over_uncertified += fpr_of(level_at_budget(ranking, taken, budget)) > budget
        kept.append(ivr_of(certificate.level))
    return {"uncertified": over_uncertified, "certified": over_certified, "cost": 1 - float(np.mean(kept)) / exact}


def many_slices(slices: int) -> tuple[float, float]:
    """Return the seconds from prepared curves of so many slices to thresholds, and how far from the optimum they are.

    The reference is the linear program over the points of all curves, solved by HiGHS, which finds the envelopes by
    itself; the gap is relative to its optimum.
    """
    generator = np.random.default_rng(1)
    clicks = 100 * slices
    sample = CalibrationSample(
        scores=generator.random(clicks, dtype=np.float32),
        purchaser=np.where(generator.random(clicks) < _CONVERSION, np.arange(clicks), -1),
        busy=np.zeros(clicks, np.bool_),
        slices=generator.integers(0, slices, clicks, dtype=np.int32),
        paths=tuple(f"shop={number}" for number in range(slices)),
    )
    grouping = group(sample, 1)
    curves = measure(sample, grouping)
    envelope_prices(curves)  # compiles
    start = time.perf_counter()
    prices, top = envelope_prices(curves)
    ranking = priced(sample, grouping, curves, prices, top, least=LOWEST)
    thresholds(ranking, level_at_budget(ranking, sample, SETTINGS.fpr_budget))
    seconds = time.perf_counter() - start

    budget = SETTINGS.fpr_budget * float((curves.purchases + 1).sum())
    # What each piece costs, in purchasing clicks, and gains per unit of it; the dearest go first.
    cost = np.concatenate([np.ones(len(top)), curves.purchases_from - curves.purchases_over])
    worth = np.concatenate([top, prices]) * curves.clicks.sum() / (curves.purchases + 1).sum()
    order = np.argsort(-worth, kind="stable")
    taken = np.clip(budget - (np.cumsum(cost[order]) - cost[order]), 0, cost[order])
    return seconds, abs(float((worth[order] * taken).sum()) / _optimum(curves, budget) - 1)


def _optimum(curves: Curves, budget: float) -> float:
    """Return the most clicks that can be marked where every slice may mix the points of its curve."""
    slices = len(curves.clicks)
    owner = np.concatenate([curves.group, np.arange(slices)])
    cost = np.concatenate([curves.purchases_over + 1, curves.purchases + 1]).astype(np.float64)
    gain = np.concatenate([curves.clicks_over, curves.clicks]).astype(np.float64)
    variables = np.arange(len(owner))
    rows = np.concatenate([owner, np.full(len(owner), slices)])
    values = np.concatenate([np.ones(len(owner)), cost])
    limits = csr_array((values, (rows, np.concatenate([variables, variables]))))
    solved = linprog(-gain, A_ub=limits, b_ub=np.append(np.ones(slices), budget), method="highs")
    return -float(solved.fun)


def learn(traffic: Traffic) -> bytes:
    """Return the graph of the paper's network, trained on a random part of the training days."""
    run = traffic.run
    part = read_part(run, run.split.train)
    training = training_set(run, part)
    generator = np.random.default_rng(1)
    if len(training.human) > TRAINED_ON:
        rows = np.sort(generator.choice(len(training.human), TRAINED_ON, replace=False))
        training = replace(
            training, rows=training.rows[rows], human=training.human[rows], weights=training.weights[rows]
        )
    settings = run.settings.model
    graph: bytes = extensions.load("slidr.model.networks", settings.network).fit(training, settings, generator).graph
    return graph


def make_pools(clicks: int, seed: int) -> tuple[list[Pool], list[Pool]]:
    """Return the scored clicks of the last two training days, and those of the two days after them."""
    with tempfile.TemporaryDirectory() as folder:
        traffic = prepare(Plan(clicks=clicks), seed, Path(folder))
        split, graph = traffic.run.split, learn(traffic)
        earlier = [pool_of(traffic, (split.train[1] - 2 * DAY, split.train[1]), graph)]
        return earlier, [pool_of(traffic, span, graph) for span in (split.calibrate, split.judge)]


def main() -> None:
    """Compare, certify, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=9_000_000, help="of the nine days together")
    parser.add_argument("--seed", type=int, default=104)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--resamples", type=int, default=300)
    chosen = parser.parse_args()
    start = time.perf_counter()
    earlier, later = make_pools(chosen.clicks, chosen.seed)
    sys.stderr.write(f"pool: {time.perf_counter() - start:.0f} s\n")
    rows: list[tuple[str, ...]] = []
    wins: dict[str, list[int]] = {GLOBAL: [], PAPER: []}
    for slices, columns in BY_SLICES.items():
        pool = scored(later, columns)
        for purchases in PURCHASES:
            found = compare(pool, purchases, chosen.draws)
            rows += [
                (
                    f"{slices}, {purchases:,}",
                    name,
                    *(f"{part.mean():.4f}" for part in cell),
                    *(str((cell.ivr >= found[other].ivr).sum()) for other in (GLOBAL, PAPER)),
                )
                for name, cell in found.items()
            ]
            default = found[SETTINGS.method].ivr
            wins[GLOBAL].append(int((default >= found[GLOBAL].ivr).sum()))
            if purchases == max(PURCHASES):
                wins[PAPER].append(int((default >= found[PAPER].ivr).sum()))
    shares = ("IVR", "FPR at 0.5 %", "recall", "true FPR")
    headers = ("slices, purchases", "method", *shares, *(f"wins over {other}" for other in wins))
    print(tabulate(rows, headers=headers, disable_numparse=True))
    sys.stderr.write(f"compared: {time.perf_counter() - start:.0f} s\n")
    pool, before = (scored(pools, BY_SLICES[24]) for pools in (later, earlier))
    certified = {purchases: certify(pool, before, purchases, chosen.resamples) for purchases in PURCHASES}
    names = ("purchasers", *next(iter(certified.values())))
    print(tabulate([(number, *one.values()) for number, one in certified.items()], headers=names))
    sys.stderr.write(f"certified: {time.perf_counter() - start:.0f} s\n")
    fairlearn = ivr_of_fairlearn(pool.sample, SETTINGS)
    seconds, gap = many_slices(10_000)
    show(
        "calibration",
        {
            "wins_over_global": min(wins[GLOBAL]),
            "wins_over_quadratic": min(wins[PAPER]),
            "overshoot_uncertified": max(int(one["uncertified"]) for one in certified.values()),
            "overshoot_certified": max(int(one["certified"]) for one in certified.values()),
            "certificate_cost_1k": round(certified[1_000]["cost"], 4),
            "certificate_cost_5k": round(certified[5_000]["cost"], 4),
            "certificate_cost_20k": round(certified[20_000]["cost"], 4),
            **{name: round(value, 5) for name, value in fairlearn.items()},
            "seconds_10k_slices": round(seconds, 4),
            "gap_to_reference": gap,
        },
    )


if __name__ == "__main__":
    main()
