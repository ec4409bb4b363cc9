from __future__ import annotations

import asyncio
import sys
import time

import pytest
import uvloop

from slidr.load.alarm import Alarm


async def rung(*ahead: float) -> list[float]:
    """Set an alarm to several times, one after another, and return how late it rang until it rang."""
    lags: list[float] = []
    finished = asyncio.Event()

    def ring() -> None:
        lags.append(time.perf_counter() - at)
        finished.set()

    alarm = Alarm(asyncio.get_running_loop(), ring)
    for seconds in ahead:
        at = time.perf_counter() + seconds
        alarm.set(at)
    await finished.wait()
    alarm.close()
    return lags


def run(*ahead: float) -> list[float]:
    """Run `rung` on the loop that sends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(rung(*ahead))


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("ahead", [(0.01,), (0.0,), (-1.0,), (5.0, 0.004)])
def test_an_alarm_rings_once_and_never_early(
    monkeypatch: pytest.MonkeyPatch, platform: str, ahead: tuple[float, ...]
) -> None:
    """The last time that was set counts, one that has passed is at once; with the system's timer and without."""
    monkeypatch.setattr(sys, "platform", platform)
    (lag,) = run(*ahead)
    assert lag >= 0


def test_an_alarm_set_anew_after_it_went_off_waits_again() -> None:
    """What went off for a time that no longer counts does not ring."""

    async def late() -> float:
        lags: list[float] = []
        finished = asyncio.Event()

        def ring() -> None:
            lags.append(time.perf_counter() - at)
            finished.set()

        alarm = Alarm(asyncio.get_running_loop(), ring)
        alarm.set(time.perf_counter() + 0.0001)
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        at = time.perf_counter() + 0.01
        alarm.set(at)
        await finished.wait()
        alarm.close()
        assert len(lags) == 1
        return lags[0]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(late()) >= 0
