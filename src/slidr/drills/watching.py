"""Watching the service of a drill, as `slidr monitor` does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slidr.drills.stage import Stage
from slidr.features.catalogue import default_catalogue
from slidr.features.keys import read_secrets
from slidr.features.layout import compile_catalogue
from slidr.journals import journals_at
from slidr.monitor import Monitor


@contextmanager
def watching(stage: Stage) -> Iterator[Monitor]:
    """Return a monitor of the stage's journals, by the drill's clock."""
    settings = stage.settings
    horizon = compile_catalogue(default_catalogue(settings.features)).horizon
    monitor = Monitor(
        settings,
        stage.clock,
        stage.registry,
        lambda: journals_at(Path(settings.storage.journal)),
        lambda now: read_secrets(Path(settings.storage.key_file)).at(now, horizon),
        stage.lake,
    )
    try:
        yield monitor
    finally:
        monitor.close()


def alarm(monitor: Monitor, metric: str) -> str:
    """Look, and return what the monitor says of a metric; empty where it says nothing."""
    return next((one.message for one in monitor.look().open if one.metric == metric), "")
