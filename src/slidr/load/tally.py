"""Tally: what a load came to, in a fixed space however long it runs."""

from __future__ import annotations

from array import array
from collections import Counter
from http import HTTPStatus
from typing import Any

import msgspec

from slidr.load.histogram import Histogram
from slidr.load.sending import UNANSWERED, Answer, Sent

QUANTILES = (0.5, 0.75, 0.9, 0.99, 0.999, 0.9999)
_HELD = 8192  # latencies counted at once
_MILLISECONDS = 1000
_LONGEST = 300  # characters of a problem


class _Verdict(msgspec.Struct):
    verdict: str | None = None
    error: dict[str, Any] | None = None


_verdicts = msgspec.json.Decoder(_Verdict | list[_Verdict])


class Tally:
    """Counts answers as they come; an instance is what `slidr.load.sending.send` hands them to.

    Attributes:
        statuses: requests by HTTP status; UNANSWERED where no answer came.
        verdicts: clicks by verdict.
        refused: clicks of answered requests that were refused, each for itself.
        problems: what the service said first, by status.
        latencies: from the intended time of sending.
        services: from the actual time of sending.
    """

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.refused = 0
        self.problems: dict[int, str] = {}
        self.latencies = Histogram()
        self.services = Histogram()
        self._latencies, self._services = array("d"), array("d")

    def __call__(self, answer: Answer) -> None:
        """Count one answer."""
        self.statuses[answer.status] += 1
        self._latencies.append(answer.latency)
        self._services.append(answer.service)
        if len(self._latencies) == _HELD:
            self.settle()
        if answer.status == HTTPStatus.OK:
            self._count(answer.body)
        elif answer.status != UNANSWERED and answer.status not in self.problems:
            self.problems[answer.status] = answer.body[:_LONGEST].decode(errors="replace")

    def _count(self, body: bytes) -> None:
        try:
            found = _verdicts.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.problems.setdefault(HTTPStatus.OK, body[:_LONGEST].decode(errors="replace"))
            return
        for one in found if isinstance(found, list) else (found,):
            if one.verdict is not None:
                self.verdicts[one.verdict] += 1
            elif one.error is not None:
                self.refused += 1
                self.problems.setdefault(
                    HTTPStatus.OK, msgspec.json.encode(one.error)[:_LONGEST].decode(errors="replace")
                )

    def settle(self) -> None:
        """Count the latest latencies too; call it before the histograms are read."""
        self.latencies.record(self._latencies)
        self.services.record(self._services)
        self._latencies, self._services = array("d"), array("d")

    @property
    def answered(self) -> int:
        """Requests with an answer."""
        return sum(self.statuses.values()) - self.statuses[UNANSWERED]


def milliseconds(histogram: Histogram) -> dict[str, float | None]:
    """Return quantiles, greatest and mean in milliseconds, None without latencies.

    >>> histogram = Histogram()
    >>> histogram.record([0.001, 0.003])
    >>> milliseconds(histogram)["p99.99"], milliseconds(histogram)["mean"]
    (3.0, 2.0)
    """
    if not histogram.count:
        return dict.fromkeys([*(f"p{share * 100:g}" for share in QUANTILES), "max", "mean"])
    found = {f"p{share * 100:g}": histogram.quantile(share) for share in QUANTILES}
    found |= {"max": histogram.greatest, "mean": histogram.mean}
    return {name: round(value * _MILLISECONDS, 3) for name, value in found.items()}


def lags(sent: Sent) -> Histogram:
    """Return by how much the sender woke too late."""
    histogram = Histogram()
    histogram.record(sent.lags)
    return histogram
