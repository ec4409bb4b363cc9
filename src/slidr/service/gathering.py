"""Gathering: a scrape reaches one of several workers, which asks the others and answers for all.

Every sample gets the label `worker`. Sums over the workers are left to queries: where one of them starts over, its
counters do, which Prometheus tells from a fall of a sum only where they stand apart. Numbers are asked for, not read
from files that were written a while ago: two workers with files of two ages would have counters go back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

_PATIENCE = 1.0  # seconds that another worker may take; one that is restarting is left out


def merged(expositions: Mapping[str, bytes]) -> bytes:
    r"""Return the metrics of several workers as one exposition, each sample with the label `worker`.

    Args:
        expositions: by the worker's name, in the text format of Prometheus.

    >>> one = b"# HELP up 1 while it lives.\n# TYPE up gauge\nup 1.0\n"
    >>> print(merged({"0": one, "1": one}).decode(), end="")
    # HELP up 1 while it lives.
    # TYPE up gauge
    up{worker="0"} 1.0
    up{worker="1"} 1.0
    """
    families: dict[str, list[str]] = {}
    for worker, text in expositions.items():
        lines: list[str] = []
        for line in text.decode().split("\n"):
            if line.startswith("# HELP "):
                lines = families.setdefault(line.split(" ", 3)[2], [])
            if line.startswith("#"):
                if len(lines) < 2:  # noqa: PLR2004 the two lines that a family begins with
                    lines.append(line)
            elif line:
                lines.append(_labelled(line, worker))
    return "".join(f"{line}\n" for lines in families.values() for line in lines).encode()


def _labelled(line: str, worker: str) -> str:
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{worker}",{rest}'
    name, _, rest = line.partition(" ")
    return f'{name}{{worker="{worker}"}} {rest}'


class Gathering:
    """Shows the metrics of all workers, whichever is asked.

    Args:
        folder: where each worker has a socket; one for all of them, only theirs, and its path below 100 bytes.
        worker: the number of this one, from 1 on.
        workers: how many there are.
        exposition: gives the metrics of this one.
    """

    def __init__(self, folder: Path, worker: int, workers: int, exposition: Callable[[], bytes]) -> None:
        self._folder = folder
        self._worker = worker
        self._workers = workers
        self._exposition = exposition
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer the other workers.

        Raises:
            OSError: the folder cannot be used.
        """
        self._server = await asyncio.start_unix_server(self._answer, self._path(self._worker))

    async def stop(self) -> None:
        """Answer nobody any longer."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def gather(self) -> bytes:
        """Return the metrics of this worker and of all others that answer in time."""
        others = [number for number in range(1, self._workers + 1) if number != self._worker]
        found = dict(zip(others, await asyncio.gather(*map(self._ask, others)), strict=True))
        found[self._worker] = self._exposition()
        return merged({str(number): text for number, text in sorted(found.items()) if text})

    def _path(self, worker: int) -> str:
        return str(self._folder / f"{worker}.metrics")

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._exposition())
        try:
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def _ask(self, worker: int) -> bytes:
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._path(worker))
                try:
                    return await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""
