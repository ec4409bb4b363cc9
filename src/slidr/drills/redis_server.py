"""A Redis server of a drill's own, which can be killed and comes back empty."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from redis.exceptions import ConnectionError as LostError

from redis import Redis
from slidr.errors import ServiceError

_HOST = "127.0.0.1"
_SOON = 30.0  # seconds in which a server must answer


class RedisServer:
    """A server that writes nothing to the disk.

    Args:
        folder: for its log.

    Raises:
        ServiceError: no server is installed.
    """

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
        found = shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)
        if found is None:
            raise ServiceError(
                "this drill needs a redis-server or valkey-server on the PATH; install Redis 7 or Valkey"
            )
        self._program = found
        self._log = folder / "redis.log"
        with socket.socket() as listener:
            listener.bind((_HOST, 0))
            self._port = int(listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The address that a store takes."""
        return f"redis://{_HOST}:{self._port}"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.kill()

    def start(self) -> None:
        """Start it empty, and wait until it answers.

        Raises:
            ServiceError: it does not; the message has what it said.
        """
        command = [self._program, "--port", str(self._port), "--bind", _HOST, "--save", ""]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 our own command
        end = time.monotonic() + _SOON
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise ServiceError(f"the Redis of the drill did not start: {self._log.read_text()[-400:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does: at once, with nothing written."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with Redis(_HOST, self._port) as client:
                return bool(client.ping())
        except LostError:
            return False
