"""Lifecycle: a service starts from its journal, is ready once warm, mends itself after a fault, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from slidr.bundle import Bundle
from slidr.clock import Clock, SystemClock
from slidr.decide import Decider
from slidr.errors import SlidrError
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.features.layout import Layout, compile_catalogue
from slidr.features.slow import SlowTables
from slidr.features.snapshot import Snapshot
from slidr.features.store import EmbeddedStore
from slidr.journal import BundleNames, Entry, Journal
from slidr.rules import ListRule
from slidr.service.batching import Answer, Batcher, UnavailableError
from slidr.service.door import Admitted, Door
from slidr.service.metrics import Metrics
from slidr.service.state_files import StateFiles, snapshots_of
from slidr.service.warming import warm_up
from slidr.settings import Settings, duration

_TICK = 0.25  # seconds between two looks at what can be done while no request waits
_LOOK = 60.0  # seconds between two looks for a new table of slow features
_FEW, _MANY = 1_000, 50_000  # journalled entries worth a checkpoint when idle, and under load
_LONGEST_LOG = 1 << 28  # bytes of write-ahead log after which a checkpoint may hold requests up
_LONG_TAIL = 100_000  # clicks behind the snapshot that make a new one worth it, when idle: the next start folds less
_BUSY = 10  # times as many of them under load
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between attempts to restore; the last one repeats
_log = logging.getLogger("slidr.service")


class Parts(NamedTuple):
    """What a service is made of.

    Attributes:
        settings: `service`, `storage` and `clicks` are read.
        bundle: what decides.
        pseudonymiser: hashes identifiers with the key that the bundle was made with.
        rules: list rules.
        root: where the relative paths of the settings start.
        ring: the secret keys that the pseudonymiser's is one of; None where keys do not rotate.
    """

    settings: Settings
    bundle: Bundle
    pseudonymiser: Pseudonymiser
    rules: Sequence[ListRule] = ()
    root: Path = Path()
    ring: KeyRing | None = None


class Service:
    """Decides the clicks of requests and keeps the journal; needs no socket.

    Args:
        parts: what it is made of.
        clock: tells the time; the machine's where None.
        metrics: where it counts; its own registry where None.

    Attributes:
        state: `starting`, `ready`, `restoring` (after a fault) or `stopped`.
        ready: set while the state is `ready`.
    """

    def __init__(self, parts: Parts, *, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self.parts = parts
        self.metrics = Metrics() if metrics is None else metrics
        self.state = "starting"
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._clock: Clock = SystemClock() if clock is None else clock
        self._batcher: Batcher | None = None
        self._door: Door | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._checkpointing = False
        self._seen_batches = -1
        self._snapshotted = 0
        self._keys_change: int | None = None
        self._files = StateFiles(self.snapshot_path, parts.root / parts.settings.storage.seed, parts.ring)
        self.metrics.watch(
            queue=lambda: self._batcher.waiting if self._batcher else 0,
            entities=lambda: store.live if (store := self._store) else 0,
            evicted=lambda: store.evicted if (store := self._store) else 0,
        )
        self.metrics.watch_slow(lambda: store.slow if (store := self._store) else None, self._clock)

    @property
    def _store(self) -> EmbeddedStore | None:
        store = self._batcher.decider.store if self._batcher else None
        return store if isinstance(store, EmbeddedStore) else None

    @property
    def journal_path(self) -> Path:
        """The SQLite file of the journal."""
        return self.parts.root / self.parts.settings.storage.journal

    @property
    def snapshot_path(self) -> Path:
        """The file of the state's snapshot."""
        return self.parts.root / self.parts.settings.storage.state

    async def start(self) -> None:
        """Restore the state, compile what requests need, and become ready.

        Raises:
            SlidrError: snapshot, journal or bundle cannot be used.
        """
        loop, parts = asyncio.get_running_loop(), self.parts
        most = parts.settings.service.batch
        await loop.run_in_executor(None, warm_up, parts.bundle, parts.pseudonymiser, parts.rules, most)
        self._take_over(*await loop.run_in_executor(None, self._restore))
        self._tick()
        loop.call_later(_LOOK, self._look_for_tables)

    async def stop(self) -> None:
        """Finish what was accepted, write a snapshot of the state, and close the journal."""
        batcher = self._batcher
        self._stopping.set()
        if batcher is not None:
            batcher.drain()
        self._unready("stopped")
        await asyncio.gather(*self._tasks)
        if batcher is None:
            return
        if batcher.fault is None:
            self._snapshot(batcher.decider, batcher.journal)
        batcher.journal.close()

    def accept(self, body: bytes) -> tuple[Admitted, asyncio.Future[list[Answer]]]:
        """Parse, check and queue the clicks of a request; the future holds the answers of those admitted, in order.

        Raises:
            RefusedError: the request is refused whole.
            OverloadError: the queue is full.
            UnavailableError: the service is not ready.
        """
        batcher = self._batcher
        if batcher is None or self._door is None:
            raise self._unavailable()
        began = time.perf_counter()
        admitted = self._door.admit(body)
        if admitted.faults:
            self.metrics.malformed.inc(len(admitted.faults))
        batcher.door_seconds += time.perf_counter() - began
        return admitted, batcher.submit(admitted.clicks)

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(f"the service is {self.state}; retry in a moment")

    async def find(self, click_id: str) -> Entry | None:
        """Return the newest journalled decision of a click, or None.

        A click of the last hour is found at once, for an older one the journal is read from its end.

        Raises:
            UnavailableError: the service is not ready.
            JournalError: the journal cannot be read.
        """
        batcher = self._batcher
        if batcher is None:
            raise self._unavailable()
        key = int(batcher.decider.pseudonymiser.texts([click_id]).view("int64")[0])
        store = self._store
        sequence = None if store is None else store.recent.find(key)
        if sequence is not None and (entry := batcher.journal.find([sequence]).get(sequence)) is not None:
            return entry
        return await asyncio.get_running_loop().run_in_executor(None, _search, self.journal_path, click_id)

    def report(self) -> dict[str, object]:
        """Return state, bundle and the number of clicks folded."""
        sequence = store.sequence if (store := self._store) else None
        return {"state": self.state, "bundle": self.parts.bundle.id, "sequence": sequence}

    def _restore(self) -> tuple[Decider, Journal]:
        """Open the journal and bring a new store to where it ends."""
        parts, settings = self.parts, self.parts.settings.service
        layout = compile_catalogue(parts.bundle.catalogue)
        journal = Journal(self.journal_path, durability=settings.durability)
        try:
            journal.declare(parts.bundle.id, BundleNames(layout.keys, layout.names))
            self._files.adopt_seed(journal)
            now = self._clock.now()
            self._keys_change = parts.ring.changes(now, layout.horizon) if parts.ring else None
            pseudonymiser = self._files.hashing(now, layout.horizon) or parts.pseudonymiser
            store = self._make_store(layout, pseudonymiser.fingerprint)
            decider = Decider(parts.bundle, store, pseudonymiser, parts.rules)
            folded = self._files.recover(store, journal, pseudonymiser)
            if folded >= _LONG_TAIL:
                self._snapshot(decider, journal)
        except BaseException:
            journal.close()
            raise
        self._snapshotted = store.sequence
        for block in store.cold_blocks(layout, store.newest):
            _log.warning(
                "the state of %s is younger than its longest window: clicks are unmeasurable (state_cold) until it is"
                " as old, unless state and journal are moved away after `slidr backfill`",
                "+".join(block.entity),
            )
        _log.info("state restored up to click %d, %d of them from the journal", store.sequence, folded)
        return decider, journal

    def _make_store(self, layout: Layout, fingerprint: str) -> EmbeddedStore:
        settings, root = self.parts.settings, self.parts.root
        age = duration(settings.features.slow_age)
        slow = SlowTables(root / settings.storage.slow, age, fingerprint) if layout.slow else None
        return EmbeddedStore(layout, settings.service.entities, most=settings.features.most_entities, slow=slow)

    def _take_over(self, decider: Decider, journal: Journal) -> None:
        if self._stopping.is_set():
            journal.close()
            return
        service = self.parts.settings.service
        addresses = self.parts.bundle.contract.ip == "address"
        self._door = Door(decider.click, addresses=addresses, most=service.batch_limit, clock=self._clock)
        limits = (service.queue, service.batch)
        self._batcher = Batcher(decider, journal, self.metrics, self._clock, limits, self._failed)
        self.metrics.serving(self.parts.bundle.id)
        self.metrics.ready.set(1)
        self.state = "ready"
        self.ready.set()

    def _unready(self, state: str) -> None:
        self.state = state
        self.ready.clear()
        self.metrics.ready.set(0)
        self._batcher = None

    def _snapshot(self, decider: Decider, journal: Journal) -> None:
        """Write a snapshot where that can be done: it saves work, and nothing depends on it."""
        try:
            # The journal is synced first: a snapshot must never know of a click that the journal may still lose.
            journal.checkpoint()
            if isinstance(decider.store, EmbeddedStore):
                self._files.write(snapshots_of(decider.store, decider.pseudonymiser))
        except (SlidrError, OSError) as fault:
            _log.warning("no snapshot was written, so the next start folds more of the journal: %s", fault)

    def _failed(self, batcher: Batcher) -> None:
        """Stop deciding, and restore the state from snapshot and journal."""
        batcher.journal.close()
        if not self._stopping.is_set():
            self._unready("restoring")
            self._spawn(self._restore_until_it_works())

    async def _restore_until_it_works(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _PAUSES[min(attempt, len(_PAUSES) - 1)])
            try:
                restored = await asyncio.get_running_loop().run_in_executor(None, self._restore)
            except (SlidrError, OSError) as fault:
                attempt += 1
                _log.warning("attempt %d to restore the state failed: %s", attempt, fault)
            else:
                self._take_over(*restored)
                return

    def _tick(self) -> None:
        """Do what is better done while no request waits: checkpoints and garbage."""
        if self._stopping.is_set():
            return
        asyncio.get_running_loop().call_later(_TICK, self._tick)
        if not gc.isenabled():
            gc.collect(1)
        batcher = self._batcher
        if batcher is None:
            return
        if self._keys_change is not None and self._clock.now() >= self._keys_change:
            self._change_keys(batcher)
        if self._checkpointing or self._batcher is None:
            return
        idle, self._seen_batches = batcher.batches == self._seen_batches, batcher.batches
        store = self._store
        tail = store.sequence - self._snapshotted if store else 0
        if store and tail >= _LONG_TAIL * (1 if idle else _BUSY):
            self._snapshotted += tail
            self._checkpointing = True
            # What the next fold changes is copied here, between two batches, and written on another thread.
            copies = [snapshot.copy() for snapshot in snapshots_of(store, batcher.decider.pseudonymiser)]
            self._spawn(self._write(copies, batcher.journal))
            return
        waiting = batcher.journal.waiting
        if waiting >= _MANY or (idle and waiting >= _FEW):
            self._checkpointing = True
            self._spawn(self._checkpoint(batcher.journal))
        elif waiting and batcher.journal.log_bytes > _LONGEST_LOG:
            # Never idle, so the log never starts over: the little that is left to move is moved between two requests.
            _checkpoint(batcher.journal)

    def _look_for_tables(self) -> None:
        """Take up new tables of slow features, on another thread since they are checked whole."""
        if self._stopping.is_set():
            return
        asyncio.get_running_loop().call_later(_LOOK, self._look_for_tables)
        if (store := self._store) and store.slow is not None:
            self._spawn(self._refresh(store.slow))

    async def _refresh(self, tables: SlowTables) -> None:
        await asyncio.get_running_loop().run_in_executor(None, tables.refresh)

    def _change_keys(self, batcher: Batcher) -> None:
        """Start over from a snapshot, with the secret keys of now."""
        batcher.drain()
        if batcher.fault is None:
            self._unready("restoring")
            self._spawn(self._start_over(batcher))

    async def _start_over(self, batcher: Batcher) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._snapshot, batcher.decider, batcher.journal)
        except (SlidrError, OSError) as fault:
            _log.warning("no snapshot was written, so the restart folds more of the journal: %s", fault)
        batcher.journal.close()
        await self._restore_until_it_works()

    async def _write(self, snapshots: list[Snapshot], journal: Journal) -> None:
        def write() -> None:
            # The journal is synced first: a snapshot must never know of a click that the journal may still lose.
            journal.checkpoint()
            self._files.write(snapshots)

        try:
            await asyncio.get_running_loop().run_in_executor(None, write)
        except (SlidrError, OSError) as fault:
            _log.warning("no snapshot was written, so the next start folds more of the journal: %s", fault)
        self._checkpointing = False

    async def _checkpoint(self, journal: Journal) -> None:
        await asyncio.get_running_loop().run_in_executor(None, _checkpoint, journal)
        self._checkpointing = False

    def _spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _checkpoint(journal: Journal) -> None:
    try:
        journal.checkpoint()
    except SlidrError as fault:
        _log.warning("the journal's log could not be moved, which is tried again: %s", fault)


def _search(path: Path, click_id: str) -> Entry | None:
    with Journal(path, write=False) as journal:
        return journal.by_click(click_id)
