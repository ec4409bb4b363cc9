"""Metrics: what a service tells Prometheus; labels are looked up once, and histograms are fed once a batch."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from slidr.tables import Verdict

_SECONDS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 1.0)
_CLICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


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
        stages = Histogram(
            "slidr_stage_seconds", "Time a batch spends in a stage", ["stage"], buckets=_SECONDS, registry=registry
        )
        bundle = Gauge("slidr_bundle_info", "1 for the bundle that decides", ["bundle"], registry=registry)
        self._decisions = lru_cache(maxsize=None)(decisions.labels)
        self._unmeasurable = lru_cache(maxsize=None)(unmeasurable.labels)
        self._bundle = bundle
        self.request = lru_cache(maxsize=None)(requests.labels)
        self.door, self.decide, self.journal = (stages.labels(stage) for stage in ("door", "decide", "journal"))
        self.batch = Histogram("slidr_batch_clicks", "Clicks decided at once", buckets=_CLICKS, registry=registry)
        self.repeats = Counter("slidr_repeats", "Clicks answered with their original's decision", registry=registry)
        self.malformed = Counter("slidr_malformed_clicks", "Clicks refused at the door", registry=registry)
        self.journal_errors = Counter("slidr_journal_errors", "Failed writes of the journal", registry=registry)
        self.lag = Gauge(
            "slidr_event_time_lag_seconds", "Clock less the newest click of the last batch", registry=registry
        )
        self.ready = Gauge("slidr_ready", "1 while the service decides", registry=registry)
        self._queue = Gauge("slidr_queue_clicks", "Clicks that wait", registry=registry)
        self._entities = Gauge("slidr_live_entities", "Entities that the store holds", registry=registry)

    def watch(self, *, queue: Callable[[], float], entities: Callable[[], float]) -> None:
        """Read the length of the queue and the number of entities whenever somebody asks."""
        self._queue.set_function(queue)
        self._entities.set_function(entities)

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
