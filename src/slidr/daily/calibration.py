"""The calibration stage: thresholds on the calibration part, ranked by the days before it, beside the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from slidr.bundle import Bundle, read_bundle
from slidr.calibration.bounds import Champion
from slidr.calibration.calibrate import Calibration, calibrate
from slidr.calibration.sample import CalibrationSample
from slidr.daily.parts import Part, read_part, sample_of
from slidr.daily.plan import Run
from slidr.daily.stages import read_networks
from slidr.daily.stamps import require, stamp, withdraw
from slidr.errors import BundleError, CalibrationError
from slidr.model.scorer import Scorer
from slidr.registry import Registry
from slidr.tables import SCORES, THRESHOLDS, Threshold

_FILE = "calibration.json"
_UNBOUND = "set calibration.most_ivr_change, most_fpr_change and most_flips to 1 for the run that replaces it"


def calibrate_thresholds(run: Run) -> Calibration:
    """Set the thresholds on the calibration part, write THRESHOLDS and return them with what is promised of them.

    With a certificate the training part ranks the clicks, so that none of the purchases that set the level has shaped
    the ranking; the network is the same, and has seen the training part.

    Raises:
        CertificateError: a certificate is required, and too few people bought.
        InfeasibleBudgetError: what must be marked costs more than the budget.
        CalibrationError: the scores are of other clicks.
        SettingsError: a stage before was not done for this run.
    """
    run.progress("calibrate", 0)
    require(run, "label", "backfill", "train")
    withdraw(run, "calibrate")
    settings = run.settings.calibration
    part = read_part(run, run.split.calibrate)
    scored = run.lake.read(SCORES, start=run.split.calibrate[0], end=run.split.calibrate[1])
    if not scored["click_id"].equals(part.clicks["click_id"]):
        raise CalibrationError("the scores are of other clicks than labels and features; run `slidr train` again")
    sample = sample_of(run, part, scored["score"].to_numpy())
    ranked, earlier = part, None
    if settings.certificate != "off":
        ranked, earlier = _earlier(run)
    run.progress("calibrate", 0.5)
    found = calibrate(
        sample,
        settings,
        generator=np.random.default_rng(run.settings.model.seed),
        earlier=earlier,
        champion=_champion(run, ranked) if _bounded(run) else None,
    )
    run.lake.write(THRESHOLDS, pa.Table.from_pylist(msgspec.to_builtins(found.thresholds)))
    _path(run).write_bytes(msgspec.json.encode({"method": found.method, "certificate": found.certificate}))
    stamp(run, "calibrate")
    run.progress("calibrate", 1)
    return found


def _earlier(run: Run) -> tuple[Part, CalibrationSample]:
    """Return the training part and its scores in the slices of the settings."""
    part = read_part(run, run.split.train)
    scores = Scorer(read_networks(run)[run.settings.model.network]).score(part.rows)
    return part, sample_of(run, part, scores)


def _bounded(run: Run) -> bool:
    settings = run.settings.calibration
    return min(settings.most_ivr_change, settings.most_fpr_change, settings.most_flips) < 1


def _champion(run: Run, part: Part) -> Champion | None:
    """Return the champion with its scores of a part; None where there is none yet."""
    try:
        bundle = comparable_champion(run)
    except BundleError as fault:
        raise CalibrationError(
            f"the champion cannot be read, and a bound against it is set: {fault}; {_UNBOUND}"
        ) from None
    return None if bundle is None else Champion(Scorer(bundle.graph).score(part.rows), bundle.thresholds)


def comparable_champion(run: Run) -> Bundle | None:
    """Return the registry's champion; None where there is none yet.

    Raises:
        CalibrationError: the champion reads other features, slices or keys, so that it cannot decide these clicks.
    """
    registry = Registry(run.settings.storage.registry)
    entry = registry.champion()
    if entry is None:
        return None
    bundle = read_bundle(registry.fetch(entry.bundle, Path(run.settings.storage.bundles)))
    contract = bundle.contract
    changed = {
        "features": bundle.catalogue != run.catalogue,
        "slices": contract.slice_columns != run.settings.slices.columns,
        "keys": contract.key_fingerprint != run.pseudonymiser.fingerprint,
    }
    if any(changed.values()):
        names = " and ".join(name for name, other in changed.items() if other)
        raise CalibrationError(
            f"the champion {bundle.id} decides by other {names}, so it cannot decide these clicks to be compared; where"
            f" a bound against it is set, {_UNBOUND}"
        )
    return bundle


def read_thresholds(run: Run) -> tuple[Threshold, ...]:
    """Return the thresholds that `calibrate_thresholds` wrote.

    Raises:
        SettingsError: there are none, or they are of another run.
    """
    require(run, "train", "calibrate")
    return msgspec.convert(tuple(run.lake.read(THRESHOLDS).to_pylist()), tuple[Threshold, ...])


def read_calibration(run: Run) -> dict[str, Any]:
    """Return how the thresholds were set: the method, and the certificate or None.

    Raises:
        SettingsError: there are none, or they are of another run.
    """
    require(run, "train", "calibrate")
    return msgspec.json.decode(_path(run).read_bytes(), type=dict[str, Any])


def _path(run: Run) -> Path:
    return Path(run.settings.storage.networks) / _FILE
