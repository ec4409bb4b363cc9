"""What a benchmark asks of the machine: one core, a process of its own, and how much memory it took."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")


def pin(core: int = -1) -> None:
    """Keep this process, and those it starts, on one of its cores: the last one, unless another place is given."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def apart(measured: Callable[..., _Result], *arguments: object) -> _Result:
    """Return what a function returns in a process of its own, where nothing was imported or allocated before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measured, *arguments).result()


def peak_rss_mb() -> int:
    """Return the most memory that this process held at once, in MB of 2^20 bytes."""
    # Not the first choice, because Linux lets a new process begin with the peak of the one that started it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return round(peak / 1024)
    return round(next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), peak) / 1024)


def seconds_of(measured: Callable[..., _Result], *arguments: object) -> tuple[float, _Result]:
    """Return how long a call took, and what it returned."""
    start = time.perf_counter()
    result = measured(*arguments)
    return time.perf_counter() - start, result
