"""A service that is killed again and again while it decides, and the comparison of its journal with an undisturbed run.

Clicks are numbered and sent in the order of their numbers. After a kill the service is started again over the same
journal, and every click without an answer is sent again, before those that were not sent yet.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tests.service.making import SECRET, click

from slidr.bundle import Bundle
from slidr.errors import ServiceError
from slidr.features.clicks import Click, encode_clicks
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.load import replay

ROOT = Path(__file__).parents[2]


@dataclass
class Killed:
    """What came of a run.

    Attributes:
        kills: times that the service was killed while clicks were unanswered.
        acknowledged: number of a click -> what the service answered last.
        recovery_seconds: from each start of a killed service until it was ready.
    """

    kills: int = 0
    acknowledged: dict[int, dict[str, Any]] = field(default_factory=dict)
    recovery_seconds: list[float] = field(default_factory=list)


def body(number: int) -> bytes:
    """Return the request body of a click; few users make many clicks, and many users few."""
    spread = int(1000 ** ((number * 0x9E3779B1 % 2**32) / 2**32))
    return msgspec.json.encode(click(number, user=f"user-{spread}", session=f"session-{spread}-{number % 3}"))


@contextmanager
def process(root: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server in a process; yields both once it is ready, and kills it at the end if it still runs."""
    command = [sys.executable, "-m", "tests.service.serve", str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 our own module
        assert server.stdout is not None
        try:
            assert server.stdout.readline().startswith("listening http://127.0.0.1:")
            state, url = server.stdout.readline().split()
            assert state == "ready"
            yield server, url
        finally:
            server.kill()


def kill_during_load(root: Path, generator: np.random.Generator, *, kills: int, clicks: int, longest: float) -> Killed:
    """Kill the service of a folder at random moments, and let it answer every click in the end.

    Args:
        root: the folder, with one bundle in its folder `bundles`.
        generator: draws the moments.
        kills: how often.
        clicks: unanswered clicks at the start of each load; should last for longer than `longest`.
        longest: seconds of load, at most, before a kill.
    """
    result, pending, sent = Killed(), list[int](), 0
    while result.kills <= kills:
        pending += range(sent, sent + clicks - len(pending))
        sent = max(sent, pending[-1] + 1)
        bodies = [body(number) for number in pending]
        started = time.perf_counter()
        with process(root) as (server, url):
            if result.kills:
                result.recovery_seconds.append(time.perf_counter() - started)
            last = result.kills == kills
            timer = threading.Timer(generator.uniform(0, longest), server.kill)
            if not last:
                timer.start()
            pending = _send(url, pending, bodies, result)
            timer.cancel()
            if last:
                assert not pending, f"{len(pending)} clicks were not answered by a service that was left alone"
                server.terminate()
                server.wait()
            result.kills += bool(pending) or last
    result.kills -= 1
    return result


def _send(url: str, numbers: list[int], bodies: list[bytes], result: Killed) -> list[int]:
    """Send clicks, keep the answers, and return those without one."""
    try:
        run = replay(f"{url}/v1/decisions", bodies)
    except ServiceError:  # It was killed before the first connection.
        return numbers
    unanswered = []
    for number, status, content in zip(numbers, run.statuses, run.bodies, strict=True):
        if status == HTTPStatus.OK:
            result.acknowledged[number] = msgspec.json.decode(content)
        else:
            unanswered.append(number)
    return unanswered


@dataclass
class Compared:
    """How a journal compares with an undisturbed run of the same clicks in the same order.

    Attributes:
        rows: entries compared.
        differences: entries whose sequence, keys or row are others.
        lost: acknowledged clicks that are not in the journal as they were answered.
        double: entries of clicks that are there already.
    """

    rows: int
    differences: int
    lost: int
    double: int


def compare(root: Path, bundle: Bundle, result: Killed) -> Compared:
    """Compare the journal of a folder with one store that folds its clicks, made anew by their numbers, at once."""
    with Journal(root / "journal.sqlite") as journal:
        entries = [entry for chunk in journal.entries() for entry in chunk]
    layout = compile_catalogue(bundle.catalogue)
    numbers = [int(entry.click_id.removeprefix("click-")) for entry in entries]
    clicks = [msgspec.json.decode(body(number), type=Click) for number in numbers]
    batch = encode_clicks(clicks, layout, Pseudonymiser(SECRET))
    folded = EmbeddedStore(layout).fold(batch)
    keys = np.ascontiguousarray(batch.keys.T.astype("<u8"))
    expected = zip(folded.sequences.tolist(), keys, folded.rows.astype("<f4"), strict=True)
    differences = sum(
        (entry.sequence, entry.keys, entry.row) != (sequence, key.tobytes(), row.tobytes())
        for entry, (sequence, key, row) in zip(entries, expected, strict=True)
    )
    kept = dict(zip(numbers, entries, strict=True))
    lost = sum(not _same(kept.get(number), told) for number, told in result.acknowledged.items())
    return Compared(len(entries), differences, lost, len(entries) - len(kept))


def _same(entry: Entry | None, told: dict[str, Any]) -> bool:
    if entry is None:
        return False
    found = (entry.decision_id, entry.click_id, entry.sequence, str(entry.verdict))
    return found == tuple(told[name] for name in ("decision_id", "click_id", "sequence", "verdict"))
