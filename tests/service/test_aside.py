"""Work aside: it sees the memory as it was, changes nothing here, and its faults are told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from slidr.service.aside import Aside


def test_the_work_has_the_memory_as_it_was(tmp_path: Path) -> None:
    """What changes after the beginning is not in what the work writes, and what the work changes is not here."""
    held, written = [1], tmp_path / "written"

    def work() -> None:
        held.append(2)
        written.write_text(str(held))

    async def run() -> None:
        aside = Aside(work)
        held.append(3)
        await aside.done()

    asyncio.run(run())
    assert written.read_text() == "[1, 2]"
    assert held == [1, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no policy that yields to everybody")
@pytest.mark.parametrize("yielding", [True, False])
def test_the_work_yields(tmp_path: Path, *, yielding: bool) -> None:
    """It gets the core while nobody else wants it, or, where that took too long, a small share of it."""
    written = tmp_path / "written"

    def work() -> None:
        written.write_text(f"{os.sched_getscheduler(0) == os.SCHED_IDLE} {os.getpriority(os.PRIO_PROCESS, 0)}")

    async def run() -> None:
        await Aside(work, yielding=yielding).done()

    asyncio.run(run())
    assert written.read_text() == f"{yielding} 19"


def test_a_fault_is_told() -> None:
    """Who waits gets the reason, and no process is left."""

    def work() -> None:
        raise ValueError("no room on this disk")

    async def run() -> int:
        aside = Aside(work)
        with pytest.raises(OSError, match="no room on this disk"):
            await aside.done()
        return aside.process

    process = asyncio.run(run())
    with pytest.raises(ChildProcessError):
        os.waitpid(process, os.WNOHANG)


def test_a_killed_process_is_a_fault() -> None:
    """A process that ends before its work is done has not done it."""

    async def run() -> None:
        aside = Aside(signal.pause)
        os.kill(aside.process, signal.SIGKILL)
        with pytest.raises(OSError, match=r"ended with status 9"):
            await aside.done()

    asyncio.run(run())


def test_work_that_is_no_longer_wanted_ends() -> None:
    """Its process is killed, which is no fault, and who waits is told that the work was not done."""

    async def run() -> tuple[bool, int]:
        aside, looks = Aside(signal.pause), iter((True, True, False))
        return await aside.done(lambda: next(looks)), aside.process

    done, process = asyncio.run(run())
    assert not done
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_nobody_waiting_ends_the_process() -> None:
    """Where the wait is given up, the process ends too."""

    async def run() -> int:
        aside = Aside(signal.pause)
        waiting = asyncio.ensure_future(aside.done())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return aside.process

    process = asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_the_service_holds_is_not_held_by_the_work(tmp_path: Path) -> None:
    """Locks, ports and connections are closed there, so that they end with the service."""
    written = tmp_path / "written"
    reading, writing = os.pipe()

    def work() -> None:
        try:
            os.fstat(reading)
            os.fstat(writing)
        except OSError:
            written.write_text("closed")

    async def run() -> None:
        await Aside(work).done()

    # Below the first number that the work keeps lies nothing of ours.
    assert min(reading, writing) > 3
    asyncio.run(run())
    assert written.read_text() == "closed"
    os.close(reading)
    os.close(writing)
