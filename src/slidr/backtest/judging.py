"""Judging: each day by thresholds that are set on days before it, under each of some budgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.backtest.plan import Asked, JudgedDay, Left, plan_days, read_named
from slidr.backtest.reading import Reader, Scored
from slidr.backtest.results import Actual, Backtest, Tested
from slidr.backtest.tally import Tally
from slidr.billing.clicks import billed_clicks
from slidr.billing.figures import figures, totals
from slidr.billing.periods import Period
from slidr.bundle import Bundle
from slidr.calibration.calibrate import calibrate
from slidr.calibration.ranking import nearest_thresholds
from slidr.calibration.sample import CalibrationSample
from slidr.daily.plan import logged
from slidr.errors import BillingError, BundleError, CalibrationError, FeatureError, LabelError
from slidr.lake.delta import Lake
from slidr.model.scorer import Scorer
from slidr.registry import Registry
from slidr.rules import prepare_rules
from slidr.settings import CalibrationSettings, Settings
from slidr.tables import DECISIONS

_UNFIT = (BundleError, CalibrationError, FeatureError, LabelError)
"""What a single day may fail by, while others can be judged."""


class _Network(NamedTuple):
    bundle: Bundle
    scorer: Scorer


def backtest(
    settings: Settings,
    registry: Registry,
    asked: Asked,
    *,
    now: int,
    progress: Callable[[str, float], None] = lambda _stage, _share: None,
) -> Backtest:
    """Return what each budget would have refunded in a period.

    Each day is judged by thresholds that were set as `slidr calibrate` sets them, on days before it whose labels were
    mature when it began, by a network that had seen neither: never on the judged day itself.

    Args:
        settings: how thresholds are set, slices, labels, rules, and where things are.
        registry: holds the networks.
        asked: the period and the budgets.
        now: microseconds UTC.
        progress: told the share that is done.

    Raises:
        BillingError: no day could be judged by any budget; the first reason is told.
        LabelError: the lake has no clicks.
        TableError: the lake cannot be read.
        RegistryError: the registry cannot be read, or has not the bundle.
    """
    log = logged(settings)
    days, left = plan_days(asked, log, registry, settings.timezone, now)
    reader = Reader(log, settings, prepare_rules(settings.rules), asked.source, now)
    tallies = {budget: Tally(asked.by, settings.timezone) for budget in asked.budgets}
    judged: dict[float, list[JudgedDay]] = {budget: [] for budget in asked.budgets}
    failed: dict[float, list[Left]] = {budget: [] for budget in asked.budgets}
    networks: dict[str, _Network] = {}
    for place, day in enumerate(days):
        progress("backtest", place / len(days))
        try:
            network = _network(networks, registry, day.bundle, Path(settings.storage.bundles))
            found = reader.read(*network, day.judged)
            sample, earlier = _samples(reader, network, day, settings)
        except _UNFIT as fault:
            for budget in asked.budgets:
                failed[budget].append(Left(day.name, str(fault)))
            continue
        for budget in asked.budgets:
            try:
                marked = _marked(found, sample, earlier, _at(settings, budget), settings.model.seed)
            except CalibrationError as fault:
                failed[budget].append(Left(day.name, str(fault)))
                continue
            tallies[budget].add(found, marked)
            judged[budget].append(day)
    progress("backtest", 1)
    if not any(judged.values()):
        reasons = [*(one for several in failed.values() for one in several), *left]
        raise BillingError(
            f"no day of {asked.period.name} could be judged; {reasons[0].day}: {reasons[0].why}"
            if reasons
            else f"{asked.period.name} has no day that could be judged"
        )
    return Backtest(
        asked.period.name,
        settings.timezone,
        asked.by,
        asked.source,
        settings.calibration.method,
        settings.calibration.certificate,
        days,
        left,
        tuple(
            Tested(budget, len(judged[budget]), tuple(failed[budget]), *tallies[budget].lines())
            for budget in asked.budgets
        ),
        _decided(log.lake, days) if all(len(one) == len(days) for one in judged.values()) else {},
    )


def _network(known: dict[str, _Network], registry: Registry, identity: str, folder: Path) -> _Network:
    if identity not in known:
        bundle = read_named(registry, identity, folder)
        known.clear()
        known[identity] = _Network(bundle, Scorer(bundle.graph))
    return known[identity]


def _samples(
    reader: Reader, network: _Network, day: JudgedDay, settings: Settings
) -> tuple[CalibrationSample, CalibrationSample | None]:
    """Return what sets the thresholds of a day, and what ranks its clicks before: None where nothing can."""
    sample = reader.read(*network, day.level).sample(settings)
    if settings.calibration.certificate == "off" or day.ranking.start >= day.ranking.end:
        return sample, None
    try:
        return sample, reader.read(*network, day.ranking).sample(settings)
    except (CalibrationError, FeatureError, LabelError):
        return sample, None


def _at(settings: Settings, budget: float) -> CalibrationSettings:
    """Return how thresholds are set under a budget; what decides now bounds nothing in the past."""
    return msgspec.structs.replace(
        settings.calibration, fpr_budget=budget, most_ivr_change=1.0, most_fpr_change=1.0, most_flips=1.0
    )


def _marked(
    found: Scored,
    sample: CalibrationSample,
    earlier: CalibrationSample | None,
    settings: CalibrationSettings,
    seed: int,
) -> NDArray[np.bool_]:
    """Return which clicks that reached the model are invalid by thresholds that other days set, bool[reached]."""
    made = calibrate(sample, settings, generator=np.random.default_rng(seed), earlier=earlier)
    limits = nearest_thresholds(made.thresholds, found.paths)[found.slices[found.reached]]
    marked: NDArray[np.bool_] = found.scores > limits
    return marked


def _decided(lake: Lake, days: tuple[JudgedDay, ...]) -> dict[str, Actual]:
    """Return what was decided in truth on the judged days; nothing where one of them has no decisions."""
    sums: dict[str, Actual] = {}
    if not lake.exists(DECISIONS):
        return sums
    try:
        for day in days:
            clicks = list(billed_clicks(lake, Period(day.name, *day.judged)))
            for currency, one in totals(figures(clicks, (), "UTC")).items():
                cost, count = one.cost, one.clicks
                held = sums.get(currency, Actual(0, 0, 0, 0))
                sums[currency] = Actual(
                    held.clicks + count.gross,
                    held.refunded_clicks + count.gross - count.billable,
                    held.cost + cost.gross,
                    held.refund + cost.gross - cost.billable,
                )
    except BillingError:
        return {}
    return sums
