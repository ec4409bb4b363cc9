"""Stories: a load at a steady rate, a fault in the middle of it, and what became of every click."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import takewhile
from pathlib import Path

import msgspec
from benchmarks.service.serving import Running
from benchmarks.service.traffic import Traffic

from slidr.load.sending import UNANSWERED, Answer, Limits, Target, send

RATE = 1000
CONNECTIONS = 64
BEFORE, DURING, AFTER = 2.0, 2.0, 6.0
"""Seconds of load before the fault, with it, and behind it."""
SLACK = 0.1
"""Seconds beyond the deadline that an answer may take before it counts as late: sender and kernel have their share."""

ANNOUNCED = {
    UNANSWERED, HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}  # fmt: skip
"""What a client is told to expect; a click more than five minutes ahead of the service's clock is unprocessable."""

Fault = Callable[[], AbstractContextManager[object]]


class Told(msgspec.Struct):
    """What was acknowledged of a click."""

    click_id: str
    decision_id: str | None
    verdict: str
    bundle: str
    reasons: tuple[str, ...] = ()


@dataclass
class Story:
    """What became of the clicks of a load with a fault.

    Attributes:
        statuses: requests by status; UNANSWERED where a connection broke.
        reasons: unmeasurable decisions by their reason.
        bundles: decisions by bundle.
        told: click_id -> what was acknowledged.
        late: decisions that came later than the deadline and `SLACK` after their sending.
        slowest: the longest that a decision took from its sending, seconds.
        recovery: seconds from the end of the fault to the first decision with a score; None where there was none.
        lost: acknowledged decisions that the journal does not hold as they were told.
        wrong: the first words of an answer of the service that was neither a decision nor an announced refusal.
    """

    deadline: float
    statuses: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bundles: Counter[str] = field(default_factory=Counter)
    told: dict[str, Told] = field(default_factory=dict)
    late: int = 0
    slowest: float = 0.0
    healed: float = 0.0
    recovery: float | None = None
    lost: int = 0
    wrong: str = ""

    def take(self, answer: Answer) -> None:
        """Count an answer."""
        self.statuses[answer.status] += 1
        if answer.status not in ANNOUNCED and not self.wrong:
            self.wrong = answer.body[:200].decode(errors="replace")
        if answer.status != HTTPStatus.OK:
            return
        told = msgspec.json.decode(answer.body, type=Told)
        self.told[told.click_id] = told
        self.bundles[told.bundle] += 1
        self.reasons.update(told.reasons if told.verdict == "unmeasurable" else ())
        self.slowest = max(self.slowest, answer.service)
        self.late += answer.service > self.deadline + SLACK
        if self.recovery is None and self.healed and told.verdict != "unmeasurable":
            began = time.perf_counter() - answer.service
            if began >= self.healed:
                self.recovery = began + answer.service - self.healed

    def compare(self, journal: Path) -> None:
        """Count what the journal does not hold."""
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as opened:
            held = set(opened.execute("SELECT click_id, decision_id, verdict FROM decisions").fetchall())
        self.lost = sum((told.click_id, told.decision_id, told.verdict) not in held for told in self.told.values())

    @property
    def row(self) -> list[object]:
        """Figures of a line of the table."""
        reasons = ", ".join(f"{name} {count}" for name, count in self.reasons.most_common())
        return [
            len(self.told), self.statuses[HTTPStatus.SERVICE_UNAVAILABLE], self.statuses[UNANSWERED],
            sum(self.statuses.values()) - len(self.told) - self.statuses[503] - self.statuses[UNANSWERED],
            reasons, self.late, round(self.slowest * 1000),
            "" if self.recovery is None else round(self.recovery, 2), self.lost,
        ]  # fmt: skip


HEADERS = (
    "fault", "decided", "503", "broken off", "other", "unmeasurable", "late", "slowest ms", "recovered s", "lost",
)  # fmt: skip


def tell(running: Running, traffic: Traffic, fault: Fault, deadline: float, during: float = DURING) -> Story:
    """Load a service, let a fault happen, end it again, and go on for a while.

    Args:
        running: the service.
        traffic: what it decides.
        fault: holds while its context is open.
        deadline: seconds that the service may take.
        during: seconds of the fault, unless it takes longer by itself.
    """
    story = Story(deadline)
    failed: list[BaseException] = []

    def happen() -> None:
        time.sleep(BEFORE)
        try:
            with fault():
                time.sleep(during)
        except BaseException as fault_of_the_fault:  # noqa: BLE001 raised below, on the thread that waits
            failed.append(fault_of_the_fault)
        story.healed = time.perf_counter()

    thread = threading.Thread(target=happen)
    thread.start()
    requests = takewhile(
        lambda _one: not story.healed or time.perf_counter() < story.healed + AFTER, traffic.requests(1, None, RATE)
    )
    send(Target(f"{running.url}/v1/decisions"), requests, story.take, Limits(CONNECTIONS))
    thread.join()
    if failed:
        raise failed[0]
    return story
