"""Upkeep: what is better done while no request waits: checkpoints, snapshots, garbage, new tables of slow features."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slidr.clock import HOUR, Clock, SystemClock
from slidr.errors import SlidrError
from slidr.features.store import EmbeddedStore
from slidr.journal import Journal
from slidr.journal.moving import Mover
from slidr.journal.told import told_collected, told_held, told_shipped
from slidr.service.aside import Aside
from slidr.service.batching import Batcher
from slidr.service.live import Live
from slidr.service.state_files import StateFiles

_FEW, _MANY = 1_000, 25_000  # journalled entries worth a checkpoint when idle, and under load: it syncs the disk
_LONG_LOG, _LONGEST_LOG = 1 << 30, 1 << 31  # bytes of write-ahead log that had better start over, and that has to
_MOVES = 4  # by the other process, each with less to move than the one before, until it is little enough
_RESIDUE = 128  # entries that are moved in some milliseconds, most of which sync the disk
_LONG_TAIL = 100_000  # clicks behind the snapshot that make a new one worth it, when calm: the next start folds less
_CALM, _CALM_TICKS = 10, 8  # most batches between two looks of a service that is calm, and such looks before a snapshot
_BUSY = 30  # times as many of them under load, where a snapshot costs a tenth of a second of backlog or more
_REMOVED, _SOME = 200, 50  # shipped entries that leave the journal at once, when idle and under load: 1 ms or less
_TICKS = 40  # between two looks at what is shipped, where nothing was to be removed
_GARBAGE = 10_000  # objects made and not freed since the last look, which are looked at even under load
_BREATH = 0.001  # seconds between two pieces of memory that are touched: the loop's timers are as coarse
_MOMENT, _BETWEEN = 0.0003, 0.01  # seconds that are left to processes that yield, and between two such moments
_NICE = 10  # of the thread that writes: it has time, and the thread that decides, perhaps on the same core, has not
_LAST = object()
_log = logging.getLogger("slidr.service")


class Upkeep:
    """Keeps journal, snapshot and memory small, on a thread that yields to those that decide.

    Args:
        files: the snapshots.
        spawn: lets work go on beside the requests.
        keep: age from which shipped entries may leave the journal, microseconds.
        clock: tells how old they are.
    """

    def __init__(
        self,
        files: StateFiles,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        keep: int = 25 * HOUR,
        clock: Clock | None = None,
    ) -> None:
        self._files = files
        self._spawn = spawn
        self._writer = ThreadPoolExecutor(1, "slidr-write", initializer=_step_back)
        self._mover = Mover()
        self._touching = False
        self._writing = False
        self._beside = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._yielding = True
        self._copying = asyncio.Lock()
        self._seen_batches = 0
        self._calm = 0
        self._snapshotted = 0
        self._held = 0
        self._keep, self._clock = keep, clock or SystemClock()
        self._pause = 0

    def restored(self, live: Live, journal: Journal, folded: int) -> None:
        """Begin with a restored state; many clicks that the snapshot did not hold are worth another one."""
        try:
            self._mover.start()
        except SlidrError as fault:
            _log.warning("the journal's log cannot be moved beside the requests, and is moved between them: %s", fault)
        if isinstance(live.store, EmbeddedStore):
            live.store.grow_ahead()
            for _ in live.store.touch_ahead():
                pass
            if folded >= _LONG_TAIL:
                self.snapshot(live, journal)
            self._snapshotted = live.store.sequence

    def tick(self, batcher: Batcher) -> None:
        """Do what is due; called several times a second, between two requests."""
        live, journal, store = batcher.live, batcher.journal, batcher.live.store
        if self._leaving is None:
            self._leave_moment()
        own = store if isinstance(store, EmbeddedStore) else None
        if own is not None:
            own.grow_ahead()
            if not self._touching:
                self._touch(own.touch_ahead())
        decided, self._seen_batches = batcher.batches - self._seen_batches, batcher.batches
        idle = not decided
        self._calm = self._calm + 1 if decided <= _CALM else 0
        if not gc.isenabled() and (idle or gc.get_count()[0] > _GARBAGE):
            gc.collect(1)
        if self._writing:
            return
        if own is not None and not self._copying.locked():
            tail = own.sequence - self._snapshotted
            if tail >= _LONG_TAIL * _BUSY:
                self._spawn(self.write(live, journal))
                return
            if tail >= _LONG_TAIL and self._calm >= _CALM_TICKS:
                # Once many clicks come again, each page that they write to is copied: rather another time.
                self._spawn(self.write(live, journal, lambda: batcher.batches - self._seen_batches <= _CALM))
                return
        self._shorten(journal, _REMOVED if idle else _SOME)
        waiting = journal.waiting
        if waiting >= _MANY or (idle and waiting >= _FEW):
            self._writing = True
            self._spawn(self._checkpoint(journal))

    def look_for_tables(self, batcher: Batcher) -> None:
        """Take up new tables of slow features, on the other thread since they are checked whole."""
        if (tables := batcher.live.store.slow) is not None:
            self._spawn(self._run(tables.refresh))

    async def write(self, live: Live, journal: Journal, wanted: Callable[[], bool] = lambda: True) -> None:
        """Write the state as it is between two batches, while these go on: a forked process has it as it is now.

        Once it is no longer wanted there is none, and the next one is due as if none had been begun.
        """
        async with self._copying:
            store, pseudonymiser = live.store, live.champion.pseudonymiser
            if not isinstance(store, EmbeddedStore):
                return
            before, held = self._snapshotted, store.sequence
            self._snapshotted = held
            try:
                aside = Aside(lambda: self._files.prepare(store, pseudonymiser), yielding=self._yielding)
                self._yielding = False
                with self._work_beside():
                    done = await aside.done(wanted)
                self._yielding = True
                if not done:
                    self._snapshotted, self._calm = before, 0
                    self._files.discard(aside.process)
                    return
                # The journal is synced first: a snapshot must never know of a click that the journal may still lose.
                await self._move(lambda: journal.checkpoint(self._mover.move))
                self._files.adopt(aside.process)
                self._files.keep(self._clock.now())
                self._held, self._pause = held, 0
            except (SlidrError, OSError) as fault:
                _log.warning("no snapshot was written, so the next start folds more of the journal: %s", fault)

    def snapshot(self, live: Live, journal: Journal) -> None:
        """Write the state at once, where that can be done; nothing decides meanwhile."""
        try:
            journal.checkpoint()
            if isinstance(live.store, EmbeddedStore):
                self._files.prepare(live.store, live.champion.pseudonymiser)
                self._files.adopt(os.getpid())
                self._files.keep(self._clock.now())
        except (SlidrError, OSError) as fault:
            _log.warning("no snapshot was written, so the next start folds more of the journal: %s", fault)

    def close(self) -> None:
        """End the threads once they have done what was asked for, and the process that moves the log."""
        self._writer.shutdown()
        self._mover.close()

    def _shorten(self, journal: Journal, most: int) -> None:
        """Let some entries leave the journal that are in the lake and in the last snapshot, and purchases in the lake.

        Over a shared store that is the state of all journals, from which the way back leads after it lost its data.
        """
        self._pause -= 1
        if self._pause > 0:
            return
        removed = 0
        try:
            held = self._held or told_held(journal.path, journal.id)
            shipped, collected = told_shipped(journal.path, journal.id), told_collected(journal.path, journal.id)
            if held or collected:
                before = self._clock.now() - self._keep
                removed = journal.shorten(shipped, held=held, before=before, most=most, collected=collected)
        except SlidrError as fault:
            _log.warning("the journal keeps what is shipped: %s", fault)
        # With what is told wrong, or nothing to do, it looks again some seconds later.
        self._pause = 0 if removed else _TICKS

    async def _checkpoint(self, journal: Journal) -> None:
        """Move the journal's log beside the requests, and let it start over before it gets long.

        It starts over once nothing is left to move, which never happens while clicks come all the time: so the few
        that came during the last move are moved between two batches.
        """
        for _ in range(_MOVES):
            await self._move(lambda: _checkpoint(journal, self._mover.move))
            if journal.log_bytes < _LONG_LOG or journal.waiting <= _RESIDUE:
                break
        if journal.log_bytes >= _LONG_LOG and (journal.waiting <= _RESIDUE or journal.log_bytes > _LONGEST_LOG):
            _checkpoint(journal)
        self._writing = False

    async def _move(self, work: Callable[[], object]) -> None:
        with self._work_beside():
            await self._run(work)

    async def _run(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _touch(self, pieces: Iterator[None]) -> None:
        """Touch a piece of memory, and the next one once those have been decided who wait."""
        self._touching = next(pieces, _LAST) is None
        if self._touching:
            asyncio.get_running_loop().call_later(_BREATH, self._touch, pieces)

    @contextmanager
    def _work_beside(self) -> Iterator[None]:
        """Leave moments to a process that yields to everybody, while it has work."""
        self._beside += 1
        if self._leaving is None:
            self._leave_moment()
        try:
            yield
        finally:
            self._beside -= 1

    def _leave_moment(self) -> None:
        """Do nothing for a moment, and again a while later as long as a process that yields has work or begins.

        To a process that gets nothing of a core that is never idle, the system gives four milliseconds of it at once.
        """
        if self._beside or self._mover.begins:
            time.sleep(_MOMENT)
            self._leaving = asyncio.get_running_loop().call_later(_BETWEEN, self._leave_moment)
        else:
            self._leaving = None


def _checkpoint(journal: Journal, move: Callable[[Path], int] | None = None) -> None:
    try:
        journal.checkpoint(move)
    except SlidrError as fault:
        _log.warning("the journal's log could not be moved, which is tried again: %s", fault)


def _step_back() -> None:
    """Let this thread yield to those that decide, where the system has a say in that by thread.

    Not further: a thread that hardly runs may hold the interpreter's lock meanwhile, and leaves the log to grow.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
