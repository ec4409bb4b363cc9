"""Exposition: counters, gauges and distributions, and the text in which Prometheus reads them.

Made for a process that does all its work on one thread: nothing locks, and a line costs a tenth of what it costs in the
usual client, for requests wait while a scrape is written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf, isnan
from typing import Protocol

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Family(Protocol):
    """Samples of one name.

    Attributes:
        name: as it is asked for in a query; of a distribution without `_bucket`, `_sum` and `_count`.
        kind: `counter`, `gauge` or `histogram`.
        meaning: one sentence.
    """

    name: str
    kind: str
    meaning: str

    def lines(self) -> Iterator[str]:
        """Return a line for each sample."""
        ...


class Value:
    """One number of a family."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add to it."""
        self.value += amount


class Counter:
    """Numbers that only grow, one for each set of labels.

    Args:
        name: ends in `_total`.
        meaning: one sentence.
        labels: names of the labels.
        known: sets of labels that are shown from the start, at zero: a rate misses the step of a series that begins.

    >>> clicks = Counter("clicks_total", "Clicks.", ["device"])
    >>> clicks.at("app").inc(3)
    >>> print(*clicks.lines())
    clicks_total{device="app"} 3.0
    """

    kind = "counter"

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str] = (), known: Iterable[tuple[str, ...]] = ()
    ) -> None:
        self.name = name
        self.meaning = meaning
        self._labels = tuple(labels)
        self._values: dict[tuple[str, ...], Value] = {}
        self._starts: dict[tuple[str, ...], str] = {}
        for values in known if labels else [()]:
            self.at(*values)

    def at(self, *labels: str) -> Value:
        """Return the number of a set of labels."""
        return self._values.get(labels) or self._begin(labels)

    def inc(self, amount: float = 1.0) -> None:
        """Add to the number that has no labels."""
        self._values[()].value += amount

    def lines(self) -> Iterator[str]:
        """Return a line for each sample."""
        for start, value in zip(self._starts.values(), self._values.values(), strict=True):
            yield start + _number(value.value)

    def _begin(self, labels: tuple[str, ...]) -> Value:
        self._starts[labels] = f"{self.name}{_braced(zip(self._labels, labels, strict=True))} "
        self._values[labels] = Value()
        return self._values[labels]


class Gauge:
    """Numbers that go up and down, one for each set of labels: as they were set, or as a function says.

    Args:
        name: as it is asked for.
        meaning: one sentence.
        labels: names of the labels.
    """

    kind = "gauge"

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.meaning = meaning
        self._labels = tuple(labels)
        self._values: Mapping[tuple[str, ...], float] = {} if labels else {(): 0.0}
        self._read: Callable[[], Mapping[tuple[str, ...], float]] = lambda: self._values

    def set(self, value: float) -> None:
        """Set the number that has no labels."""
        self._values = {(): value}

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Set all numbers, by the values of their labels; what is not named is shown no longer."""
        self._values = values

    def follow(self, read: Callable[[], float]) -> None:
        """Read the number that has no labels whenever somebody asks."""
        self._read = lambda: {(): read()}

    def follow_all(self, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Read all numbers, by the values of their labels, whenever somebody asks."""
        self._read = read

    def lines(self) -> Iterator[str]:
        """Return a line for each sample."""
        for labels, value in self._read().items():
            yield f"{self.name}{_braced(zip(self._labels, labels, strict=True))} {_number(value)}"


class Distribution:
    """Observed values, counted by bucket.

    Args:
        bounds: upper bounds of the buckets, ascending; one without a bound follows.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, label: str) -> Iterator[str]:
        """Return a line for each bucket, which holds what lies below it too, and for sum and count."""
        before = f"{label}," if label else ""
        for bound, count in zip((*self._bounds, inf), accumulate(self._counts), strict=True):
            yield f'{name}_bucket{{{before}le="{_number(bound)}"}} {count}.0'
        labels = f"{{{label}}}" if label else ""
        yield f"{name}_sum{labels} {_number(self._sum)}"
        yield f"{name}_count{labels} {sum(self._counts)}.0"


class Histogram:
    """A family of distributions, one for each value of a label.

    Args:
        name: as it is asked for, without `_bucket`, `_sum` and `_count`.
        meaning: one sentence.
        label: name of the label; empty where there is one distribution without.
        parts: the distributions by the label's value.
    """

    kind = "histogram"

    def __init__(self, name: str, meaning: str, label: str, parts: Mapping[str, Distribution]) -> None:
        self.name = name
        self.meaning = meaning
        self._parts = {f'{label}="{value}"' if label else "": part for value, part in parts.items()}

    def lines(self) -> Iterator[str]:
        """Return a line for each sample."""
        for label, part in self._parts.items():
            yield from part.lines(self.name, label)


def exposition(families: Iterable[Family]) -> bytes:
    """Return families in the text format of Prometheus, version 0.0.4."""
    parts = []
    for family in families:
        parts.append(f"# HELP {family.name} {family.meaning}\n# TYPE {family.name} {family.kind}")
        parts += family.lines()
    return ("\n".join(parts) + "\n").encode()


def _braced(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    if value in {inf, -inf}:
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if isnan(value) else repr(float(value))
