"""Real Redis servers for tests: one, a cluster, a master with its replica, and a proxy with faults."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from select import select
from typing import Any, NamedTuple

import pytest
from redis.exceptions import ConnectionError as LostError

from redis import Redis

_DEADLINE = 120.0
"""Seconds after which a server that still is not there fails the test."""
_HOST = "127.0.0.1"
_SLOTS = 16_384


def server_program() -> str:
    """Return the path of a Redis or Valkey server; a test that needs one fails where there is none."""
    own = Path(__file__).parents[1] / ".venv" / "bin"
    path = os.pathsep.join([os.environ.get("PATH", ""), str(own)])
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name, path=path)) is not None:
            return found
    pytest.fail("no redis-server: run `make setup`, which unpacks one into .venv, or install Redis 7 or Valkey")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Ask again and again until something is so; fails the test where it never is."""
    end = time.monotonic() + _DEADLINE
    while not done():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not so within {_DEADLINE:g} s")


class Server:
    """A server with a folder and a port of its own.

    Args:
        folder: where it keeps its data and its log.
        options: options of redis-server, each an argument.
        password: what clients must give.
    """

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.password = password
        self._options = (*options, *(("--requirepass", password) if password else ()))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The address that a store takes."""
        return f"redis://{f':{self.password}@' if self.password else ''}{_HOST}:{self.port}"

    def start(self) -> None:
        """Start it, on the same port and with the data of its folder, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", _HOST, "--dir", str(self.folder), "--save", ""]
        # A replica gets its data at once, rather than after the five seconds that others could join in.
        options += ["--repl-diskless-sync-delay", "0", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([server_program(), *options], stdout=log, stderr=log)  # noqa: S603
        wait_until(self._answers, f"redis-server in {self.folder} answers")

    def ask(self, *command: str | bytes | int) -> Any:
        """Send a command and return the answer."""
        with Redis(_HOST, self.port, password=self.password or None) as client:
            return client.execute_command(*command)

    def names(self) -> list[bytes]:
        """Return the names of all keys."""
        return sorted(self.ask("KEYS", "*"))

    def kill(self) -> None:
        """End it as a crash does: at once, with nothing written."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def flush(self) -> None:
        """Empty it, and let it forget limits that a test has set."""
        self.ask("CONFIG", "SET", "maxmemory", "0")
        self.ask("FLUSHALL")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            pytest.fail(f"redis-server ended: {(self.folder / 'log').read_text()}")
        try:
            return bool(self.ask("PING"))
        except LostError:
            # Nothing listens yet, or it is loading its data.
            return False


def start_cluster(folder: Path, count: int = 3) -> list[Server]:
    """Start masters that share all slots evenly, and wait until each knows the others."""
    ports = [free_port() for _ in range(count)]
    servers = [
        Server(
            folder / str(place), "--cluster-enabled", "yes", "--cluster-port", str(port),
            "--cluster-node-timeout", "5000",
        )
        for place, port in enumerate(ports)
    ]  # fmt: skip
    try:
        bounds = [_SLOTS * place // count for place in range(count + 1)]
        for place, server in enumerate(servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            server.ask("CLUSTER", "ADDSLOTSRANGE", bounds[place], bounds[place + 1] - 1)
            servers[0].ask("CLUSTER", "MEET", _HOST, server.port, ports[place])
        wait_until(lambda: all(_knows(server, count) for server in servers), "the cluster is ok")
    except BaseException:
        for server in servers:
            server.kill()
        raise
    return servers


def _knows(server: Server, count: int) -> bool:
    slots, about = server.ask("CLUSTER", "SLOTS"), server.ask("CLUSTER", "INFO")
    return len(slots) == count and b"cluster_state:ok" in about


def follow(replica: Server, master: Server) -> None:
    """Make a server the replica of another, and wait until it has all that that one has."""
    replica.ask("REPLICAOF", _HOST, master.port)
    wait_until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up", "the replica follows")


class Fault(NamedTuple):
    """What happens to one exchange: the request that a client sends at once, and its answer.

    Attributes:
        request: whether the request reaches the server.
        answer: bytes of the answer that reach the client before the connection breaks; None for all, and no break.
    """

    request: bool = True
    answer: int | None = None


PASS = Fault()
LOSE_REQUEST = Fault(request=False, answer=0)
LOSE_ANSWER = Fault(answer=0)


class Proxy:
    """Stands between clients and a server, and does to each exchange what `faults` says; others pass.

    Attributes:
        faults: of the exchanges to come, in order.
        exchanges: how many there were.
        port: where it listens.
    """

    def __init__(self, server: Server) -> None:
        self.faults: deque[Fault] = deque()
        self.exchanges = 0
        self._server = server
        self._listener = socket.create_server((_HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address that a store takes."""
        return f"redis://{_HOST}:{self.port}"

    def plan(self, faults: Iterable[Fault]) -> None:
        """Let the exchanges from now on have these faults, and pass behind them."""
        self.faults = deque(faults)
        self.exchanges = 0

    def close(self) -> None:
        """Take no further connection."""
        # Closing alone would not wake the thread that waits for connections.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection((_HOST, self._server.port)) as server:
                self._exchange(client, server)
        except OSError:
            return

    def _exchange(self, client: socket.socket, server: socket.socket) -> None:
        fault, answered = PASS, True
        while True:
            ready: Sequence[socket.socket] = select([client, server], [], [])[0]
            if client in ready:
                request = client.recv(1 << 16)
                if request and answered:
                    fault = self.faults.popleft() if self.faults else PASS
                    self.exchanges += 1
                    answered = False
                if not request or not fault.request:
                    return
                server.sendall(request)
            if server in ready:
                answer = server.recv(1 << 16)
                answered = True
                client.sendall(answer[: fault.answer])
                if not answer or fault.answer is not None:
                    return
