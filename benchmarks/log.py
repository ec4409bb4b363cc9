"""A simulated log as a stream: another process draws it day by day and hands over a chunk whenever asked.

Whoever folds the log holds one chunk of it, and the two never work at the same time. Every day has a million clicks,
so a longer log is more days of the same traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import pyarrow as pa

from slidr.simulate.days import simulate
from slidr.simulate.plan import Plan

DAY = 1_000_000
CHUNK = 65_536


def days(clicks: int) -> Iterator[pa.Table]:
    """Yield the CLICKS of each day of a log of about this many clicks."""
    plan = Plan(clicks=clicks, days=max(1, clicks // DAY), burn_in=0, settle=0)
    for day in simulate(plan, np.random.default_rng(1)):
        yield day.clicks


@contextmanager
def streamed(clicks: int) -> Iterator[Iterator[pa.Table]]:
    """Start the process and give the chunks of the log, each a CLICKS table, in order of time."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_send, args=(there, clicks))
    process.start()
    there.close()
    try:
        yield _receive(here)
    finally:
        here.close()
        process.join()


def _receive(connection: Connection) -> Iterator[pa.Table]:
    while True:
        connection.send(None)
        if not (content := connection.recv_bytes()):
            return
        yield pa.ipc.open_stream(content).read_all()


def _send(connection: Connection, clicks: int) -> None:
    try:
        for day in days(clicks):
            for start in range(0, day.num_rows, CHUNK):
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, day.schema) as stream:
                    stream.write_table(day.slice(start, CHUNK))
                connection.recv()
                connection.send_bytes(sink.getvalue())
        connection.recv()
        connection.send_bytes(b"")
    except (EOFError, BrokenPipeError):
        return  # Nobody wants the rest.
