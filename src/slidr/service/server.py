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

from slidr.clock import Clock
from slidr.errors import ServiceError
from slidr.service.app import App
from slidr.service.lifecycle import Parts, Service

Announce = Callable[[Literal["listening", "ready", "stopped"], str], None]
_BACKLOG = 2048
_KEEP_ALIVE = 75  # seconds


class Server:
    """One service behind one socket.

    Args:
        parts: what the service is made of; `settings.service` has host and port.
        announce: told when the server listens, when it is ready to decide, and when it has stopped, with its address.
        clock: tells the time; the machine's where None.

    Attributes:
        url: the address, with the port that was chosen where the settings say 0.

    Raises:
        ServiceError: the address cannot be listened on.
    """

    def __init__(self, parts: Parts, *, announce: Announce | None = None, clock: Clock | None = None) -> None:
        self._parts = parts
        self._announce: Announce = announce or (lambda _state, _url: None)
        self._clock = clock
        self._socket = _bound(parts.settings.service.host, parts.settings.service.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._uvicorn: _Uvicorn | None = None

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
        """End `run`; may be called from any thread."""
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        service = Service(self._parts, clock=self._clock)
        app = App(service, self._parts.settings.service.body_limit)
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_keep_alive=_KEEP_ALIVE,
            backlog=_BACKLOG,
        )
        server = self._uvicorn = _Uvicorn(config)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
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
            self.stop()
            raise
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
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as fault:
        words = {
            errno.EADDRINUSE: "the port is in use: stop who listens there, or set service.port (0 takes a free one)",
            errno.EACCES: "this account may not use the port: set service.port to one above 1023",
        }
        remedy = words.get(
            fault.errno or 0, f"{fault.strerror or fault}: set service.host to an address of this machine"
        )
        raise ServiceError(f"cannot listen on {host} port {port}: {remedy}") from None
