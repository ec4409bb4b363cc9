"""The stage of a drill: a project with a champion, a day of clicks that comes in, and what is done with them."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slidr.bundle import Bundle, read_bundle
from slidr.clock import DAY, MINUTE, SECOND, ManualClock, midnight
from slidr.daily.flow import Request, run_daily
from slidr.demo.live import requests_of
from slidr.drills.clock import SharedClock
from slidr.drills.timeline import Event, Timeline
from slidr.errors import ServiceError
from slidr.guardrails import guardrails
from slidr.journal import Journal
from slidr.journals import journals_at
from slidr.lake.delta import Lake
from slidr.registry import Registry, open_registry
from slidr.settings import duration, read_settings
from slidr.settings.document import write_document
from slidr.ship import ship
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan

WHO = "drill"
LEARNT = 9
"""Days whose labels are known when the champion is learnt; a day later the day comes in that the drill is about."""
WINDOW = 5 * MINUTE
"""Clicks of so long a time are sent at once, so that they are folded in the same order whenever they are sent."""
_SOON = 30.0  # seconds in which a service must do what it was told
_DOCUMENT: dict[str, dict[str, Any]] = {
    "clicks": {"path": "logs/clicks"},
    "purchases": {"path": "logs/purchases"},
    "model": {"widths": [32], "peers": []},
    # Few people buy in a small log: a budget that they can show.
    "calibration": {"fpr_budget": 0.02, "certificate": "off"},
    # A busy machine is not the incident.
    "service": {"deadline_ms": 60_000, "follow_seconds": 0.1, "port": 0},
    "monitor": {"rollback": True, "hold_minutes": 3},
}


class Answered(NamedTuple):
    """What a service said of the clicks of a window.

    Attributes:
        window: place of the window in the day.
        decisions: an answer for each click.
    """

    window: int
    decisions: list[dict[str, Any]]

    @property
    def bundles(self) -> set[str]:
        """The bundles that decided."""
        return {one["bundle"] for one in self.decisions}


class Stage:
    """A project, its clock, and the clicks of the day that comes in.

    Args:
        folder: holds everything.
        clicks: of the day, by time.
        clock: of the drill.
        timeline: is told what happens.

    Attributes:
        settings: of the project.
        registry: its bundles.
        lake: its tables.
        champion: what decides when the day begins.
        windows: the clicks of each `WINDOW` of the day, first and behind the last.
    """

    def __init__(self, folder: Path, clicks: pa.Table, clock: SharedClock, timeline: Timeline) -> None:
        self.folder, self.clicks, self.clock, self.timeline = folder, clicks, clock, timeline
        self.settings = read_settings(folder / "slidr.toml")
        self.registry: Registry = open_registry(self.settings)
        self.lake = Lake(self.settings.storage.lake)
        champion = self.registry.champion()
        if champion is None:
            raise ServiceError(f"{folder} has no champion, so there is nothing to drill; this is a fault of slidr")
        self.champion = champion.bundle
        self._times = clicks["time"].cast(pa.int64()).to_numpy()
        self.start = midnight(day_of(clock.now()))
        edges = np.searchsorted(self._times, self.start + WINDOW * np.arange(DAY // WINDOW + 1))
        self.windows = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        self.bodies = requests_of(clicks, self.settings.slices.columns)

    @property
    def day(self) -> date:
        """The UTC day that comes in."""
        return day_of(self.start)

    def bundle(self) -> Bundle:
        """Return the champion of the beginning."""
        return read_bundle(self.registry.fetch(self.champion, Path(self.settings.storage.bundles)))

    def copy(self, name: str) -> Stage:
        """Return a stage as this one is now, in a folder of its own, whose events are not told."""
        folder = self.folder.with_name(f"{self.folder.name}-{name}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        clock = SharedClock(folder / "clock")
        return Stage(folder, self.clicks, clock, Timeline(clock, lambda _event: None))

    def configure(self, section: str, **keys: Any) -> None:
        """Set keys of a section of the settings, for processes that start from now on."""
        path = self.folder / "slidr.toml"
        document = tomllib.loads(path.read_text())
        document[section] = document.get(section, {}) | keys
        path.write_text(write_document(document))
        self.settings = read_settings(path)

    def ship(self) -> None:
        """Have everything in the lake that was decided."""
        opened = [Journal(path, write=False) for path in journals_at(Path(self.settings.storage.journal))]
        try:
            ship(self.lake, opened, clock=self.clock, keep=duration(self.settings.lake.journal_keep))
        finally:
            for journal in opened:
                journal.close()

    def slidr(self, *arguments: str) -> tuple[int, str]:
        """Run a command as an operator would; returns its exit status and what it printed."""
        command = [sys.executable, "-m", "slidr", *arguments, "--settings", str(self.folder / "slidr.toml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own command
        return done.returncode, done.stdout + done.stderr

    def undisturbed(self, name: str = "undisturbed") -> Stage:
        """Return a stage to which nothing happens: all clicks are decided, and are in its lake.

        Where one was kept in the project, as for several drills on the same day, that one is returned.
        """
        kept = self.folder / name
        if kept.exists():
            clock = SharedClock(kept / "clock")
            return Stage(kept, self.clicks, clock, Timeline(clock, lambda _event: None))
        other = self.copy(name)
        with Service(other) as service:
            for window in range(len(other.windows)):
                service.send(window)
        other.ship()
        return other


class Service:
    """A process that decides the clicks of a stage.

    Args:
        stage: whose clicks they are.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log = stage.folder / "service.log"

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready.

        Raises:
            ServiceError: it does not become ready; the message has what it said.
        """
        files = (str(self._stage.folder / "slidr.toml"), str(self._stage.clock.path))
        command = [sys.executable, "-m", "slidr.drills.serving", *files]
        with self._log.open("a") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603
        for line in self.process.stdout or ():
            if line.split()[:2] == ["slidr", "ready"]:
                self.url = line.split()[2]
                self._connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_SOON)
                return self
        self.process.wait()
        raise ServiceError(f"the service of the drill did not start: {self._log.read_text().strip()}")

    def __exit__(self, *_: object) -> None:
        """End it in order."""
        self._connection.close()
        self.process.terminate()
        self.process.communicate()

    def send(self, window: int) -> Answered:
        """Let a window pass, and have its clicks decided.

        Raises:
            ServiceError: they were not.
        """
        stage = self._stage
        first, last = stage.windows[window]
        stage.clock.set(max(stage.clock.now(), stage.start + (window + 1) * WINDOW))
        if first == last:
            return Answered(window, [])
        body = b"[" + b",".join(stage.bodies[first:last]) + b"]"
        self._connection.request("POST", "/v1/decisions", body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        if response.status != http.client.OK:
            raise ServiceError(f"the service of the drill answered {response.status}: {text.decode(errors='replace')}")
        return Answered(window, json.loads(text))


def prepare(folder: Path, clicks: int, seed: int, told: Callable[[Event], None]) -> Stage:
    """Simulate a log, learn a champion from its first nine days, and return the stage of the eleventh.

    Args:
        folder: empty, or made.
        clicks: a day.
        seed: of the simulation.
        told: is told each event.

    Raises:
        SlidrError: a stage of the daily run could not do its work.
    """
    plan = Plan(clicks=clicks * (LEARNT + 2), days=LEARNT + 2, settle=1)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    write_traffic(plan, np.random.default_rng(seed), folder / "logs", quiet)
    today = plan.start + timedelta(days=LEARNT + 1)
    _hide(folder / "logs", today)
    (folder / "slidr.toml").write_text(write_document(_DOCUMENT))
    (folder / "slidr.key").write_text(np.random.default_rng([seed, 1]).bytes(16).hex() + "\n")
    clock = SharedClock(folder / "clock", midnight(today))
    timeline = Timeline(clock, told)
    settings = read_settings(folder / "slidr.toml")
    # A small log trips guardrails that a large one does not; the stories have their own.
    asked = Request(WHO, overrides=guardrails(), why="a drill's champion")
    run_daily(settings, ManualClock(midnight(today) - DAY + MINUTE), asked, quiet)
    stage = Stage(folder, pq.read_table(folder / "later" / "clicks" / f"{today.isoformat()}.parquet"), clock, timeline)
    timeline.tell(f"bundle {stage.champion} decides; {stage.clicks.num_rows:,} clicks come in on {today}")
    return stage


def _hide(logs: Path, today: date) -> None:
    """Move what has not happened yet out of the logs."""
    for kind in ("clicks", "purchases"):
        later = logs.parent / "later" / kind
        later.mkdir(parents=True, exist_ok=True)
        for path in sorted((logs / kind).iterdir()):
            if path.stem >= today.isoformat():
                path.rename(later / path.name)


def day_of(time: int) -> date:
    """Return the UTC day of a time in microseconds."""
    return datetime.fromtimestamp(time // SECOND, UTC).date()


def quiet(stage: str, share: float) -> None:
    """Show no progress."""
    del stage, share
