"""Workers: several processes that decide behind one socket, and the parent that starts, replaces and ends them.

The parent holds the socket and decides nothing: where a worker ends, the others accept what comes, and no connection
that waits is lost. The workers share their state through Redis, and each has a journal of its own.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from slidr.clock import Clock
from slidr.errors import ServiceError, SettingsError, SlidrError
from slidr.service.log import set_up, tell
from slidr.service.opening import Parts, check_shared
from slidr.service.server import Announce, Server, Worker, open_entrance
from slidr.service.shares import Shares

OpenParts = Callable[[], Parts]
"""Opens what a service is made of in the process that calls it; a function of a module, or a partial of one."""
_Announce = Callable[[Literal["listening", "ready", "stopped"]], object]
_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)  # seconds before a worker is started again; the last one repeats
_STEADY = 30.0  # seconds of deciding after which an end is no longer one of a row
_ATTEMPTS = 3  # ends in a row after which a worker is taken for one that cannot live
_PATIENCE = 60.0  # seconds beyond its drain that a worker that is replaced may take to end
_HELD = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
_log = logging.getLogger("slidr.service")


def serve_workers(
    parts: Parts, open_parts: OpenParts, *, announce: Announce | None = None, clock: Clock | None = None
) -> None:
    """Serve with `service.workers` processes until SIGTERM or SIGINT; SIGHUP replaces them one after another.

    Args:
        parts: what a worker is made of, to be checked before any is started.
        open_parts: opens it in every worker.
        announce: told when the parent listens, when all workers are ready, and when they have stopped.
        clock: tells the workers the time; the machine's where None.

    Raises:
        SettingsError: the workers would share no state.
        ServiceError: the address cannot be listened on, or the workers cannot live.
        SlidrError: what a worker needs cannot be used.
    """
    settings = parts.settings
    if settings.service.workers > 1 and not settings.store.redis:
        raise SettingsError(
            f"service.workers = {settings.service.workers}: several processes share their state through Redis, and"
            " store.redis is empty; set it or --store, such as redis://127.0.0.1:6379, or serve with one worker"
        )
    entrance = open_entrance(parts, clock)
    try:
        check_shared(parts)
        with tempfile.TemporaryDirectory(prefix="slidr-") as folder:
            supervisor = _Supervisor(open_parts, settings.service.workers, entrance.socket, Path(folder), clock)
            supervisor.drain_seconds = settings.service.drain_seconds
            asyncio.run(supervisor.run(lambda state: announce and announce(state, entrance.url)))
    finally:
        entrance.socket.close()


class _Worker:
    """One process, from its start to its end.

    Attributes:
        ready: why it ended before it decided; empty once it decides.
        ended: how it ended, in words.
        following: the process that took its place.
        retiring: whether it was told to make room.
    """

    def __init__(self, number: int, process: multiprocessing.process.BaseProcess, told: Connection) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.ready: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self.following: asyncio.Future[_Worker] = loop.create_future()
        self.retiring = False
        self.fault = ""
        self.since = time.monotonic()
        self._process = process
        self._told = told
        self._loop = loop
        loop.add_reader(told, self._hear)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.pid is not None and not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _hear(self) -> None:
        """Take its word; the end of the pipe is the end of the process."""
        try:
            self.fault = self._told.recv()
        except (EOFError, OSError):
            self._end()
        else:
            if not self.fault:
                self.since = time.monotonic()
                self.ready.set_result("")

    def _end(self) -> None:
        self._loop.remove_reader(self._told)
        self._told.close()
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        words = f"worker {self.number} {how}{f': {self.fault}' if self.fault else ''}"
        if not self.ready.done():
            self.ready.set_result(words)
        self.ended.set_result(words)


class _Supervisor:
    """The parent of the workers.

    Args:
        open_parts: called by every worker.
        count: how many workers there shall be.
        shared: the socket that they accept from.
        folder: where they ask each other for metrics.
        clock: tells them the time.

    Attributes:
        drain_seconds: that a worker may take to let its clients go.
    """

    def __init__(
        self, open_parts: OpenParts, count: int, shared: socket.socket, folder: Path, clock: Clock | None
    ) -> None:
        self.drain_seconds = 0.0
        self._open_parts = open_parts
        self._count = count
        self._socket = shared
        self._folder = folder
        self._shares = Shares(folder, count)
        self._clock = clock
        self._workers: dict[int, _Worker] = {}
        self._failures: dict[int, int] = {}
        self._was_ready = False
        self._rolling: asyncio.Task[None] | None = None

    async def run(self, announce: _Announce) -> None:
        """Keep the workers until a signal ends them, or none of them can live."""
        loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._roll)
        announce("listening")
        tasks = [loop.create_task(self._keep(number)) for number in range(1, self._count + 1)]
        starting = loop.create_task(self._announce_ready(announce))
        try:
            await self._ending
        finally:
            for task in (*tasks, starting, *([self._rolling] if self._rolling else [])):
                task.cancel()
            for worker in self._workers.values():
                worker.send(signal.SIGTERM)
            await asyncio.gather(*(worker.ended for worker in self._workers.values()))
        announce("stopped")

    def _end(self) -> None:
        if not self._ending.done():
            self._ending.set_result(None)

    async def _announce_ready(self, announce: _Announce) -> None:
        """Tell that all workers decide, once they do."""
        while not self._was_ready:
            # Those that take the place of workers that failed are awaited too.
            words = await asyncio.gather(*(asyncio.shield(worker.ready) for worker in self._workers.values()))
            self._was_ready = len(words) == self._count and not any(words)
            await asyncio.sleep(0 if self._was_ready else _PAUSES[0])
        announce("ready")

    async def _keep(self, number: int) -> None:
        """See to it that there is a worker of this number."""
        before: _Worker | None = None
        while True:
            worker = self._workers[number] = self._start(number)
            if before is not None:
                before.following.set_result(worker)
            # Shielded, for who awaits is cancelled in the end, and the worker's end is to be heard still.
            before, words = worker, await asyncio.shield(worker.ended)
            # What it had open when it was killed would keep the others waiting for it to take its share.
            self._shares.tell(number, None)
            if worker.retiring:
                continue
            lived = worker.ready.result() == "" and time.monotonic() - worker.since > _STEADY
            failures = self._failures[number] = 1 if lived else self._failures.get(number, 0) + 1
            _log.error("%s; it is started again", words)
            if self._hopeless(worker):
                if not self._ending.done():
                    self._ending.set_exception(ServiceError(worker.fault or f"{words}, {failures} times in a row"))
                return
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])

    def _hopeless(self, worker: _Worker) -> bool:
        """Return whether to give up: at the start over any worker, later once none of them can live."""
        many = [self._failures.get(number, 0) >= _ATTEMPTS for number in self._workers]
        return all(many) if self._was_ready else bool(worker.fault) or any(many)

    def _start(self, number: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        hear, told = context.Pipe(duplex=False)
        place = Worker(number, self._count, self._socket, self._folder)
        process = context.Process(
            target=_work, args=(self._open_parts, place, told, self._clock), name=f"slidr-{number}"
        )
        # What is sent to a worker before it can deal with it waits until it can. The tracker of the standard library is
        # started first, for it would let the signals through again.
        resource_tracker.ensure_running()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            told.close()
        return _Worker(number, process, hear)

    def _roll(self) -> None:
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.get_running_loop().create_task(self._replace_all())

    async def _replace_all(self) -> None:
        """Replace the workers one after another; stop where one that follows cannot live."""
        for number in range(1, self._count + 1):
            worker = self._workers[number]
            worker.retiring = not worker.ended.done()
            worker.send(signal.SIGHUP)
            try:
                await asyncio.wait_for(asyncio.shield(worker.ended), self.drain_seconds + _PATIENCE)
            except TimeoutError:
                _log.error("worker %d does not end; it is killed, and what it acknowledged is in its journal", number)
                worker.send(signal.SIGKILL)
            words = await asyncio.shield((await worker.following).ready)
            if words:
                _log.error("%s; the other workers are not replaced", words)
                return
            _log.info("worker %d of %d is replaced", number, self._count)


def _work(open_parts: OpenParts, place: Worker, told: Connection, clock: Clock | None) -> None:
    """Serve, in a process of its own."""
    try:
        parts = open_parts()._replace(worker=place.number)
        set_up(parts.settings.service.log, parts.settings.service.log_level)
        tell(worker=str(place.number))

        def announce(state: str, _url: str) -> None:
            if state == "ready":
                with suppress(OSError):  # The parent is gone, and this process is about to end too.
                    told.send("")

        Server(parts, announce=announce, clock=clock, worker=place).run()
    except SlidrError as fault:
        with suppress(OSError):
            told.send(str(fault))
        sys.exit(1)
