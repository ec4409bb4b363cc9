"""Load: clicks sent to a service over HTTP, as fast as it answers or at a rate of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidr.load.sending import UNANSWERED, Answer, Limits, Request, Target, send

__all__ = ["UNANSWERED", "Replay", "replay"]


@dataclass(frozen=True, eq=False)
class Replay:
    """What became of n requests, in the order in which they were given.

    Attributes:
        statuses: int16[n], HTTP status; UNANSWERED where no answer came.
        bodies: the answers' bodies; empty where no answer came.
        latencies: float64[n], seconds from the intended or, without a rate, the actual time of sending; NaN where no
            answer came.
        seconds: from the first request to the last answer.
    """

    statuses: NDArray[np.int16]
    bodies: list[bytes]
    latencies: NDArray[np.float64]
    seconds: float

    @property
    def unanswered(self) -> int:
        """Requests without an answer."""
        return int(np.count_nonzero(self.statuses == UNANSWERED))

    @property
    def rate(self) -> float:
        """Answers a second."""
        return (len(self.bodies) - self.unanswered) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """Return the latency, in milliseconds, within which this share of the answers came; NaN without answers."""
        answered = self.latencies[~np.isnan(self.latencies)]
        return float(np.quantile(answered, share)) * 1000 if len(answered) else float("nan")


def replay(
    url: str,
    bodies: Sequence[bytes],
    *,
    connections: int = 8,
    rate: float | None = None,
    patience: float = 30.0,
    progress: Callable[[int], None] | None = None,
) -> Replay:
    """Post JSON bodies to a URL and return every answer.

    Args:
        url: such as `http://127.0.0.1:8710/v1/decisions`.
        bodies: of the requests, sent in this order; answers may overtake each other on several connections.
        connections: kept open throughout; each carries one request at a time.
        rate: requests a second; None sends the next as soon as a connection is free.
        patience: seconds without any answer after which to give up.
        progress: called with the number of further answers, about every hundredth of them.

    Raises:
        ServiceError: the URL is not one, nobody listens there, what comes back is not HTTP, or nothing comes back.
    """
    statuses = np.full(len(bodies), UNANSWERED, np.int16)
    latencies = np.full(len(bodies), np.nan)
    kept = [b""] * len(bodies)
    step = max(1, len(bodies) // 100)
    settled = 0

    def take(answer: Answer) -> None:
        nonlocal settled
        number, statuses[number], kept[number], latencies[number], _ = answer
        settled += 1
        if progress is not None and (settled % step == 0 or settled == len(bodies)):
            progress(settled - (settled - 1) // step * step)

    requests = (Request(body, None if rate is None else at / rate) for at, body in enumerate(bodies))
    limits = Limits(connections=min(connections, max(1, len(bodies))), patience=patience)
    sent = send(Target(url), requests, take, limits)
    return Replay(statuses, kept, latencies, sent.seconds)
