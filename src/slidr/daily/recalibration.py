"""Recalibration: the champion's network kept, and thresholds refitted to the newest mature hours."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import msgspec

from slidr.bundle import Bundle, read_bundle
from slidr.clock import DAY, HOUR, Clock, midnight
from slidr.daily.plan import Progress, Run, Split, logged
from slidr.daily.stages import REFERENCE, write_scores
from slidr.daily.stamps import replace_file, require, stamp, withdraw
from slidr.errors import LabelError, SettingsError
from slidr.model.scorer import Scorer
from slidr.registry import open_registry
from slidr.settings import Settings
from slidr.tables import CLICKS


def plan_recalibration(settings: Settings, clock: Clock, progress: Progress, *, day: date | None = None) -> Run:
    """Return the run that gives the champion's network new thresholds.

    The newest 24 mature hours judge and the 24 hours before them calibrate, to the full hour, or the day that is named
    and the day before it; the training part is that of the champion.

    Raises:
        SettingsError: there is no champion, or it was made by another network than the settings name.
        LabelError: the lake lacks mature clicks behind the champion's training.
        BundleError: the champion does not load.
    """
    champion = champion_bundle(settings)
    lake, days, final, window = logged(settings)
    newest = lake.read(CLICKS, start=midnight(days[-1]), columns=["time"])["time"].cast("int64").to_numpy().max()
    ripe = min(int(newest) // HOUR * HOUR + HOUR, (clock.now() - window) // HOUR * HOUR)
    end = ripe if day is None else midnight(day) + DAY
    trained = tuple(champion.data["train"])
    if end > ripe or end - 2 * DAY < trained[1]:
        raise LabelError(
            f"the two days up to {_hour(end)} are not both mature and behind the champion's training, which ends at"
            f" {_hour(trained[1])}: mature clicks go up to {_hour(ripe)}; wait for more, or run `slidr daily` without"
            " --recalibrate"
        )
    split = Split((trained[0], trained[1]), (end - 2 * DAY, end - DAY), (end - DAY, end))
    kept = hashlib.sha256(champion.graph).hexdigest()[:16]
    return Run(settings, lake, split, min(clock.now(), end + window), final, progress, kept)


def keep_network(run: Run) -> None:
    """Put the network of the bundle that the run keeps where a trained one would lie, and write SCORES by it.

    Raises:
        SettingsError: a stage before was not done, or the bundle has not this catalogue.
    """
    run.progress("keep", 0)
    require(run, "label", "backfill")
    withdraw(run, "train")
    bundle = champion_bundle(run.settings)
    if bundle.catalogue != run.catalogue:
        raise SettingsError(
            f"the champion {bundle.id} decides by other features than the settings name, so it cannot be"
            " kept; run `slidr daily` without --recalibrate"
        )
    folder = Path(run.settings.storage.networks)
    for path in (*folder.glob("*.onnx"), *folder.glob("*.checkpoint")):
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    replace_file(folder / f"{run.settings.model.network}.onnx", bundle.graph)
    replace_file(folder / REFERENCE, msgspec.json.encode(bundle.reference))
    write_scores(run, bundle.graph)
    stamp(run, "train")
    run.progress("keep", 1)


def champion_bundle(settings: Settings) -> Bundle:
    """Return the champion, whose network the settings name.

    Raises:
        SettingsError: there is none, or its network is another.
        BundleError: it does not load.
    """
    registry = open_registry(settings)
    entry = registry.champion()
    if entry is None:
        raise SettingsError(
            f"registry {settings.storage.registry} has no champion whose network could be kept; run `slidr daily`"
            " without --recalibrate"
        )
    bundle = read_bundle(registry.fetch(entry.bundle, Path(settings.storage.bundles)))
    if (network := Scorer(bundle.graph).network) != settings.model.network:
        raise SettingsError(
            f"the champion {bundle.id} has a network {network}, and model.network = {settings.model.network!r}; set"
            " that one, or run `slidr daily` without --recalibrate"
        )
    return bundle


def _hour(moment: int) -> str:
    return f"{date.fromordinal(date(1970, 1, 1).toordinal() + moment // DAY)} {moment % DAY // HOUR:02d}:00 UTC"
