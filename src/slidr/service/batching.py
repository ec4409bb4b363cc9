"""Batching: whatever is queued when the event loop comes round is decided and journalled as one, and then answered.

Nothing waits for a batch to fill. Decision and journal run on the event loop's own thread, one batch after another, so
the order of the journal is the order of the fold.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.clock import SECOND, Clock
from slidr.decide import Decider, Decisions
from slidr.errors import JournalError, ServiceError
from slidr.features.clicks import Click
from slidr.journal import Entry, Journal
from slidr.service.metrics import Metrics
from slidr.tables import Verdict

LIVE = "live"
ORIGINAL_UNKNOWN = "original_unknown"
"""Reason of a repeat whose original was folded but is not in this journal, such as one of a backfilled log."""
_log = logging.getLogger("slidr.service")


class Answer(msgspec.Struct, frozen=True):
    """What a request is told of a click; score and threshold stay inside, for they say how far a robot may go.

    Attributes:
        click_id: the click.
        decision_id: identifies the decision; null where the original of a repeat is not in this journal.
        verdict: what was decided.
        invalid: whether the click should not be billed for being robotic.
        reasons: stable codes.
        slice: slice whose threshold was used.
        bundle: bundle that decided.
        sequence: place of the click in the fold.
    """

    click_id: str
    decision_id: str | None
    verdict: str
    invalid: bool
    reasons: tuple[str, ...]
    slice: str
    bundle: str
    sequence: int


class OverloadError(ServiceError):
    """The queue is full."""


class UnavailableError(ServiceError):
    """The service cannot decide now."""


class _Request:
    """Clicks of one request and the answers they got so far."""

    __slots__ = ("answers", "clicks", "future", "taken")

    def __init__(self, clicks: list[Click], future: asyncio.Future[list[Answer]]) -> None:
        self.clicks = clicks
        self.future = future
        self.answers: list[Answer] = []
        self.taken = 0


class Batcher:
    """Decides queued clicks in batches.

    Args:
        decider: decides; its store has the journal's state.
        journal: takes every decision before it is answered.
        metrics: counts.
        clock: dates the decisions.
        limits: clicks that may wait, and clicks decided at once.
        failed: called once, when a batch could not be decided or journalled: the state in the store is then ahead of
            the journal, and this batcher refuses everything.

    Attributes:
        waiting: clicks in the queue.
        batches: batches decided.
        door_seconds: what parsing the clicks in the queue took; set by who parses.
        fault: what made a batch fail.
    """

    def __init__(
        self,
        decider: Decider,
        journal: Journal,
        metrics: Metrics,
        clock: Clock,
        limits: tuple[int, int],
        failed: Callable[[Batcher], None],
    ) -> None:
        self.decider = decider
        self.journal = journal
        self.waiting = 0
        self.batches = 0
        self.door_seconds = 0.0
        self.fault: Exception | None = None
        self._metrics = metrics
        self._clock = clock
        self._most_waiting, self._most_at_once = limits
        self._failed = failed
        self._queue: deque[_Request] = deque()
        self._loop = asyncio.get_running_loop()
        self._scheduled = False

    def submit(self, clicks: list[Click]) -> asyncio.Future[list[Answer]]:
        """Queue the clicks of a request; the future holds their answers, in their order.

        Raises:
            OverloadError: they would not fit into the queue.
            UnavailableError: an earlier batch failed.
        """
        if self.fault is not None:
            raise UnavailableError(str(self.fault))
        if self.waiting and self.waiting + len(clicks) > self._most_waiting:
            raise OverloadError(f"{self.waiting} clicks wait, at most {self._most_waiting} may; retry in a moment")
        request = _Request(clicks, self._loop.create_future())
        if not clicks:
            request.future.set_result([])
            return request.future
        self._queue.append(request)
        self.waiting += len(clicks)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return request.future

    def drain(self) -> None:
        """Decide everything that is queued."""
        while self._queue and self.fault is None:
            self._flush()

    def _flush(self) -> None:
        self._scheduled = False
        if not self._queue:
            return
        requests, clicks = self._take()
        try:
            answers = self._decide(clicks)
        except Exception as fault:  # noqa: BLE001 whatever it was, the state is now ahead of the journal
            self._fail(fault, requests)
            return
        place = 0
        for request, count in requests:
            request.answers += answers[place : place + count]
            place += count
            if len(request.answers) == len(request.clicks) and not request.future.done():
                request.future.set_result(request.answers)
        if self._queue:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _take(self) -> tuple[list[tuple[_Request, int]], list[Click]]:
        """Take from the queue what is decided next: clicks, and how many of them are whose."""
        requests: list[tuple[_Request, int]] = []
        clicks: list[Click] = []
        while self._queue and (room := self._most_at_once - len(clicks)):
            request = self._queue[0]
            part = request.clicks
            if request.taken or len(part) > room:
                part = part[request.taken : request.taken + room]
            request.taken += len(part)
            requests.append((request, len(part)))
            clicks += part
            if request.taken == len(request.clicks):
                self._queue.popleft()
        self.waiting -= len(clicks)
        return requests, clicks

    def _decide(self, clicks: list[Click]) -> list[Answer]:
        began = time.perf_counter()
        now = self._clock.now()
        decisions = self.decider.decide(clicks)
        entries = entries_of(decisions, clicks, decided_at=now, journal=self.journal.id)
        decided = time.perf_counter()
        if entries:
            self.journal.append(entries)
        journalled = time.perf_counter()
        metrics = self._metrics
        metrics.door.observe(self.door_seconds)
        self.door_seconds = 0.0
        metrics.decide.observe(decided - began)
        metrics.journal.observe(journalled - decided)
        metrics.batch.observe(len(clicks))
        self.batches += 1
        if entries:
            metrics.lag.set((now - entries[-1].time) / SECOND)
        if len(entries) == len(clicks):
            metrics.decided(zip(decisions.verdicts, decisions.slices, decisions.reasons, strict=True))
            return [answer_of(entry) for entry in entries]
        return self._with_repeats(decisions, entries)

    def _with_repeats(self, decisions: Decisions, entries: list[Entry]) -> list[Answer]:
        """Answer repeats with what was decided of their originals, in this batch or before it."""
        known = {entry.sequence: entry for entry in entries}
        sequences = decisions.sequences.tolist()
        known |= self.journal.find({sequence for sequence in sequences if sequence not in known})
        repeats = decisions.repeats.tolist()
        fresh = [place for place, repeat in enumerate(repeats) if not repeat]
        self._metrics.repeats.inc(len(repeats) - len(fresh))
        self._metrics.decided(
            (decisions.verdicts[place], decisions.slices[place], decisions.reasons[place]) for place in fresh
        )
        return [
            answer_of(known[sequence]) if sequence in known else _unknown(decisions, place)
            for place, sequence in enumerate(sequences)
        ]

    def _fail(self, fault: Exception, requests: list[tuple[_Request, int]]) -> None:
        self.fault = fault
        if isinstance(fault, JournalError):
            self._metrics.journal_errors.inc()
            _log.error("nothing is decided until the journal can be written again: %s", fault)
        else:
            _log.error("nothing is decided until the state is restored: a batch failed", exc_info=fault)
        refused = UnavailableError(f"not decided: {fault}")
        for request in (*(request for request, _ in requests), *self._queue):
            if not request.future.done():
                request.future.set_exception(refused)
        self._queue.clear()
        self.waiting = 0
        self._failed(self)


def entries_of(decisions: Decisions, clicks: list[Click], *, decided_at: int, journal: str) -> list[Entry]:
    """Return what the journal takes of a batch: every decision but those of repeats.

    Args:
        decisions: of the clicks.
        clicks: as they were decided.
        decided_at: microseconds UTC.
        journal: the journal's id, with which the decisions' ids begin.
    """
    batch, rows = decisions.batch, decisions.rows
    repeats = decisions.repeats.tolist()
    matrix = batch.keys
    if batch.beside is not None:
        matrix = np.concatenate([matrix, batch.beside.keys, batch.beside.ids[None]])
    keys = np.ascontiguousarray(matrix.T, "<u8").tobytes()
    values = np.ascontiguousarray(rows, "<f4").tobytes()
    key_bytes, row_bytes = 8 * len(matrix), 4 * rows.shape[1]
    sequences, times = decisions.sequences.tolist(), batch.times.tolist()
    ids, logged_in = batch.ids.view(np.int64).tolist(), batch.logged_in.tolist()
    scores, thresholds = _nullable(decisions.scores), _nullable(decisions.thresholds)
    return [
        Entry(
            sequences[at],
            f"{journal}-{sequences[at]:x}",
            click.click_id,
            times[at],
            decided_at,
            decisions.verdicts[at].value,
            decisions.reasons[at],
            decisions.lists[at],
            scores[at],
            thresholds[at],
            decisions.slices[at],
            decisions.bundle,
            LIVE,
            ids[at],
            logged_in[at],
            keys[at * key_bytes : (at + 1) * key_bytes],
            values[at * row_bytes : (at + 1) * row_bytes],
            click.campaign,
            click.advertiser,
            click.cost,
            click.currency,
        )
        for at, click in enumerate(clicks)
        if not repeats[at]
    ]


def _nullable(values: NDArray[np.float32]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def answer_of(entry: Entry) -> Answer:
    """Return what a request is told of a journalled decision."""
    return Answer(
        entry.click_id,
        entry.decision_id,
        entry.verdict,
        entry.verdict in _INVALID,
        entry.reasons,
        entry.slice,
        entry.bundle,
        entry.sequence,
    )


def _unknown(decisions: Decisions, place: int) -> Answer:
    return Answer(
        decisions.click_ids[place],
        None,
        Verdict.UNMEASURABLE.value,
        False,
        (ORIGINAL_UNKNOWN,),
        decisions.slices[place],
        decisions.bundle,
        int(decisions.sequences[place]),
    )


_INVALID = frozenset((Verdict.INVALID_GENERAL.value, Verdict.INVALID_SOPHISTICATED.value))
