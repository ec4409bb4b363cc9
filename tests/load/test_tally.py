from __future__ import annotations

from array import array

import pytest

from slidr.load.sending import UNANSWERED, Answer, Sent
from slidr.load.tally import Tally, lags, milliseconds


def test_answers_are_counted_by_what_they_say() -> None:
    """Statuses, verdicts of single clicks and of arrays, clicks refused within an array, and the first problem."""
    tally = Tally()
    bodies = [
        (200, b'{"click_id":"a","verdict":"valid"}'),
        (200, b'[{"verdict":"valid"},{"verdict":"unmeasurable"},{"error":{"title":"malformed click"}}]'),
        (401, b'{"title":"unknown key"}'),
        (401, b'{"title":"another"}'),
        (UNANSWERED, b""),
    ]
    for number, (status, body) in enumerate(bodies):
        latency = float("nan") if status == UNANSWERED else 0.002
        tally(Answer(number, status, body, latency, latency / 2))
    tally.settle()
    assert tally.statuses == {200: 2, 401: 2, UNANSWERED: 1}
    assert tally.answered == 4
    assert tally.verdicts == {"valid": 2, "unmeasurable": 1}
    assert tally.refused == 1
    assert tally.problems == {200: '{"title":"malformed click"}', 401: '{"title":"unknown key"}'}
    assert (tally.latencies.count, tally.services.greatest) == (4, 0.001)


def test_what_another_service_answers_is_kept() -> None:
    """An answer of status 200 that holds no verdicts counts none, and the first such is shown."""
    tally = Tally()
    tally(Answer(0, 200, b"<html>", 0.1, 0.1))
    tally(Answer(1, 200, b'{"verdict": 7}', 0.1, 0.1))
    assert tally.verdicts == {}
    assert tally.problems == {200: "<html>"}


def test_the_space_is_bounded() -> None:
    """Latencies go to the histogram while the load runs, not only at its end."""
    tally = Tally()
    for number in range(10_000):
        tally(Answer(number, 200, b'{"verdict":"valid"}', 0.001, 0.001))
    assert tally.latencies.count == 8192


def test_lags_and_nothing_in_milliseconds() -> None:
    """What was never measured is null, and the sender's lags are told like latencies."""
    assert set(milliseconds(Tally().latencies).values()) == {None}
    assert milliseconds(lags(Sent(1.0, array("d", [0.001, 0.004]))))["max"] == pytest.approx(4.0)
