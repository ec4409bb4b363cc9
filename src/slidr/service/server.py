"""The server: a socket, uvicorn on uvloop and httptools, and the signals that end it in order.

Where it is one of several workers behind one socket, it accepts connections only while it decides, in turn with the
others that stand behind the socket.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import multiprocessing
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import uvicorn
import uvloop

from slidr.clock import Clock, SystemClock
from slidr.errors import ServiceError
from slidr.service.app import App
from slidr.service.auth import Keys, check_exposure
from slidr.service.following import Follower
from slidr.service.gathering import Gathering
from slidr.service.lifecycle import Parts, Service
from slidr.service.list_following import ListFollower
from slidr.service.protocol import BACKLOG, configure, make_room
from slidr.service.shares import Listener, Shares
from slidr.service.tls import Certificate

Announce = Callable[[Literal["listening", "ready", "stopped"], str], None]
_LEAVE = 1.0  # seconds, at least, in which the clients of a worker that is replaced are told to go elsewhere
_LOOK = 0.05  # seconds between two looks whether they have gone


class Worker(NamedTuple):
    """One of several processes behind one socket.

    Attributes:
        number: from 1 on.
        total: how many there shall be.
        socket: that all accept from; the parent keeps it open.
        folder: where they ask each other for metrics.
    """

    number: int
    total: int
    socket: socket.socket
    folder: Path


class Entrance(NamedTuple):
    """What requests come through.

    Attributes:
        socket: listens.
        url: the address, with the port that was chosen where the settings say 0.
        keys: what a request must show.
        certificate: shown to clients; None where they speak without TLS.
    """

    socket: socket.socket
    url: str
    keys: Keys
    certificate: Certificate | None


def open_entrance(parts: Parts, clock: Clock | None = None, shared: socket.socket | None = None) -> Entrance:
    """Listen as the settings say.

    Args:
        parts: `settings.service` has host and port.
        clock: tells when keys expire; the machine's where None.
        shared: a socket that listens already; a new one where None.

    Raises:
        ServiceError: the address cannot be listened on, or others reach it and no API key is asked for.
        SettingsError: the file of API keys, or the TLS certificate, cannot be used.
    """
    service = parts.settings.service
    keys = Keys(parts.root / parts.settings.storage.api_keys, clock or SystemClock())
    certificate = None
    if service.tls_certificate:
        certificate = Certificate(parts.root / service.tls_certificate, parts.root / service.tls_key)
    bound = shared or _bound(service.host, service.port)
    host, port = bound.getsockname()[:2]
    try:
        check_exposure(keys, host, allowed=service.open)
    except ServiceError:
        bound.close()
        raise
    scheme = "https" if certificate else "http"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    return Entrance(bound, url, keys, certificate)


class Server:
    """One service behind one socket.

    Args:
        parts: what the service is made of; `settings.service` has host and port.
        announce: told when the server listens, when it is ready to decide, and when it has stopped, with its address.
        clock: tells the time; the machine's where None.
        worker: its place among several; None where it is alone.

    Attributes:
        url: the address, with the port that was chosen where the settings say 0.

    Raises:
        ServiceError: the address cannot be listened on, or others reach it and no API key is asked for.
        SettingsError: the file of API keys, or the TLS certificate, cannot be used.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        announce: Announce | None = None,
        clock: Clock | None = None,
        worker: Worker | None = None,
    ) -> None:
        self._parts = parts
        self._announce: Announce = announce or (lambda _state, _url: None)
        self._clock = clock
        self._worker = worker
        self._entrance = open_entrance(parts, clock, worker.socket if worker else None)
        self.url = self._entrance.url
        self._uvicorn: _Uvicorn | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._service: Service | None = None
        self._ending: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT; then finish what was accepted and return.

        Raises:
            SlidrError: the service could not start.
        """
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        finally:
            self._entrance.socket.close()
            gc.enable()
            gc.unfreeze()

    def stop(self) -> None:
        """End `run` once the service has drained; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._ending is None and self._service is not None:
            self._ending = asyncio.get_running_loop().create_task(self._drain(self._service))

    async def _drain(self, service: Service) -> None:
        if self._parts.settings.service.drain_seconds:
            self._leaving.set()
        await service.drain()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    def _retire(self) -> None:
        if self._ending is None and self._uvicorn is not None:
            self._ending = asyncio.get_running_loop().create_task(self._make_room(self._uvicorn))

    async def _make_room(self, server: _Uvicorn) -> None:
        """Leave new connections to the other workers, and let those that are open end with their next answer."""
        self._leaving.set()
        for listener in server.servers:
            listener.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + max(self._parts.settings.service.drain_seconds, _LEAVE)
        while server.server_state.connections and loop.time() < end:  # noqa: ASYNC110 uvicorn tells of none that ends
            await asyncio.sleep(_LOOK)
        server.should_exit = True

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._leaving = asyncio.Event()
        service = self._service = Service(self._parts, clock=self._clock)
        settings, entrance = self._parts.settings.service, self._entrance
        gathering = self._gathering(service)
        app = App(service, settings.body_limit, entrance.keys, gathering)
        make_room(settings.connections)
        if entrance.certificate is not None:
            entrance.certificate.follow(loop)
        config = configure(app, settings, entrance.certificate, service.metrics.refused, self._leaving)
        server = self._uvicorn = _Uvicorn(config, self._worker)
        self._hear_signals(loop)
        starting = loop.create_task(self._start(service))
        try:
            if gathering is not None:
                # Nobody is accepted before he can be served, since others behind the same socket can do that.
                await starting
                await gathering.start()
            await server.serve(sockets=[entrance.socket])
            await starting
        finally:
            await service.stop()
            if gathering is not None:
                await gathering.stop()
        self._announce("stopped", self.url)

    def _gathering(self, service: Service) -> Gathering | None:
        worker = self._worker
        if worker is None:
            return None
        service.metrics.workers.set(worker.total)
        return Gathering(worker.folder, worker.number, worker.total, service.metrics.exposition)

    def _hear_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let signals end this process in order; the end of its parent does too."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        if self._worker is not None:
            loop.add_signal_handler(signal.SIGHUP, self._retire)
            # The parent held them back until somebody would hear them.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
            if (parent := multiprocessing.parent_process()) is not None:
                loop.add_reader(parent.sentinel, self._orphaned, parent.sentinel)

    def _orphaned(self, sentinel: int) -> None:
        if self._loop is not None:
            self._loop.remove_reader(sentinel)
        self._end()

    async def _start(self, service: Service) -> None:
        self._announce("listening", self.url)
        try:
            await service.start()
        except BaseException:
            self._end()
            raise
        if self._parts.follow:
            service.spawn(Follower(service).run(service.stopping))
        service.spawn(ListFollower(service).run(service.stopping))
        # Whatever lives now lives on: the collector need not look at it again, and looks at the rest between requests.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._announce("ready", self.url)


class _Uvicorn(uvicorn.Server):
    """Uvicorn without signal handlers of its own, which raise the signal again once it has been dealt with.

    Args:
        config: of uvicorn.
        worker: whose connections it takes in turn with the others; None where it is alone.
    """

    def __init__(self, config: uvicorn.Config, worker: Worker | None) -> None:
        super().__init__(config)
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        if (worker := self._worker) is None:
            await super().startup(sockets)
            return
        config, state = self.config, self.server_state

        def protocol() -> asyncio.Protocol:
            kind: Any = config.http_protocol_class
            made: asyncio.Protocol = kind(config=config, server_state=state, app_state=self.lifespan.state)
            return made

        worker.socket.setblocking(False)
        shares = Shares(worker.folder, worker.total)
        count = partial(len, state.connections)
        listener: Any = Listener(worker.socket, shares, worker.number, count, protocol, config.ssl)
        self.servers = [listener]
        self.started = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(parts: Parts, *, announce: Announce | None = None, clock: Clock | None = None) -> None:
    """Serve a bundle over HTTP until SIGTERM or SIGINT.

    Args:
        parts: what the service is made of.
        announce: told when it listens, is ready, has stopped.
        clock: tells the time; the machine's where None.

    Raises:
        ServiceError: the port is in use or may not be used, or snapshot and journal do not belong together.
        SlidrError: journal, snapshot or bundle cannot be used.
    """
    Server(parts, announce=announce, clock=clock).run()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as fault:
        words = {
            errno.EADDRINUSE: "the port is in use: stop who listens there, or set service.port (0 takes a free one)",
            errno.EACCES: "this account may not use the port: set service.port to one above 1023",
        }
        remedy = words.get(
            fault.errno or 0, f"{fault.strerror or fault}: set service.host to an address of this machine"
        )
        raise ServiceError(f"cannot listen on {host} port {port}: {remedy}") from None
