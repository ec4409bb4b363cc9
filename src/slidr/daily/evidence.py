"""Evidence: what lets a reader trust or doubt the numbers of a run: labels, proxy, champion, promise and learning."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.calibration.certificate import Certificate, needed
from slidr.daily.calibration import comparable_champion, read_calibration
from slidr.daily.parts import Part
from slidr.daily.plan import Run
from slidr.errors import BundleError, CalibrationError, RegistryError
from slidr.evaluation.change import Change, compare
from slidr.evaluation.judging import Judged, thresholds_of
from slidr.evaluation.proxy import ProxyCheck, check_proxy
from slidr.evaluation.results import Assurance, Learning
from slidr.labels import rule_hits
from slidr.labels.diagnostics import LabelHealth, diagnose, estimate_human_share
from slidr.model.scorer import Scorer
from slidr.tables import CLICKS, LABELS, PURCHASES

_ACTIVITY, _IP_SIZE = "clicks_user_24h", "distinct_user_ip_24h"
"""The features by which the proxy is checked."""


def label_health(run: Run, judged: Part, scores: NDArray[np.float32]) -> LabelHealth:
    """Return the health of the training part's labels, with the share of people estimated on the judging part.

    Args:
        run: the run, labelled.
        judged: the judging part, which training has not seen.
        scores: those of the deciding network on it, float32[n].
    """
    start, end = run.split.train
    hits = rule_hits(
        run.lake.read(CLICKS, start=start, end=end),
        run.lake.read(PURCHASES, end=run.as_of),
        as_of=run.as_of,
        settings=run.settings.labels,
        accounts_as_of=end,
    )
    return diagnose(
        run.lake.read(LABELS, start=start, end=end),
        zone=run.settings.timezone,
        hits={name: found for name, found in hits.items() if found.any()},
        human_share=estimate_human_share(scores, judged.purchased, judged.human) if judged.purchased.any() else None,
    )


def proxy_check(run: Run, part: Part, judged: Judged, marked: NDArray[np.bool_]) -> ProxyCheck | None:
    """Return the check of the false-positive proxy; None without purchases, or where the catalogue lacks a feature."""
    names = [feature.name for feature in run.catalogue]
    if not judged.purchased.any() or _ACTIVITY not in names or _IP_SIZE not in names:
        return None
    activity, ip_size = (part.rows[:, names.index(name)] for name in (_ACTIVITY, _IP_SIZE))
    return check_proxy(marked, judged.purchased, judged.slices, activity, ip_size)


def change_from_champion(run: Run, part: Part, judged: Judged, marked: NDArray[np.bool_]) -> Change | str:
    """Return what the run decides otherwise than the champion, or why the two cannot be compared, in a sentence."""
    try:
        champion = comparable_champion(run)
    except CalibrationError as fault:
        return f"Nothing is compared: {fault}."
    except (RegistryError, BundleError) as fault:
        return f"The champion cannot be read, so nothing is compared with it: {fault}."
    if champion is None:
        return "There is no champion yet: nothing decides today that this run could change."
    before = Scorer(champion.graph).score(part.rows) > thresholds_of(judged.slices, judged.paths, champion.thresholds)
    return compare(champion.id, before, marked, judged.purchased, judged.slices, judged.paths)


def assurance(run: Run, calibrate: Part) -> Assurance:
    """Return what the calibration stage promised of the thresholds.

    Args:
        run: the run, calibrated.
        calibrate: the calibration part.
    """
    found, settings = read_calibration(run), run.settings.calibration
    certificate = found["certificate"]
    if certificate and certificate["level"] is None:
        # JSON has no infinity, and of the two only this one can be a level: bounds forbid to mark what lies there.
        certificate = certificate | {"level": -math.inf}
    return Assurance(
        found["method"],
        msgspec.convert(certificate, Certificate | None),
        needed(settings.fpr_budget, settings.risk),
        len(np.unique(calibrate.purchaser[calibrate.purchased])),
        settings.risk,
    )


def learning(run: Run, networks: Iterable[str]) -> tuple[Learning, ...]:
    """Return how each network learnt, as the training stage wrote it beside the graph; none where it did not."""
    folder = Path(run.settings.storage.networks)
    written = [(name, path) for name in networks if (path := folder / f"{name}.json").exists()]
    return tuple(
        msgspec.convert({"network": name, **msgspec.json.decode(path.read_bytes())}, Learning) for name, path in written
    )
