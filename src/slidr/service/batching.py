"""Batching: whatever is queued when the event loop comes round is decided and journalled as one, and then answered.

Nothing waits for a batch to fill. Over the store of this process, decision and journal run on the event loop's own
thread, one batch after another. Over a shared store the decision is asked for on a thread of its own, since most of it
is waiting, and the next batch is on its way while this one is journalled. Either way the order of the journal is the
order of the fold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from slidr.clock import SECOND, Clock
from slidr.decide import Decisions
from slidr.errors import JournalError, ServiceError
from slidr.features.clicks import Click
from slidr.journal import Entry, Journal
from slidr.service.answers import (
    DEADLINE,
    ORIGINAL_UNKNOWN,
    Answer,
    Recorder,
    answer_of,
    cause_of,
    shadows_of,
    unfolded_once,
    unknown,
)
from slidr.service.live import Live, SharedStore, recall
from slidr.service.metrics import Metrics
from slidr.service.queue import Batch, Limits, Queue, Request, Told, UnavailableError
from slidr.service.unfolded import Unfolded

_SOON = 0.001  # seconds: what the event loop's timers tell apart
_MASK = 2**64 - 1
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Answer).decode
_log = logging.getLogger("slidr.service")


class _Decided(NamedTuple):
    """What became of a batch: what champion and challenger decided, what others had of repeats, and the fault."""

    first: Decisions | None
    second: Decisions | None
    recalled: dict[int, bytes]
    fault: str = ""


class Batcher:
    """Decides queued clicks in batches.

    Args:
        live: what decides; its store has the journal's state. Another may be put in its place at any time.
        journal: takes every decision before it is answered.
        recorder: makes the journal's entries.
        metrics: counts.
        clock: dates the decisions.
        limits: what it may take on.
        failed: called once, when a batch could not be decided or journalled: the state in the store may then be ahead
            of the journal, and this batcher refuses everything.

    Attributes:
        batches: batches decided.
        door_seconds: what parsing the clicks in the queue took; set by who parses.
        fault: what made a batch fail.
    """

    def __init__(
        self,
        live: Live,
        journal: Journal,
        recorder: Recorder,
        metrics: Metrics,
        clock: Clock,
        limits: Limits,
        failed: Callable[[Batcher], None],
    ) -> None:
        self.live = live
        self.journal = journal
        self.batches = 0
        self.door_seconds = 0.0
        self.fault: Exception | None = None
        self._recorder = recorder
        self._unfolded = Unfolded(journal, clock)
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._failed = failed
        self._queue = Queue(limits)
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._thread = ThreadPoolExecutor(1, "slidr-decide") if live.shared is not None else None
        self._flight: Batch | None = None
        self._watch: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Clicks in the queue."""
        return self._queue.waiting

    def submit(self, clicks: list[Click]) -> asyncio.Future[list[Answer]]:
        """Queue the clicks of a request; the future holds their answers, in their order.

        Raises:
            OverloadError: they would not fit into the queue.
            UnavailableError: an earlier batch failed.
        """
        future: asyncio.Future[list[Answer]] = self._loop.create_future()

        def told(answers: list[Answer] | ServiceError) -> None:
            if future.done():
                return
            if isinstance(answers, ServiceError):
                future.set_exception(answers)
            else:
                future.set_result(answers)

        self.decide(clicks, told)
        return future

    def decide(self, clicks: list[Click], told: Told) -> None:
        """Queue the clicks of a request; their answers are told as soon as they are in the journal.

        Raises:
            OverloadError: they would not fit into the queue.
            UnavailableError: an earlier batch failed.
        """
        if self.fault is not None:
            raise UnavailableError(str(self.fault))
        if not clicks:
            told([])
            return
        self._queue.add(Request(clicks, told, time.perf_counter()))
        if not self._scheduled and self._flight is None:
            self._schedule()
        if self._thread is not None and self._watch is None:
            self._watch = self._loop.call_later(self._limits.deadline, self._look)

    async def drain(self) -> None:
        """Decide everything that is queued, and end the thread that does."""
        while (self._queue or self._flight is not None) and self.fault is None:
            if self._thread is None:
                self._flush()
            else:
                await asyncio.sleep(0.001)
        if self._watch is not None:
            self._watch.cancel()
        if self._thread is not None:
            if self.fault is None and (shared := self.live.shared) is not None:
                await self._loop.run_in_executor(self._thread, shared.decided.flush)
            self._thread.shutdown(wait=False)

    def take_over(self, live: Live) -> None:
        """Let something else decide from the next batch on; a shared store that it does not read is closed."""
        before, self.live = self.live, live
        if self._thread is not None and before.shared is not None and before.store is not live.store:
            self._thread.submit(_leave, before.shared)

    def decide_waiting(self) -> None:
        """Decide at once what is queued, over the store of this process."""
        while self._queue and self._thread is None and self.fault is None:
            self._flush()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if not self._queue or self._flight is not None or self.fault is not None:
            return
        self._expire()
        if not self._queue:
            return
        batch = self._take()
        if self._thread is not None:
            self._flight = batch
            self._thread.submit(self._decide, batch).add_done_callback(
                lambda done: self._loop.call_soon_threadsafe(self._land, batch, done)
            )
            return
        try:
            decided = self._decide(batch)
        except Exception as fault:  # noqa: BLE001 whatever it was, the state is now ahead of the journal
            self._fail(fault, batch)
            return
        self._finish(batch, decided)
        if self._queue and not self._scheduled:
            self._schedule()

    def _take(self) -> Batch:
        requests, clicks = self._queue.take()
        self._metrics.wait.observe(time.perf_counter() - requests[0][0].since)
        return Batch(requests, clicks, self.live, self._unfolded.among(clicks))

    def _decide(self, batch: Batch) -> _Decided:
        """Decide a batch; over a shared store this is what its thread does."""
        clicks = batch.asked
        if not clicks:
            return _Decided(None, None, {})
        first, second = batch.live.decide(clicks)
        shared = batch.live.shared
        recalled: dict[int, bytes] = {}
        if shared is not None and first.repeats.any():
            recalled = recall(shared.decided, first)
        return _Decided(first, second, recalled, "" if shared is None else shared.fault)

    def _finish(self, batch: Batch, decided: _Decided) -> None:
        """Journal what was decided, and answer it."""
        if self.fault is not None:
            # What waited behind it was given up meanwhile, and could not be journalled.
            batch.refuse(_refusal(self.fault))
            return
        now, first = self._clock.now(), decided.first
        if first is None:
            self._deliver(batch, [])
            return
        began = time.perf_counter()
        entries, answers = self._answers(batch, first, decided.recalled, now)
        shadows = shadows_of(first, decided.second, entries) if decided.second is not None else ()
        try:
            if entries:
                self.journal.append(entries, shadows)
        except JournalError as fault:
            self._fail(fault, batch)
            return
        self._metrics.journal.observe(time.perf_counter() - began)
        if self._thread is not None and entries and (shared := self.live.shared) is not None:
            shared.decided.remember({entry.click_key & _MASK: _pack(answer_of(entry)) for entry in entries})
            if not self._queue and self._flight is None:
                # No call follows that would take them along.
                self._thread.submit(shared.decided.flush)
        self._unfolded.note(entries)
        self._count(first, entries, now)
        if decided.fault:
            self._metrics.store_error(cause_of(decided.fault, entries))
        if decided.second is not None:
            self._metrics.shadowed(first, decided.second)
        self._deliver(batch, answers)

    def _answers(
        self, batch: Batch, first: Decisions, recalled: dict[int, bytes], now: int
    ) -> tuple[list[Entry], list[Answer]]:
        """Return what is journalled of a batch, and the answers of the clicks that the store was asked for."""
        clicks, first = batch.asked, unfolded_once(first)
        entries = self._recorder.entries(first, clicks, now)
        if len(entries) == len(clicks):
            return entries, [answer_of(entry) for entry in entries]
        # Repeats get what was decided of their originals: in this batch, before it, or by another process.
        known = {entry.sequence: entry for entry in entries}
        unfolded = {entry.click_id: entry for entry in entries if entry.sequence < 0}
        sequences, repeats, ids = first.sequences.tolist(), first.repeats.tolist(), first.batch.ids.tolist()
        fresh = iter(entries)
        wanted = {sequence for sequence, repeat in zip(sequences, repeats, strict=True) if repeat and sequence >= 0}
        known |= self.journal.find(wanted - known.keys())
        answers: list[Answer] = []
        adopted: list[Entry] = []
        for place, sequence in enumerate(sequences):
            if not repeats[place]:
                answers.append(answer_of(next(fresh)))
            elif (entry := known.get(sequence) if sequence >= 0 else unfolded.get(clicks[place].click_id)) is not None:
                answers.append(answer_of(entry))
            elif (told := recalled.get(ids[place])) is not None:
                answers.append(_unpack(told))
            elif first.reasons[place] == ORIGINAL_UNKNOWN or batch.live.shared is None:
                answers.append(unknown(first, place))
            else:
                # Folded by a process that ended before it had journalled: read again, and decided here.
                (entry,) = self._recorder.entries(first, clicks, now, [place])
                adopted.append(entry)
                known[sequence] = entry
                answers.append(answer_of(entry))
        self._metrics.repeats.inc(sum(repeats) - len(adopted))
        return [*entries, *adopted], answers

    def _deliver(self, batch: Batch, answers: list[Answer]) -> None:
        if batch.late:
            return
        if batch.known:
            others = iter(answers)
            answers = [
                answer_of(batch.known[place]) if place in batch.known else next(others)
                for place in range(len(batch.clicks))
            ]
        start = 0
        for request, count in batch.requests:
            request.answer(answers[start : start + count])
            start += count

    def _count(self, first: Decisions, entries: list[Entry], now: int) -> None:
        metrics = self._metrics
        metrics.door.observe(self.door_seconds)
        self.door_seconds = 0.0
        metrics.rules.observe(first.seconds[0])
        metrics.fold.observe(first.seconds[1])
        metrics.score.observe(first.seconds[2])
        metrics.batch.observe(len(first.click_ids))
        self.batches += 1
        if entries:
            metrics.lag.set((now - entries[-1].time) / SECOND)
            metrics.journalled(entries)

    def _land(self, batch: Batch, done: Future[_Decided]) -> None:
        """Take what the thread decided: the next batch is on its way before this one is journalled."""
        self._flight = None
        if self.fault is not None:
            return
        fault = done.exception()
        if fault is not None:
            self._fail(fault if isinstance(fault, Exception) else RuntimeError(fault), batch)
            return
        self._flush()
        if batch.late:
            self._keep_place(batch, done.result())
        else:
            self._finish(batch, done.result())

    def _keep_place(self, batch: Batch, decided: _Decided) -> None:
        """Journal where clicks stand in the fold that were answered before that was known."""
        if decided.first is None:
            return
        entries = self._recorder.late(decided.first, batch.asked, self._clock.now())
        try:
            if entries:
                self.journal.append(entries)
        except JournalError as fault:
            self._fail(fault, batch)

    def _look(self) -> None:
        """Answer what the thread has not decided in time, and what waits behind it."""
        self._watch = None
        flight, oldest = self._flight, time.perf_counter() - self._limits.deadline
        if self.fault is None and flight is not None and not flight.late and flight.since <= oldest:
            self._give_up(flight)
        if self.fault is None:
            self._expire()
        waiting = [self._queue.since] if self._queue else []
        if self._flight is not None and not self._flight.late:
            waiting.append(self._flight.since)
        if waiting:
            self._watch = self._loop.call_later(max(min(waiting) - oldest, _SOON), self._look)

    def _expire(self) -> None:
        """Answer requests that have waited too long; one that is begun is finished, unless the store is stuck."""
        stuck = self._flight is not None and self._flight.late
        while self._queue.overdue(begun=stuck) and self.fault is None:
            self._give_up(self._take())

    def _give_up(self, batch: Batch) -> None:
        """Answer a batch as not measured; replay settles it."""
        if batch.asked:
            decided = _Decided(batch.live.champion.unmeasured(batch.asked, DEADLINE), None, {})
            self._metrics.deadline_missed.inc(len(batch.asked))
            self._finish(batch, decided)
        else:
            self._deliver(batch, [])
        batch.late = True

    def _fail(self, fault: Exception, batch: Batch) -> None:
        self.fault = fault
        if isinstance(fault, JournalError):
            self._metrics.journal_errors.inc()
            _log.error("nothing is decided until the journal can be written again: %s", fault)
        else:
            _log.error("nothing is decided until the state is restored: a batch failed", exc_info=fault)
        refused = _refusal(fault)
        for one in (batch, self._flight):
            if one is not None:
                one.refuse(refused)
        for request in self._queue.clear():
            request.refuse(refused)
        if self._thread is not None:
            if self.live.shared is not None:
                self._thread.submit(_leave, self.live.shared)
            self._thread.shutdown(wait=False)
        self._failed(self)


def _refusal(fault: Exception) -> UnavailableError:
    return UnavailableError(f"not decided: {fault}")


def _leave(shared: SharedStore) -> None:
    """Write what is to be remembered, and close a store that is not read any more."""
    shared.decided.flush()
    shared.close()
