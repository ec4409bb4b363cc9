from __future__ import annotations

import time

from slidr.clock import DAY, HOUR, MINUTE, SECOND, Clock, ManualClock, SystemClock


def test_units_are_microseconds() -> None:
    """The units of time fit each other."""
    assert (SECOND, MINUTE, HOUR, DAY) == (10**6, 60 * 10**6, 3_600 * 10**6, 86_400 * 10**6)


def test_the_system_clock_tells_the_time_of_the_machine() -> None:
    """The system's clock lies between two readings of the machine's, in microseconds."""
    before = time.time_ns() // 1_000
    now = SystemClock().now()
    assert before <= now <= time.time_ns() // 1_000


def test_a_manual_clock_moves_only_when_told() -> None:
    """A manual clock stands still, moves forwards, and moves backwards."""
    clock = ManualClock(10 * SECOND)
    assert clock.now() == clock.now() == 10 * SECOND
    clock.advance(MINUTE)
    clock.advance(-2 * SECOND)
    assert clock.now() == 68 * SECOND


def test_both_are_clocks() -> None:
    """Either clock stands where a clock is asked for."""
    clocks: list[Clock] = [SystemClock(), ManualClock(0)]
    assert all(isinstance(clock.now(), int) for clock in clocks)
