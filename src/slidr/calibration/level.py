"""Level: the one number per ranking that the false-positive budget or the certificate picks."""

from __future__ import annotations

import numpy as np

from slidr.calibration.certificate import Certificate, most_marked, needed, one_click_each
from slidr.calibration.ranking import Ranking, places
from slidr.calibration.sample import CalibrationSample
from slidr.errors import CertificateError, InfeasibleBudgetError
from slidr.metrics import Float64s, Int64s, allowed

_NAMED = 5  # slices that a message names


def level_at_budget(ranking: Ranking, sample: CalibrationSample, budget: float) -> float:
    """Return the lowest level at which no more purchasing clicks are marked than the budget allows, in whole clicks.

    Raises:
        InfeasibleBudgetError: clicks that must be marked cost more than the budget.
    """
    chosen = np.flatnonzero(sample.purchased)
    k = allowed(budget, len(chosen))
    u = u_of(ranking, sample, chosen)
    _refuse_costlier(u, chosen, sample, k, budget, "purchasing clicks")
    return _level(ranking, u, k)


def certified_level(
    ranking: Ranking, sample: CalibrationSample, budget: float, risk: float, generator: np.random.Generator
) -> Certificate:
    """Return the lowest level that can be certified on these purchases, none of which may have shaped the ranking.

    Raises:
        CertificateError: there are too few purchasers.
        InfeasibleBudgetError: clicks that must be marked cost more than can be certified.
    """
    chosen = one_click_each(sample, generator)
    k = most_marked(len(chosen), budget, risk)
    if k < 0:
        least = needed(budget, risk)
        raise CertificateError(
            f"a certificate of calibration.fpr_budget = {budget} at calibration.risk = {risk} needs {least} purchasers "
            f"whose purchases are used for nothing else, and there are {len(chosen)}; calibrate on more days, give "
            "the day before to fit on, or set calibration.certificate = 'optional' to publish uncertified thresholds",
            needed=least,
            purchasers=len(chosen),
        )
    u = u_of(ranking, sample, chosen)
    _refuse_costlier(u, chosen, sample, k, budget, "purchasers")
    level = _level(ranking, u, k)
    return Certificate(budget, risk, len(chosen), k, int(np.count_nonzero(u > level)), level)


def u_of(ranking: Ranking, sample: CalibrationSample, clicks: Int64s | slice = slice(None)) -> Float64s:
    """Return u of some clicks of a sample; those in a slice that the ranking does not know have the u of its parent."""
    codes = places(ranking.paths, sample.paths)[sample.slices[clicks]]
    return ranking.u(sample.scores[clicks], codes)


def _level(ranking: Ranking, u: Float64s, k: int) -> float:
    """Return the (k + 1)-th largest u, but never less than the ranking's least level."""
    if k >= len(u):
        return ranking.least
    return max(float(np.partition(u, len(u) - k - 1)[len(u) - k - 1]), ranking.least)


def _refuse_costlier(u: Float64s, chosen: Int64s, sample: CalibrationSample, k: int, budget: float, what: str) -> None:
    """Refuse a budget under the cost of the clicks that must be marked, those whose u is infinite."""
    must = np.isposinf(u)
    cost = int(np.count_nonzero(must))
    if cost <= k:
        return
    counts = np.bincount(sample.slices[chosen[must]], minlength=len(sample.paths))
    dearest = tuple(sample.paths[code] for code in np.argsort(-counts, kind="stable") if counts[code])
    least = cost / len(u)
    more = f" and {len(dearest) - _NAMED} more" if len(dearest) > _NAMED else ""
    raise InfeasibleBudgetError(
        f"the minimum coverage and the bounds against the champion mark {cost} of {len(u)} {what}, and "
        f"calibration.fpr_budget = {budget} allows {k}; the least feasible budget is {least:.6f}: raise the budget, or "
        f"lower calibration.minimum_coverage. Dearest slices: {', '.join(dearest[:_NAMED])}{more}",
        budget=budget,
        least_feasible=least,
        slices=dearest,
    )
