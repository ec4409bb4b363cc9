"""A promotion is killed before each of its writes, and asked for again: one entry, no half bundle, nobody disturbed.

The day is held against one on which the same bundle was promoted at the same time and nothing was killed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from slidr.bundle import Parts, read_bundle, write_bundle
from slidr.drills.following import follow, serving
from slidr.drills.mortal import WHO
from slidr.drills.settling import trace_of
from slidr.drills.stage import Service, Stage
from slidr.errors import BundleError, RegistryError, ServiceError

_PROMOTED = 120
"""Window of the day in which the promotion is asked for first."""
_MOST = 60
_HIGHER = 0.05


def play(stage: Stage) -> dict[str, Any]:
    """Promote at ten o'clock, one write further each time, and once more when it has come through."""
    other = stage.copy("undisturbed")
    bundle = _next_bundle(stage)
    kills = half = writes = 0
    taken, whole = -1, False
    with Service(stage) as service, _promotions(stage, bundle) as killed:
        for window in range(_PROMOTED):
            service.send(window)
        window = _PROMOTED
        while killed(writes):
            kills += 1
            half += _half_bundles(stage)
            # What is there is not written again: behind a whole bundle comes the history, and then the audit log.
            whole, before = bundle in stage.registry.ids(), whole
            writes = 1 if whole and not before else writes + 1
            champion = stage.registry.champion()
            if taken < 0 and champion is not None and champion.bundle == bundle:
                taken = window
                follow(service, bundle)
                stage.timeline.tell(f"killed behind the entry of the history: it stands, and {bundle} decides")
            wanted = stage.champion if taken < 0 else bundle
            if service.send(window).bundles - {wanted}:
                raise ServiceError(f"after kill {kills} another bundle than {wanted} decided; this is a fault of slidr")
            window += 1
            if kills > _MOST:
                raise ServiceError("the promotion never comes through; this is a fault of slidr")
        if taken < 0:
            taken = window
            follow(service, bundle)
        stage.timeline.tell(f"killed {kills} times, before each write; asked for again it comes through")
        for rest in range(window, len(stage.windows)):
            service.send(rest)
        last = serving(service)
    stage.ship()
    entries = sum((one.kind, one.bundle) == ("promote", bundle) for one in stage.registry.history())
    status, said = stage.slidr("audit", "verify")
    stage.timeline.tell(f"{entries} entry in the history; slidr audit verify: {said.strip().splitlines()[0]}")
    _undisturbed(other, bundle, stage, taken)
    trace = trace_of(stage, other)
    if (entries, status, half, last) != (1, 0, 0, bundle):
        raise ServiceError(
            f"the registry is not as it was to be: {entries} entries, {half} half bundles, {said.strip()}"
        )
    stage.timeline.tell(f"{trace.differences} differences to a day on which nothing was killed")
    return {"kills": kills, "entries": entries, "half_bundles": half, **trace.document()}


def _next_bundle(stage: Stage) -> str:
    """Make the champion with thresholds that are a little higher, where no registry knows it yet."""
    good = stage.bundle()
    parts = {name: getattr(good, name) for name in Parts.__struct_fields__}
    parts["thresholds"] = tuple(
        msgspec.structs.replace(one, threshold=one.threshold + _HIGHER) for one in good.thresholds
    )
    folder = Path(stage.settings.storage.bundles)
    return write_bundle(folder, Parts(**parts), created_at=stage.clock.now(), version="drill").id


@contextmanager
def _promotions(stage: Stage, bundle: str) -> Iterator[Callable[[int], bool]]:
    """Give what promotes in a process of its own that may write so many objects, and says whether that killed it."""
    files = (str(stage.folder / "slidr.toml"), str(stage.clock.path))
    command = [sys.executable, "-m", "slidr.drills.mortal", *files, bundle]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own command

        def killed(writes: int) -> bool:
            if process.stdin is None or process.stdout is None:
                raise ServiceError("the promotions have no pipes; this is a fault of slidr")
            process.stdin.write(f"{writes}\n")
            process.stdin.flush()
            status = int(process.stdout.readline() or 1)
            if status not in {0, -signal.SIGKILL}:
                raise ServiceError(f"the promotion ended with status {status}; this is a fault of slidr")
            return status != 0

        yield killed


def _half_bundles(stage: Stage) -> int:
    """Return how many of the bundles that the registry names do not load exactly."""
    half = 0
    with tempfile.TemporaryDirectory() as name:
        for identity in stage.registry.ids():
            try:
                read_bundle(stage.registry.fetch(identity, Path(name)))
            except (BundleError, RegistryError):
                half += 1
    return half


def _undisturbed(other: Stage, bundle: str, stage: Stage, taken: int) -> None:
    """Let the same day pass with the same promotion, which nobody kills."""
    with Service(other) as service:
        for window in range(len(other.windows)):
            if window == taken:
                other.registry.publish(Path(stage.settings.storage.bundles) / bundle)
                other.registry.promote(bundle, at=other.clock.now(), who=WHO, why="a new day's bundle")
                follow(service, bundle)
            service.send(window)
    other.ship()
