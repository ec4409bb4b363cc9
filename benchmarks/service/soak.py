"""Soak: the service at half load for minutes; its memory, and its journal beside what it acknowledged.

A click_id is remembered for at least an hour of event time, so in a soak that is shorter than that memory has to grow.
Event time therefore runs faster than the clock, from some hours ago up to now: what two hours fill is full after two
minutes of sixty times, and from then on memory must be flat.
"""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.service.measuring import Measured, drive, memory_mb
from benchmarks.service.serving import Running
from benchmarks.service.traffic import Traffic

from slidr.load.sending import Answer, Request

SPEED = 60
EVERY = 1.0
"""Seconds between two looks at the memory."""


class _Sequence(msgspec.Struct):
    sequence: int


_sequence = msgspec.json.Decoder(_Sequence)


class Soaked(NamedTuple):
    """What a soak came to.

    Attributes:
        measured: the load.
        memory: resident MB of the service, one a second.
        acknowledged: places in the fold of all decisions that were acknowledged.
    """

    measured: Measured
    memory: list[float]
    acknowledged: array[int]

    @property
    def growth(self) -> float:
        """MB by which the last tenth of the soak has more than the tenth behind its first 30 %, medians."""
        tenth = max(1, len(self.memory) // 10)
        early = self.memory[3 * tenth : 4 * tenth] or self.memory[:1]
        return round(float(np.median(self.memory[-tenth:]) - np.median(early)), 1)


def soak(running: Running, traffic: Traffic, rate: float, seconds: float, connections: int) -> Soaked:
    """Load a service at a rate, and watch it."""
    acknowledged, memory = array("q"), []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            memory.append(memory_mb(running.process.pid))

    def take(answer: Answer) -> None:
        acknowledged.append(_sequence.decode(answer.body).sequence)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        requests: Iterator[Request] = traffic.requests(1, None, rate, since=SPEED * seconds, speed=SPEED)
        measured = drive(running, requests, connections=connections, seconds=seconds, take=take)
    finally:
        ended.set()
        watching.join()
    return Soaked(measured, memory, acknowledged)


def lost(journal: Path, acknowledged: array[int]) -> int:
    """Return how many acknowledged decisions a journal does not hold."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as opened:
        held = np.array(opened.execute("SELECT sequence FROM decisions").fetchall(), np.int64).ravel()
    return int(np.count_nonzero(~np.isin(np.array(acknowledged, np.int64), held)))
