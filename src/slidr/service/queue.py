"""The queue of the service: requests whose clicks wait to be decided, and the batches that are taken from it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from slidr.errors import ServiceError
from slidr.features.clicks import Click
from slidr.journal import Entry
from slidr.service.answers import Answer
from slidr.service.live import Live


class OverloadError(ServiceError):
    """The queue is full."""


class UnavailableError(ServiceError):
    """The service cannot decide now."""


class Limits(NamedTuple):
    """What a batcher may take on.

    Attributes:
        waiting: clicks that may wait.
        batch: clicks decided at once.
        deadline: seconds that a click may wait for its decision.
    """

    waiting: int
    batch: int
    deadline: float


Told: TypeAlias = Callable[[list[Answer] | ServiceError], None]
"""Takes the answers of a request, in the order of its clicks, or why there are none."""


class Request:
    """Clicks of one request and the answers they got so far."""

    __slots__ = ("_told", "answers", "clicks", "since", "taken")

    def __init__(self, clicks: list[Click], told: Told, since: float) -> None:
        self.clicks = clicks
        self.since = since
        self.answers: list[Answer] = []
        self.taken = 0
        self._told: Told | None = told

    def answer(self, answers: list[Answer]) -> None:
        """Take answers of the next clicks, and tell who waits once all are there."""
        self.answers = self.answers + answers if self.answers else answers
        if len(self.answers) == len(self.clicks) and self._told is not None:
            told, self._told = self._told, None
            told(self.answers)

    def refuse(self, fault: ServiceError) -> None:
        """Tell who waits that there will be no answer."""
        if self._told is not None:
            told, self._told = self._told, None
            told(fault)


class Batch:
    """Clicks decided at once.

    Attributes:
        requests: whose they are, and how many of each.
        clicks: in the order of the fold.
        live: what decides them.
        known: entries of those that were answered before without being folded, by place.
        asked: the others, which the store is asked for.
        late: whether they were answered before their decision came.
    """

    __slots__ = ("asked", "clicks", "known", "late", "live", "requests")

    def __init__(
        self, requests: list[tuple[Request, int]], clicks: list[Click], live: Live, known: dict[int, Entry]
    ) -> None:
        self.requests = requests
        self.clicks = clicks
        self.live = live
        self.known = known
        self.asked = [click for place, click in enumerate(clicks) if place not in known] if known else clicks
        self.late = False

    @property
    def since(self) -> float:
        """Since when the first of its requests waits."""
        return self.requests[0][0].since

    def refuse(self, fault: ServiceError) -> None:
        """Tell who waits for its clicks that there will be no answer."""
        for request, _ in self.requests:
            request.refuse(fault)


class Queue:
    """Requests in the order of their arrival.

    Args:
        limits: what may wait, and how long.

    Attributes:
        waiting: clicks in it.
    """

    def __init__(self, limits: Limits) -> None:
        self.waiting = 0
        self._limits = limits
        self._requests: deque[Request] = deque()

    def __bool__(self) -> bool:
        return bool(self._requests)

    @property
    def since(self) -> float:
        """Since when the first request waits."""
        return self._requests[0].since

    def add(self, request: Request) -> None:
        """Let a request wait.

        Raises:
            OverloadError: its clicks would not fit; into an empty queue any do.
        """
        clicks = len(request.clicks)
        if self.waiting and self.waiting + clicks > self._limits.waiting:
            raise OverloadError(f"{self.waiting} clicks wait, at most {self._limits.waiting} may; retry in a moment")
        self._requests.append(request)
        self.waiting += clicks

    def take(self) -> tuple[list[tuple[Request, int]], list[Click]]:
        """Take what is decided next: clicks, and how many of them are whose."""
        requests: list[tuple[Request, int]] = []
        clicks: list[Click] = []
        while self._requests and (room := self._limits.batch - len(clicks)):
            request = self._requests[0]
            part = request.clicks
            if request.taken or len(part) > room:
                part = part[request.taken : request.taken + room]
            request.taken += len(part)
            requests.append((request, len(part)))
            clicks += part
            if request.taken == len(request.clicks):
                self._requests.popleft()
        self.waiting -= len(clicks)
        return requests, clicks

    def overdue(self, *, begun: bool = False) -> bool:
        """Return whether the first request has waited too long; one that is begun counts only where that is said."""
        first = self._requests[0] if self._requests else None
        if first is None or (first.taken and not begun):
            return False
        return first.since < time.perf_counter() - self._limits.deadline

    def clear(self) -> list[Request]:
        """Return the requests that wait, and let none wait any longer."""
        requests = list(self._requests)
        self._requests.clear()
        self.waiting = 0
        return requests
