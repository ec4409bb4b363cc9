"""The loop: logs, lake, labels, features, networks, thresholds, bundle, service, comparison, report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow.parquet as pq

from slidr.clock import Clock
from slidr.daily import flow as daily
from slidr.daily.flow import run_daily
from slidr.demo.live import Comparison, Service, compare, requests_of, running_service, send
from slidr.errors import ServiceError, SettingsError
from slidr.evaluation.results import Evaluation
from slidr.guardrails import guardrails
from slidr.load import Replay
from slidr.settings import Settings, located, parse_settings
from slidr.settings.document import write_document
from slidr.simulate.files import write_traffic
from slidr.simulate.plan import Plan
from slidr.tables import CLICKS

_MARK = ".slidr-demo"
LOGS: dict[str, dict[str, Any]] = {
    "simulation": {"clicks": {"path": "logs/clicks"}, "purchases": {"path": "logs/purchases"}},
    # The address is a number, the last touch is the install, and nobody logs in.
    "talkingdata": {
        "clicks": {"source": "talkingdata", "ip": "opaque"},
        "labels": {"rfm": False},
        "slices": {"columns": ["device"]},
    },
    "weblog": {"clicks": {"source": "weblog"}, "labels": {"rfm": False}, "slices": {"columns": []}},
    "table": {"clicks": {"source": "table"}},
}
"""The settings of the demo for each kind of log."""


class Watcher(Protocol):
    """Shows progress: told the share of a stage, or how many more clicks are done."""

    def __call__(self, stage: str, share: float) -> None:
        """Show how much of a stage is done."""
        ...

    def counting(self, stage: str, total: int | None = None) -> Callable[[int], None]:
        """Return a callback that is told how many more clicks are done."""
        ...


class Request(NamedTuple):
    """What a demo is of.

    Attributes:
        folder: where everything goes; what an earlier demo left there is removed.
        source: simulation, or a source of `slidr.sources`.
        clicks: path of the click log, where the source is not the simulation.
        purchases: path of the purchase log, where the click log does not tell of purchases.
        size: clicks to simulate.
        seed: of the simulation.
        rate: requests a second sent to the service; None for as many as it answers.
    """

    folder: Path
    source: str = "simulation"
    clicks: Path | None = None
    purchases: Path | None = None
    size: int = 1_000_000
    seed: int = 1
    rate: float | None = None


class Shown(NamedTuple):
    """What a demo has to show."""

    evaluation: Evaluation
    comparison: Comparison
    latencies: Replay
    report: Path
    bundle: str
    seconds: dict[str, float]
    rejections: tuple[str, ...]


def run_demo(request: Request, clock: Clock, watch: Watcher) -> Shown:
    """Run the loop once.

    Raises:
        SettingsError: the folder holds something that no demo made, or a log is needed and not named.
        SlidrError: a stage could not do its work.
    """
    settings, path = _prepare(request)
    seconds: dict[str, float] = {}
    generator = np.random.default_rng(request.seed)
    # The log lies in the same folder, so its hashes hide nothing; a key of the seed makes every demo of it the same.
    Path(settings.storage.key_file).write_text(np.random.default_rng([request.seed, 1]).bytes(16).hex())
    if request.source == "simulation":
        with _timed("simulate", seconds):
            write_traffic(Plan(clicks=request.size), generator, request.folder / "logs", watch)
    before = request.folder / "state-before-judging.npz"
    asked = _asked(request, before)
    result = run_daily(settings, clock, asked, watch, watch.counting)
    seconds |= result.seconds
    run, evaluation, report = result.run, result.evaluation, result.report
    if evaluation is None or report is None:
        raise ServiceError(f"the demo's day ended {result.status}: it was run in an empty folder, so report this")
    clicks = run.lake.read(CLICKS, start=run.split.judge[0], end=run.split.judge[1])
    bodies = requests_of(clicks, settings.slices.columns)
    watching = watch.counting("serve", len(bodies))
    # The service goes on from a copy, for it writes its own state back when it ends.
    live = Service(Path(shutil.copy(before, settings.storage.state)), Path(settings.storage.journal))
    with running_service(path, live) as url, _timed("serve", seconds):
        sent = send(url, bodies, rate=request.rate, progress=watching)
    with _timed("compare", seconds):
        comparison = compare(settings, before, live.journal, clicks, watch.counting("compare", len(bodies)))
    return Shown(evaluation, comparison, sent, report, result.bundle, seconds, result.rejections)


def _asked(request: Request, before: Path) -> daily.Request:
    """Return the run of the demo's day: a log to try may be short or odd, so guardrails warn and do not refuse."""
    truth = None
    if request.source == "simulation":
        truth = pq.read_table(request.folder / "logs" / "truth")
    return daily.Request(
        "demo",
        overrides=guardrails(),
        why="demo",
        title="simulated traffic" if request.clicks is None else request.clicks.name,
        truth=truth,
        state_before_judging=before,
    )


def _prepare(request: Request) -> tuple[Settings, Path]:
    """Empty the folder and write the demo's settings file, which serves every other command too."""
    folder = request.folder
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise SettingsError(f"{folder} holds files that no demo made; name an empty folder with --folder")
    if request.source not in LOGS:
        raise SettingsError(f"source {request.source!r} is unknown; known: {', '.join(LOGS)}")
    if request.source != "simulation" and request.clicks is None:
        raise SettingsError(f"source {request.source} needs a click log; name it with --clicks")
    if request.source == "simulation" and request.clicks is not None:
        raise SettingsError(
            f"{request.clicks} is a log, not simulated; name its source with --source: {', '.join(list(LOGS)[1:])}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    document = {section: dict(keys) for section, keys in LOGS[request.source].items()}
    if request.clicks is not None:
        document["clicks"]["path"] = str(request.clicks.absolute())
    if request.purchases is not None:
        document.setdefault("purchases", {})["path"] = str(request.purchases.absolute())
    # A short log holds too few purchasers for a certificate, and a demo is shown of any.
    document.setdefault("calibration", {}).setdefault("certificate", "optional")
    # Every decision is compared with the batch, so none is given up, however busy the machine is.
    document.setdefault("service", {}).setdefault("deadline_ms", 60_000)
    path = folder / "slidr.toml"
    path.write_text(write_document(document), encoding="utf-8")
    return located(parse_settings(document, str(path)), folder), path


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
