"""Lifecycle: a service starts from its journal, is ready once warm, mends itself after a fault, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from slidr.clock import Clock, SystemClock
from slidr.errors import ServiceError, SlidrError
from slidr.features.clicks import Click
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry, Journal
from slidr.rules import ListRule
from slidr.service.answers import Answer, Recorder, enforcement
from slidr.service.batching import Batcher
from slidr.service.door import Admitted, Door
from slidr.service.live import Live
from slidr.service.log import tell
from slidr.service.metrics import Metrics
from slidr.service.opening import Opened, Parts, close_in, fits, open_all, reopen
from slidr.service.queue import Limits, UnavailableError
from slidr.service.recovery import catch_up
from slidr.service.state_files import StateFiles
from slidr.service.turns import short_turns
from slidr.service.upkeep import Upkeep
from slidr.service.warming import warm_up
from slidr.settings import duration

__all__ = ["Parts", "Service"]

_TICK = 0.25  # seconds between two looks at what can be done while no request waits
_LOOK = 60.0  # seconds between two looks for a new table of slow features
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between attempts to restore; the last one repeats
_log = logging.getLogger("slidr.service")


class Service:
    """Decides the clicks of requests and keeps the journal; needs no socket.

    Args:
        parts: what it is made of.
        clock: tells the time; the machine's where None.
        metrics: where it counts; its own registry where None.

    Attributes:
        parts: what it is made of now; other bundles after a swap.
        clock: tells the time.
        state: `starting`, `ready`, `restoring` (after a fault), `draining` or `stopped`.
        ready: set while the state is `ready`.
        stopping: set once it ends.
    """

    def __init__(self, parts: Parts, *, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self.parts = parts
        self.clock: Clock = SystemClock() if clock is None else clock
        self.metrics = Metrics(self.clock) if metrics is None else metrics
        self.state = "starting"
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()
        self._batcher: Batcher | None = None
        self._door: Door | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keys_change: int | None = None
        self._changing = asyncio.Lock()
        seed, days = parts.root / parts.settings.storage.seed, parts.settings.service.state_days
        self._files = StateFiles(parts.snapshot_path, seed, parts.ring, days)
        keep = duration(parts.settings.lake.journal_keep)
        self._upkeep = Upkeep(self._files, self.spawn, keep, self.clock)
        self.metrics.watch(
            queue=lambda: self._batcher.waiting if self._batcher else 0,
            entities=lambda: store.live if (store := self._store) else 0,
            evicted=lambda: store.evicted if (store := self._store) else 0,
        )
        self.metrics.watch_disk(parts.journal_path)
        self._watch_lists()
        self.metrics.watch_slow(lambda: self._batcher.live.store.slow if self._batcher else None, self.clock)

    @property
    def batcher(self) -> Batcher:
        """What decides queued clicks and keeps the journal.

        Raises:
            UnavailableError: the service is not ready.
        """
        if self._batcher is None:
            raise UnavailableError(f"the service is {self.state}; retry in a moment")
        return self._batcher

    @property
    def _store(self) -> EmbeddedStore | None:
        store = self._batcher.live.store if self._batcher else None
        return store if isinstance(store, EmbeddedStore) else None

    async def start(self) -> None:
        """Restore the state, compile what requests need, and become ready.

        Raises:
            SlidrError: snapshot, journal, bundle or shared store cannot be used.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, warm_up, self.parts)
        self._take_over(await loop.run_in_executor(None, self._restore))
        self._tick()
        loop.call_later(_LOOK, self._look_for_tables)

    async def drain(self) -> None:
        """Be unready for a while, so that a balancer sends its clicks elsewhere, and decide what still comes."""
        if self._batcher is not None:
            self.state = "draining"
            self.ready.clear()
            self.metrics.ready.set(0)
            await asyncio.sleep(self.parts.settings.service.drain_seconds)

    async def stop(self) -> None:
        """Finish what was accepted, write a snapshot of the state, and close the journal."""
        batcher = self._batcher
        self.stopping.set()
        if batcher is not None:
            await batcher.drain()
        self._unready("stopped")
        await asyncio.gather(*self._tasks)
        self._upkeep.close()
        if batcher is None:
            return
        if batcher.fault is None:
            self._upkeep.snapshot(batcher.live, batcher.journal)
        if batcher.live.shared is not None:
            batcher.live.shared.close()
        batcher.journal.close()

    def accept(self, body: bytes, *, lines: bool = False) -> tuple[Admitted[Click], asyncio.Future[list[Answer]]]:
        """Parse, check and queue the clicks of a request; the future holds the answers of those admitted, in order.

        Args:
            body: one click in JSON, an array of them, or one a line.
            lines: whether each line is a click of its own.

        Raises:
            RefusedError: the request is refused whole.
            OverloadError: the queue is full.
            UnavailableError: the service is not ready.
        """
        admitted = self._admit(body, lines=lines)
        return admitted, self.batcher.submit(admitted.items)

    def decide(
        self,
        body: bytes,
        told: Callable[[Admitted[Click], list[Answer] | ServiceError], None],
        *,
        lines: bool = False,
    ) -> int:
        """Parse, check and queue the clicks of a request; `told` takes their answers as soon as they are journalled.

        Args:
            body: see `accept`.
            told: takes what was admitted and its answers, in order, or why there are none.
            lines: see `accept`.

        Returns:
            How many clicks came, with those that are malformed.

        Raises:
            RefusedError: see `accept`.
            OverloadError: see `accept`.
            UnavailableError: see `accept`.
        """
        admitted = self._admit(body, lines=lines)
        self.batcher.decide(admitted.items, partial(told, admitted))
        return admitted.size

    def _admit(self, body: bytes, *, lines: bool) -> Admitted[Click]:
        batcher, door = self._batcher, self._door
        if batcher is None or door is None:
            raise UnavailableError(f"the service is {self.state}; retry in a moment")
        began = time.perf_counter()
        admitted = door.admit(body, lines=lines)
        if admitted.faults:
            self.metrics.malformed.inc(len(admitted.faults))
        batcher.door_seconds += time.perf_counter() - began
        return admitted

    async def history(self, click_id: str) -> list[Entry]:
        """Return the journalled decisions of a click, oldest first; none where this process decided none.

        A click of about the last hour is found at once where this process holds the state, otherwise the journal is
        read whole.

        Raises:
            UnavailableError: the service is not ready.
            JournalError: the journal cannot be read.
        """
        batcher = self.batcher
        key = int(batcher.live.champion.pseudonymiser.texts([click_id]).view("int64")[0])
        store = self._store
        sequence = None if store is None else store.recent.find(key)
        if sequence is not None and (entry := batcher.journal.find([sequence]).get(sequence)) is not None:
            return [entry]
        return await asyncio.get_running_loop().run_in_executor(None, _search, self.parts.journal_path, click_id)

    def report(self) -> dict[str, object]:
        """Return state, bundles and the number of clicks folded."""
        challenger = self.parts.challenger
        return {
            "state": self.state,
            "bundle": self.parts.bundle.id,
            "challenger": None if challenger is None else challenger.id,
            "sequence": store.sequence if (store := self._store) else None,
        }

    async def swap(self, parts: Parts) -> None:
        """Let other bundles decide; everything is made ready beside what decides, so that no request fails.

        Args:
            parts: with the other bundles; the list rules stay those that run.

        Raises:
            SlidrError: they cannot decide here, or the champion's state is cold; what decided goes on.
        """
        async with self._changing:
            with short_turns():
                await self._change(parts._replace(rules=self.parts.rules))

    async def relist(self, rules: Sequence[ListRule]) -> tuple[str, ...]:
        """Let list rules find with other lists, from the next batch on; as `swap`.

        Args:
            rules: made of the same settings as those that run.

        Returns:
            The rules that have another version now, each with it; none where the lists are as they were but for their
            dates.

        Raises:
            SlidrError: see `swap`.
        """
        async with self._changing:
            before = {rule.name: rule.version for rule in self.parts.rules}
            changed = tuple(f"{rule.name} {rule.version}" for rule in rules if before.get(rule.name) != rule.version)
            if changed:
                with short_turns():
                    await self._change(self.parts._replace(rules=rules))
                self.metrics.list_changes.inc()
            else:
                self.parts = self.parts._replace(rules=rules)
            self._watch_lists()
            return changed

    def _watch_lists(self) -> None:
        self.metrics.watch_lists(self.parts.rules, duration(self.parts.settings.rules.stale_after))

    async def _change(self, parts: Parts) -> None:
        loop, batcher = asyncio.get_running_loop(), self.batcher
        before = batcher.live
        await loop.run_in_executor(None, warm_up, parts)
        if isinstance(before.store, EmbeddedStore) and not fits(parts, before):
            await self._upkeep.write(before, batcher.journal)
        after = await loop.run_in_executor(None, reopen, parts, before, self._files, self.clock)
        own = after.store if isinstance(after.store, EmbeddedStore) and after.store is not before.store else None
        if own is not None:
            await loop.run_in_executor(None, close_in, parts, own, batcher)
        if self._batcher is not batcher:
            raise UnavailableError("the service had to restore its state meanwhile")
        # What waits was parsed for the bundles before.
        batcher.decide_waiting()
        if own is not None:
            # The rest, between two batches: nothing is folded into the other store any more.
            catch_up(own, batcher.journal, parts.snapshot_path, fingerprint=before.champion.pseudonymiser.fingerprint)
            own.slow = before.store.slow if own.slow is None else own.slow
        for context in after.contexts:
            batcher.journal.declare(context)
        batcher.take_over(after)
        self.parts = parts
        self._door = self._make_door(after)
        self._serving(parts)

    def _restore(self) -> Opened:
        """Open the journal and bring a new store to where it ends."""
        opened = open_all(self.parts, self._files, self.clock)
        store = opened.live.store
        self._upkeep.restored(opened.live, opened.journal, opened.folded)
        if isinstance(store, EmbeddedStore):
            for block in store.cold_blocks(opened.live.champion.layout, store.newest):
                _log.warning(
                    "the state of %s is younger than its longest window: clicks are unmeasurable (state_cold) until it"
                    " is as old, unless state and journal are moved away after `slidr backfill`",
                    "+".join(block.entity),
                )
            _log.info("state restored up to click %d, %d of them from the journal", store.sequence, opened.folded)
        return opened

    def _take_over(self, opened: Opened) -> None:
        live, journal = opened.live, opened.journal
        if self.stopping.is_set():
            journal.close()
            return
        service = self.parts.settings.service
        self._keys_change = opened.keys_change
        self._door = self._make_door(live)
        recorder = Recorder(journal.id, enforcement(service), journal.next_unfolded)
        limits = Limits(service.queue, service.batch, service.deadline_ms / 1000)
        self._batcher = Batcher(live, journal, recorder, self.metrics, self.clock, limits, self._failed)
        self._serving(self.parts)
        self.metrics.ready.set(1)
        self.state = "ready"
        self.ready.set()

    def _make_door(self, live: Live) -> Door:
        service, addresses = self.parts.settings.service, live.champion.bundle.contract.ip == "address"
        return Door(live.click, addresses=addresses, most=service.batch_limit, clock=self.clock)

    def _serving(self, parts: Parts) -> None:
        challenger = None if parts.challenger is None else parts.challenger.id
        tell(bundle=parts.bundle.id)
        self.metrics.serving(parts.bundle.id, parts.bundle.manifest.created_at, challenger)

    def _unready(self, state: str) -> None:
        self.state = state
        self.ready.clear()
        self.metrics.ready.set(0)
        self._batcher = None

    def _failed(self, batcher: Batcher) -> None:
        """Stop deciding, and restore the state from snapshot and journal."""
        batcher.journal.close()
        if not self.stopping.is_set():
            self._unready("restoring")
            self.spawn(self._restore_until_it_works())

    async def _restore_until_it_works(self) -> None:
        attempt = 0
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), _PAUSES[min(attempt, len(_PAUSES) - 1)])
            try:
                restored = await asyncio.get_running_loop().run_in_executor(None, self._restore)
            except (SlidrError, OSError) as fault:
                attempt += 1
                _log.warning("attempt %d to restore the state failed: %s", attempt, fault)
            else:
                self._take_over(restored)
                return

    def _tick(self) -> None:
        """Do what is better done while no request waits, and what its time has come for."""
        if self.stopping.is_set():
            return
        asyncio.get_running_loop().call_later(_TICK, self._tick)
        batcher = self._batcher
        if batcher is not None and self._keys_change is not None and self.clock.now() >= self._keys_change:
            self._change_keys(batcher)
        elif batcher is not None:
            self._upkeep.tick(batcher)

    def _look_for_tables(self) -> None:
        if self.stopping.is_set():
            return
        asyncio.get_running_loop().call_later(_LOOK, self._look_for_tables)
        if self._batcher is not None:
            self._upkeep.look_for_tables(self._batcher)

    def _change_keys(self, batcher: Batcher) -> None:
        """Start over from a snapshot, with the secret keys of now."""
        self._unready("restoring")
        self.spawn(self._start_over(batcher))

    async def _start_over(self, batcher: Batcher) -> None:
        await batcher.drain()
        if batcher.fault is not None:
            return
        await asyncio.get_running_loop().run_in_executor(None, self._upkeep.snapshot, batcher.live, batcher.journal)
        batcher.journal.close()
        await self._restore_until_it_works()

    def spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        """Let work go on beside the requests; `stop` waits for it."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _search(path: Path, click_id: str) -> list[Entry]:
    with Journal(path, write=False) as journal:
        return journal.history(click_id)
