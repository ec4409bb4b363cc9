"""Faults under load, one after the other: what was answered, what was refused, and that nothing told was lost.

    python -m benchmarks.faults [--kills 5] [--swaps 100]

Each story sends 1,000 clicks a second over 64 connections, lets something go wrong for two seconds in the middle, and
ends it. `lost` counts acknowledged decisions that the journal does not hold, with their ids and verdicts; `late` those
that came more than a tenth of a second after the deadline. A disk is full when no file of the process may grow. A slow
client sends one byte a second on each of 50 connections beside the load. Hostile requests come one after another beside
it, and so does one of 100,000 clicks, which the limits refuse unless they are raised. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from benchmarks.budgets import show
from benchmarks.faults.hostile import BAD, many, sent
from benchmarks.faults.stories import HEADERS, Fault, Story, tell
from benchmarks.service.serving import LOAD, Running, make_bundle, served, warm_redis
from benchmarks.service.traffic import Traffic
from tabulate import tabulate
from tests.redis_servers import Server
from tests.service.killing import compare, kill_during_load
from tests.service.making import make_bundle as make_small_bundle

from slidr.clock import SystemClock
from slidr.registry import Registry

DEADLINE_MS = 250
SLOW_CLIENTS = 50
HOUR = 3600
_LISTS = 20
_CLICKS = 100_000
_FOLLOWING = 5.0
"""Seconds after which a bundle that does not decide is given up."""
_NEWEST = "SELECT bundle FROM decisions ORDER BY sequence DESC LIMIT 1"
_RAISED: dict[str, float] = {"batch_limit": _CLICKS, "body_limit": 1 << 26, "queue": 2 * _CLICKS}


@contextmanager
def paused(redis: Server) -> Iterator[None]:
    """Redis stands still, and then goes on."""
    process = redis.ask("INFO", "server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@contextmanager
def restarted(redis: Server, journal: Path) -> Iterator[None]:
    """Redis is killed, comes back empty, and is seeded anew."""
    redis.kill()
    yield
    redis.start()
    warm_redis(redis.url, journal)


@contextmanager
def flushed(redis: Server, journal: Path) -> Iterator[None]:
    """Redis loses all that it holds, and is seeded anew."""
    redis.ask("FLUSHALL")
    yield
    warm_redis(redis.url, journal)


@contextmanager
def full(running: Running) -> Iterator[None]:
    """No file of the service may grow."""
    before = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Somebody else writes to the journal."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def crawling(running: Running) -> Iterator[None]:
    """Clients that send one byte a second."""
    ended, address = threading.Event(), urlsplit(running.url)
    request = (
        b"POST /v1/decisions HTTP/1.1\r\nhost: slow\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    )

    def crawl(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for place in range(len(request)):
                if ended.wait(1.0):
                    return
                connection.sendall(request[place : place + 1])

    threads = [
        threading.Thread(target=crawl, args=(socket.create_connection((address.hostname, address.port)),))
        for _ in range(SLOW_CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def swapped(registry: Registry, bundles: tuple[str, str], times: int, journal: Path) -> Iterator[None]:
    """The champion changes again and again, each time once the one before decides."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as opened:
        for place in range(times):
            promoted, given_up = bundles[place % 2], time.monotonic() + _FOLLOWING
            registry.promote(promoted, at=SystemClock().now(), who="bench", why="swap", cold=True)
            while opened.execute(_NEWEST).fetchone() != (promoted,) and time.monotonic() < given_up:
                time.sleep(0.02)
    yield


@contextmanager
def stepped(root: Path, seconds: int) -> Iterator[None]:
    """The service's clock jumps, and jumps back."""
    written = root / "clock.new"
    written.write_text(str(seconds))
    written.replace(root / "clock")
    try:
        yield
    finally:
        (root / "clock").unlink()


@contextmanager
def relisted(deny: Path) -> Iterator[None]:
    """The list file is replaced again and again, by one with a wrong line every third time."""
    for place in range(_LISTS):
        new = deny.with_suffix(".new")
        new.write_text(f"user,nobody-{place}\n" if place % 3 else "no entry\n")
        new.replace(deny)
        time.sleep(0.2)
    yield


class Bench:
    """The stories told so far."""

    def __init__(self) -> None:
        self.traffic = Traffic(50_000)
        self.stories: dict[str, Story] = {}

    def embedded(
        self,
        name: str,
        fault: Callable[[Running, Path], Fault],
        during: float = 2.0,
        *,
        rules: dict[str, object] | None = None,
        service: dict[str, float] | None = None,
    ) -> None:
        """Tell a story of the embedded store, with further settings of its section `service`."""
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            root = Path(folder)
            make_bundle(root / "bundles")
            settings = {"service": {"deadline_ms": DEADLINE_MS, **(service or {})}, "rules": rules or {}}
            running = stack.enter_context(served(root, settings))
            self._tell(name, running, root, fault(running, root), during)

    def redis(self, name: str, fault: Callable[[Server, Path], Fault]) -> None:
        """Tell a story of the store in Redis."""
        with tempfile.TemporaryDirectory() as folder:
            root, redis = Path(folder), Server(Path(folder) / "redis")
            try:
                make_bundle(root / "bundles")
                warm_redis(redis.url)
                settings = {"store": {"redis": [redis.url]}, "service": {"deadline_ms": DEADLINE_MS}}
                with served(root, settings) as running:
                    self._tell(name, running, root, fault(redis, root / "journal.sqlite"), 2.0)
            finally:
                redis.kill()

    def lists(self) -> None:
        """Tell the story of a list file."""
        with tempfile.TemporaryDirectory() as folder:
            deny = Path(folder) / "deny.csv"
            deny.write_text("user,nobody\n")
            fault = partial(relisted, deny)
            name = f"list replaced {_LISTS} times"
            self.embedded(
                name, lambda _running, _root: fault, 0.5, rules={"deny": [str(deny)]}, service={"follow_seconds": 0.05}
            )

    def swaps(self, times: int) -> int:
        """Tell the story of the bundles, and return how many were seen to decide one after the other."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            first, second = make_bundle(root / "bundles"), make_bundle(root / "others", 2)
            registry = Registry(root / "registry")
            for bundle in (first, second):
                registry.publish(
                    next(
                        found
                        for found in (*(root / "bundles").iterdir(), *(root / "others").iterdir())
                        if found.name == bundle.id
                    )
                )
            registry.promote(first.id, at=SystemClock().now(), who="bench", why="first", cold=True)
            settings = {
                "service": {"deadline_ms": DEADLINE_MS, "follow_seconds": 0.05},
                "storage": {"registry": str(root / "registry"), "bundles": str(root / "fetched")},
            }
            with served(root, settings) as running:
                fault = partial(swapped, registry, (second.id, first.id), times, root / "journal.sqlite")
                self._tell(f"bundle promoted {times} times", running, root, fault, 0.5)
            with closing(sqlite3.connect(root / "journal.sqlite")) as journal:
                deciding = [row[0] for row in journal.execute("SELECT bundle FROM decisions ORDER BY sequence")]
        return sum(before != after for before, after in pairwise(deciding))

    def _tell(self, name: str, running: Running, root: Path, fault: Fault, during: float) -> None:
        story = tell(running, self.traffic, fault, DEADLINE_MS / 1000, during)
        story.compare(root / "journal.sqlite")
        self.stories[name] = story
        print(tabulate([[name, *story.row]], tablefmt="plain"), flush=True)
        if story.wrong:
            print(f"  an answer nobody announced: {story.wrong}", flush=True)


def kill(kills: int) -> dict[str, int]:
    """Kill a service again and again while it decides, and compare its journal with an undisturbed run."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_small_bundle(Path(folder) / "bundles")
        killed = kill_during_load(Path(folder), np.random.default_rng(1), kills=kills, clicks=20_000, longest=1.0)
        compared = compare(Path(folder), bundle, killed)
    return {
        "kills": kills,
        "kill_decisions": len(killed.acknowledged),
        "kill_rows_compared": compared.rows,
        "kill_differences": compared.differences,
        "kill_lost": compared.lost,
        "kill_double": compared.double,
    }


def main() -> None:
    """Tell all stories, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="how often the service is killed")
    parser.add_argument("--swaps", type=int, default=100, help="how often the bundle changes")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {LOAD})
    bench = Bench()
    bench.embedded("none", lambda _running, _root: nullcontext)
    bench.embedded("disk full", lambda running, _root: partial(full, running))
    bench.embedded("journal locked", lambda _running, root: partial(locked, root / "journal.sqlite"))
    bench.embedded("50 slow clients", lambda running, _root: partial(crawling, running), 12.0)
    bench.embedded("clock an hour ahead", lambda _running, root: partial(stepped, root, HOUR))
    bench.embedded("clock an hour behind", lambda _running, root: partial(stepped, root, -HOUR))
    bench.embedded("hostile requests", lambda running, _root: partial(sent, running, BAD))
    large = {f"{_CLICKS:,} clicks": (many(_CLICKS), 413)}
    bench.embedded("100,000 clicks at once, refused", lambda running, _root: partial(sent, running, large))
    large = {"10,000 clicks": (many(10_000), 200)}
    roomy: dict[str, float] = {"queue": 20_000}
    bench.embedded("10,000 clicks at once", lambda running, _root: partial(sent, running, large), 0.1, service=roomy)
    large = {f"{_CLICKS:,} clicks": (many(_CLICKS), 200)}
    bench.embedded(
        "100,000 clicks at once, limits raised",
        lambda running, _root: partial(sent, running, large),
        0.1,
        service=_RAISED,
    )
    bench.lists()
    swaps = bench.swaps(chosen.swaps)
    bench.redis("Redis paused", lambda redis, _journal: partial(paused, redis))
    bench.redis("clock an hour ahead, Redis", lambda _redis, journal: partial(stepped, journal.parent, HOUR))
    bench.redis("clock an hour behind, Redis", lambda _redis, journal: partial(stepped, journal.parent, -HOUR))
    bench.redis("Redis killed, back empty", lambda redis, journal: partial(restarted, redis, journal))
    bench.redis("Redis flushed", lambda redis, journal: partial(flushed, redis, journal))
    killed = kill(chosen.kills)
    print(tabulate([[name, *story.row] for name, story in bench.stories.items()], headers=HEADERS))
    stories = bench.stories.values()
    figures = {
        **killed,
        "swaps": swaps,
        "stories": len(bench.stories),
        "decisions": sum(len(story.told) for story in stories),
        "late": sum(story.late for story in stories),
        "unannounced": sum(bool(story.wrong) for story in stories),
        "lost": sum(story.lost for story in stories) + killed["kill_lost"],
    }
    show("faults", figures)


if __name__ == "__main__":
    main()
