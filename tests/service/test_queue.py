"""The queue: bounded, in order, cut into batches, and nothing in it is forgotten."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.making import click

from slidr.errors import ServiceError
from slidr.features.clicks import Click
from slidr.service.answers import Answer
from slidr.service.queue import Limits, OverloadError, Queue, Request, UnavailableError

PATIENT = 1000.0
CLICKS = [msgspec.convert(click(place), Click) for place in range(300)]


def answer(place: int) -> Answer:
    """Return an answer for a click."""
    return Answer(f"click-{place}", None, "valid", False, (), "all", "b", place, True)


class Caller:
    """Who sent a request, and what was told."""

    def __init__(self, clicks: list[Click], *, age: float = 0.0) -> None:
        self.told: list[list[Answer] | ServiceError] = []
        self.request = Request(clicks, self.told.append, time.perf_counter() - age)


@given(st.lists(st.integers(1, 30), max_size=10), st.integers(1, 17))
def test_clicks_leave_as_they_came(sizes: list[int], batch: int) -> None:
    """Batches are full but for the last, in order, and each request is told all of its answers at once."""
    queue, callers, start = Queue(Limits(1000, batch, PATIENT)), [], 0
    for size in sizes:
        callers.append(Caller(CLICKS[start : start + size]))
        queue.add(callers[-1].request)
        start += size
    taken = 0
    while queue:
        assert queue.waiting == start - taken
        parts, clicks = queue.take()
        assert clicks == CLICKS[taken : taken + len(clicks)]
        assert len(clicks) == sum(count for _, count in parts) == min(batch, start - taken)
        for request, count in parts:
            request.answer([answer(place) for place in range(taken, taken + count)])
            taken += count
    assert (queue.waiting, taken) == (0, start)
    told = [answers for caller in callers for answers in caller.told]
    assert [one.sequence for answers in told if isinstance(answers, list) for one in answers] == list(range(start))
    assert [len(caller.told) for caller in callers] == [1] * len(sizes)


def test_it_is_bounded() -> None:
    """What does not fit is refused, however small; an empty queue takes any request; what leaves makes room."""
    queue = Queue(Limits(10, 8, PATIENT))
    queue.add(Caller(CLICKS[:20]).request)
    with pytest.raises(OverloadError, match="20 clicks wait, at most 10 may"):
        queue.add(Caller(CLICKS[20:21]).request)
    queue.take()
    queue.take()
    queue.add(Caller(CLICKS[20:26]).request)
    assert queue.waiting == 10


def test_what_is_late_is_known() -> None:
    """The oldest request is late once its deadline has passed; one that is begun is so only where that is said."""
    queue = Queue(Limits(100, 4, 5.0))
    assert not queue.overdue()
    queue.add(Caller(CLICKS[:6], age=6.0).request)
    queue.add(Caller(CLICKS[6:8], age=1.0).request)
    assert queue.overdue()
    queue.take()
    assert not queue.overdue()
    assert queue.overdue(begun=True)
    queue.take()
    assert not queue.overdue(begun=True)


def test_who_is_refused_is_told_once() -> None:
    """Clearing returns all requests that wait; a refusal is the last that is heard."""
    queue, caller = Queue(Limits(100, 4, PATIENT)), Caller(CLICKS[:2])
    queue.add(caller.request)
    (request,) = queue.clear()
    assert not queue
    assert queue.waiting == 0
    refusal = UnavailableError("not now")
    request.refuse(refusal)
    request.answer([answer(0), answer(1)])
    request.refuse(refusal)
    assert caller.told == [refusal]
