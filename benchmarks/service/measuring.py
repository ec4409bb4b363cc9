"""Measuring: a load on one core, the service on another, and what the service's process did meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.service.serving import Running

from slidr.load.histogram import Histogram
from slidr.load.sending import Answer, Limits, Request, Sent, Target, send
from slidr.load.tally import Tally, lags

MOST = 60 * 60.0


class Work(NamedTuple):
    """Seconds that the main thread of a process ran, and that it could have run and was not let."""

    ran: float
    waited: float

    def since(self, before: Work) -> Work:
        """Return what came to it since then."""
        return Work(self.ran - before.ran, self.waited - before.waited)


class Measured(NamedTuple):
    """A load and what became of it."""

    tally: Tally
    sent: Sent
    work: Work
    sender: Work
    batch: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.tally.answered / self.sent.seconds

    @property
    def clicks(self) -> float:
        """Decisions a second."""
        return sum(self.tally.verdicts.values()) / self.sent.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds from the time at which a request was due."""
        return round(self.tally.latencies.quantile(share) * 1000, 3)

    @property
    def row(self) -> list[object]:
        """Figures of a line of the table."""
        late: Histogram = lags(self.sent)
        return [
            round(self.clicks),
            *(self.quantile(share) for share in (0.5, 0.99, 0.999, 0.9999)),
            round(self.tally.latencies.greatest * 1000, 1),
            round(1e6 * self.work.ran / max(1, self.tally.answered), 1),
            round(100 * self.work.ran / self.sent.seconds),
            round(100 * self.work.waited / self.sent.seconds, 1),
            round(late.quantile(0.999) * 1000, 3) if late.count else "",
            round(100 * self.sender.waited / self.sent.seconds, 1),
        ]


HEADERS = (
    "load", "decisions/s", "p50 ms", "p99 ms", "p99.9 ms", "p99.99 ms", "max ms", "us of core a request", "% busy",
    "% held up", "sender late p99.9 ms", "% sender held up",
)  # fmt: skip


def work(process: int) -> Work:
    """Return what the main thread of a process did so far, as the system's scheduler counts it."""
    try:
        ran, waited, _ = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()
    except OSError:
        return Work(0.0, 0.0)
    return Work(int(ran) / 1e9, int(waited) / 1e9)


def drive(
    running: Running,
    requests: Iterator[Request],
    *,
    batch: int = 1,
    connections: int = 32,
    seconds: float = MOST,
    take: Callable[[Answer], None] | None = None,
    insist: bool = True,
) -> Measured:
    """Send requests.

    Args:
        running: the service.
        requests: what is sent.
        batch: clicks a request.
        connections: kept open.
        seconds: after which nothing more is sent.
        take: is handed every answer too.
        insist: that every request is decided, and all but one in a thousand with a score.
    """
    tally = Tally()

    def both(answer: Answer) -> None:
        tally(answer)
        if take is not None:
            take(answer)

    before, ours = work(running.process.pid), work(os.getpid())
    sent = send(Target(f"{running.url}/v1/decisions"), requests, both, Limits(connections, seconds))
    after, now = work(running.process.pid), work(os.getpid())
    tally.settle()
    if insist:
        assert set(tally.statuses) == {HTTPStatus.OK}, (tally.statuses, tally.problems)
        assert tally.verdicts["unmeasurable"] <= tally.answered / 1000, tally.verdicts
    return Measured(tally, sent, after.since(before), now.since(ours), batch)


def memory_mb(process: int) -> float:
    """Return the resident memory of a process, in MB of 2^20 bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def figures(name: str, measured: Measured) -> dict[str, Any]:
    """Return the latencies of a load under a name."""
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "p9999_ms": 0.9999}
    return {f"{name}_{key}": measured.quantile(share) for key, share in shares.items()}
