"""Metrics: what a service tells Prometheus; labels are looked up once, and histograms are fed once a batch."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from math import inf, nan

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from slidr.clock import SECOND, Clock
from slidr.features.slow import SlowTables
from slidr.tables import Verdict

_SECONDS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 1.0)
_CLICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Distribution:
    """Observed values, counted by bucket; a quarter of the cost of the client library's, which locks and chains.

    Args:
        bounds: upper bounds of the buckets, ascending; one without a bound follows.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one thread observes at a time."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Add what was observed to a family of Prometheus, whose buckets hold what lies below them too."""
        below, buckets = 0, []
        for bound, count in zip((*self._bounds, inf), self._counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == inf else repr(float(bound)), float(below)))
        family.add_metric(labels, buckets, self._sum)


class _Distributions(Collector):
    """Hands the distributions of a service to Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[HistogramMetricFamily]:
        stages = HistogramMetricFamily("slidr_stage_seconds", "Time a batch spends in a stage", labels=["stage"])
        for stage in ("door", "decide", "journal"):
            getattr(self._metrics, stage).add_to(stages, [stage])
        yield stages
        batches = HistogramMetricFamily("slidr_batch_clicks", "Clicks decided at once")
        self._metrics.batch.add_to(batches)
        yield batches


class _SlowFeatures(Collector):
    """Hands what the tables of slow features could not tell to Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        tables, clock = self._metrics.slow(), self._metrics.clock
        age = (clock.now() - tables.newest) / SECOND if clock and tables and tables.newest is not None else nan
        yield GaugeMetricFamily(
            "slidr_slow_age_seconds", "Clock less the end of the day of the newest table of slow features", age
        )
        unknown = CounterMetricFamily(
            "slidr_slow_unknown", "Clicks with slow features not known, their table missing or stale", labels=["cause"]
        )
        unknown.add_metric(["missing"], tables.missing if tables else 0)
        unknown.add_metric(["stale"], tables.stale if tables else 0)
        yield unknown


class Metrics:
    """The metrics of one service.

    Args:
        registry: where they are registered; one service to a registry.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self._registry = registry
        decisions = Counter(
            "slidr_decisions", "Clicks decided, without repeats", ["verdict", "slice"], registry=registry
        )
        unmeasurable = Counter("slidr_unmeasurable", "Clicks not measured, by cause", ["cause"], registry=registry)
        requests = Counter("slidr_requests", "Requests answered", ["status"], registry=registry)
        bundle = Gauge("slidr_bundle_info", "1 for the bundle that decides", ["bundle"], registry=registry)
        self._decisions = lru_cache(maxsize=None)(decisions.labels)
        self._unmeasurable = lru_cache(maxsize=None)(unmeasurable.labels)
        self._bundle = bundle
        self.request = lru_cache(maxsize=None)(requests.labels)
        self.door, self.decide, self.journal = (Distribution(_SECONDS) for _ in range(3))
        self.batch = Distribution(_CLICKS)
        self.slow: Callable[[], SlowTables | None] = lambda: None
        self.clock: Clock | None = None
        registry.register(_Distributions(self))
        registry.register(_SlowFeatures(self))
        self.repeats = Counter("slidr_repeats", "Clicks answered with their original's decision", registry=registry)
        self.malformed = Counter("slidr_malformed_clicks", "Clicks refused at the door", registry=registry)
        self.journal_errors = Counter("slidr_journal_errors", "Failed writes of the journal", registry=registry)
        self.lag = Gauge(
            "slidr_event_time_lag_seconds", "Clock less the newest click of the last batch", registry=registry
        )
        self.ready = Gauge("slidr_ready", "1 while the service decides", registry=registry)
        self._queue = Gauge("slidr_queue_clicks", "Clicks that wait", registry=registry)
        self._entities = Gauge("slidr_live_entities", "Entities that the store holds", registry=registry)
        self._evicted = Gauge("slidr_evicted_entities", "Entities that the store dropped at its cap", registry=registry)

    def watch(self, *, queue: Callable[[], float], entities: Callable[[], float], evicted: Callable[[], float]) -> None:
        """Read the length of the queue and the numbers of entities whenever somebody asks."""
        self._queue.set_function(queue)
        self._entities.set_function(entities)
        self._evicted.set_function(evicted)

    def watch_slow(self, tables: Callable[[], SlowTables | None], clock: Clock) -> None:
        """Read the age of the tables of slow features, and what they could not tell, whenever somebody asks."""
        self.slow, self.clock = tables, clock

    def serving(self, bundle: str) -> None:
        """Name the bundle that decides."""
        self._bundle.clear()
        self._bundle.labels(bundle).set(1)

    def decided(self, found: Iterable[tuple[Verdict, str, tuple[str, ...]]]) -> None:
        """Count a batch of decisions: verdict, slice and reasons of each."""
        for (verdict, where, reasons), clicks in Tally(found).items():
            self._decisions(verdict.value, where).inc(clicks)
            if verdict is Verdict.UNMEASURABLE:
                for reason in reasons:
                    self._unmeasurable(reason).inc(clicks)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
