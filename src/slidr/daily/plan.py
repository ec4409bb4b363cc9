"""What one run of the daily flow is: its settings, its lake, and which part of the log is for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from slidr import extensions
from slidr.clock import DAY, HOUR, Clock, midnight
from slidr.errors import LabelError
from slidr.features.catalogue import Catalogue, default_catalogue
from slidr.features.keys import Pseudonymiser, read_secrets
from slidr.features.layout import compile_catalogue
from slidr.lake.delta import Lake
from slidr.settings import Settings, duration
from slidr.tables import CLICKS

TRAINING_DAYS = 7
_NEEDED_DAYS = TRAINING_DAYS + 2

Progress = Callable[[str, float], None]
"""Told the name of the stage and the share of it that is done."""


@dataclass(frozen=True)
class Split:
    """Parts of a log by time, each (start, end) in microseconds UTC; never drawn at random."""

    train: tuple[int, int]
    calibrate: tuple[int, int]
    judge: tuple[int, int]


@dataclass(frozen=True)
class Run:
    """One run of the flow: its settings, its lake, and which part of the log is for what.

    `kept` is a hash of the network that is kept and given new thresholds; empty where one is trained.
    """

    settings: Settings
    lake: Lake
    split: Split
    as_of: int
    final: bool
    progress: Progress
    kept: str = ""

    @property
    def pseudonymiser(self) -> Pseudonymiser:
        """Hashes identifiers with the secret key of the settings."""
        return read_secrets(Path(self.settings.storage.key_file)).newest

    @property
    def catalogue(self) -> Catalogue:
        """The features of the settings."""
        return default_catalogue(self.settings.features)


class Logged(NamedTuple):
    """A log that can be run on.

    Attributes:
        lake: holds it.
        days: the UTC days with clicks, at least one.
        final: whether its source delivers final attribution, so that labels are mature at once.
        window: microseconds after which labels are mature.
    """

    lake: Lake
    days: list[date]
    final: bool
    window: int


def logged(settings: Settings) -> Logged:
    """Return the log of the settings.

    Raises:
        LabelError: the lake has no clicks.
        SettingsError: the source is unknown.
    """
    lake = Lake(settings.storage.lake)
    final = bool(extensions.load("slidr.sources", settings.clicks.source).FINAL_ATTRIBUTION)
    days = lake.days(CLICKS)
    if not days:
        raise LabelError(f"{settings.storage.lake} holds no clicks; run `slidr ingest` first")
    return Logged(lake, days, final, 0 if final else duration(settings.labels.attribution_window))


def plan_run(settings: Settings, clock: Clock, progress: Progress, *, day: date | None = None) -> Run:
    """Return the run that judges on a day, or on the newest mature day where None.

    With nine days of clicks or more, of the newest nine seven train, the eighth calibrates and the ninth judges; a day
    without clicks is no day. A log of fewer days is split in time order: 60 % train, 20 % calibrate, 20 % judge.

    Raises:
        LabelError: the lake has no clicks, or none of the day, or the day's labels are not mature.
        SettingsError: the source is unknown.
        FeatureError: a feature of the settings cannot be computed.
    """
    # Refused before any stage has written anything.
    compile_catalogue(default_catalogue(settings.features))
    lake, days, final, window = logged(settings)
    mature = [one for one in days if midnight(one) + DAY + window <= clock.now()]
    if not mature or (day is not None and day not in mature):
        raise LabelError(
            f"{day or days[-1]} cannot be judged: the lake holds clicks of {days[0]} to {days[-1]}, and labels mature"
            f" {window // HOUR} h after a day's end"
        )
    last = day or mature[-1]
    newest = [one for one in days if one <= last][-_NEEDED_DAYS:]
    if len(newest) == _NEEDED_DAYS:
        edges = [midnight(newest[place]) for place in (0, TRAINING_DAYS, TRAINING_DAYS + 1)] + [midnight(last) + DAY]
    else:
        times = lake.read(CLICKS, end=midnight(last) + DAY, columns=["time"])["time"].cast(pa.int64()).to_numpy()
        edges = [int(times[0]), *(int(times[len(times) * part // 10]) for part in (6, 8)), int(times[-1]) + 1]
    split = Split((edges[0], edges[1]), (edges[1], edges[2]), (edges[2], edges[3]))
    return Run(settings, lake, split, min(clock.now(), edges[3] + window), final, progress)
