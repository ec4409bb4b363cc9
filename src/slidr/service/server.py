"""The server: a socket, uvicorn on uvloop and httptools, and the signals that end it in order."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
import uvloop

from slidr.clock import Clock, SystemClock
from slidr.errors import ServiceError
from slidr.service.app import App
from slidr.service.auth import Keys, check_exposure
from slidr.service.following import Follower
from slidr.service.lifecycle import Parts, Service
from slidr.service.protocol import BACKLOG, configure, make_room
from slidr.service.tls import Certificate

Announce = Callable[[Literal["listening", "ready", "stopped"], str], None]


class Server:
    """One service behind one socket.

    Args:
        parts: what the service is made of; `settings.service` has host and port.
        announce: told when the server listens, when it is ready to decide, and when it has stopped, with its address.
        clock: tells the time; the machine's where None.

    Attributes:
        url: the address, with the port that was chosen where the settings say 0.

    Raises:
        ServiceError: the address cannot be listened on, or others reach it and no API key is asked for.
        SettingsError: the file of API keys, or the TLS certificate, cannot be used.
    """

    def __init__(self, parts: Parts, *, announce: Announce | None = None, clock: Clock | None = None) -> None:
        self._parts = parts
        self._announce: Announce = announce or (lambda _state, _url: None)
        self._clock = clock
        service = parts.settings.service
        self._keys = Keys(parts.root / parts.settings.storage.api_keys, clock or SystemClock())
        self._certificate: Certificate | None = None
        if service.tls_certificate:
            self._certificate = Certificate(parts.root / service.tls_certificate, parts.root / service.tls_key)
        self._socket = _bound(service.host, service.port)
        host, port = self._socket.getsockname()[:2]
        try:
            check_exposure(self._keys, host, allowed=service.open)
        except ServiceError:
            self._socket.close()
            raise
        scheme = "https" if self._certificate else "http"
        self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
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
            self._socket.close()
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
        await service.drain()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        service = self._service = Service(self._parts, clock=self._clock)
        settings = self._parts.settings.service
        app = App(service, settings.body_limit, self._keys)
        make_room(settings.connections)
        if self._certificate is not None:
            self._certificate.follow(loop)
        config = configure(app, settings, self._certificate, service.metrics.refused)
        server = self._uvicorn = _Uvicorn(config)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._end)
        starting = loop.create_task(self._start(service))
        try:
            await server.serve(sockets=[self._socket])
            await starting
        finally:
            await service.stop()
        self._announce("stopped", self.url)

    async def _start(self, service: Service) -> None:
        self._announce("listening", self.url)
        try:
            await service.start()
        except BaseException:
            self._end()
            raise
        if self._parts.follow:
            service.spawn(Follower(service).run(service.stopping))
        # Whatever lives now lives on: the collector need not look at it again, and looks at the rest between requests.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._announce("ready", self.url)


class _Uvicorn(uvicorn.Server):
    """Uvicorn without signal handlers of its own, which raise the signal again once it has been dealt with."""

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
