from __future__ import annotations

from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry
from tests.features.slow.days import KEY, LAYOUT, click, one_day

from slidr.clock import DAY, HOUR, ManualClock
from slidr.features.slow import SlowTables
from slidr.service.metrics import Metrics
from slidr.tables import Verdict


def test_decisions_are_counted_by_verdict_and_slice() -> None:
    """A batch adds to the counters of its verdicts and slices, and unmeasurable clicks to that of their cause."""
    metrics = Metrics()
    for _ in range(2):
        metrics.decided(
            [
                (Verdict.VALID, "all", ()),
                (Verdict.VALID, "all", ()),
                (Verdict.UNMEASURABLE, "device=app", ("no_identifiers",)),
            ]
        )
    text = metrics.exposition().decode()
    assert 'slidr_decisions_total{slice="all",verdict="valid"} 4.0' in text
    assert 'slidr_decisions_total{slice="device=app",verdict="unmeasurable"} 2.0' in text
    assert 'slidr_unmeasurable_total{cause="no_identifiers"} 2.0' in text


def test_gauges_are_read_when_somebody_asks() -> None:
    """Queue and entities show what they are at the time of the question."""
    metrics, waiting = Metrics(), [3]
    metrics.watch(queue=lambda: waiting[0], entities=lambda: 7, evicted=lambda: 3)
    assert b"slidr_queue_clicks 3.0" in metrics.exposition()
    waiting[0] = 5
    assert b"slidr_queue_clicks 5.0" in metrics.exposition()
    assert b"slidr_live_entities 7.0" in metrics.exposition()


def test_slow_features_tell_what_they_lack(tmp_path: Path) -> None:
    """Without tables there is no age; with them, it is that of the newest, beside the clicks that none told."""
    metrics = Metrics()
    text = metrics.exposition().decode()
    assert "slidr_slow_age_seconds NaN" in text
    assert 'slidr_slow_unknown_total{cause="stale"} 0.0' in text
    one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 2 * DAY, KEY)
    metrics.watch_slow(lambda: tables, ManualClock(11 * DAY + HOUR))
    for day in (11, 10, 13, 14):
        tables.fill(LAYOUT, click(day * DAY, ip=7), np.zeros((1, len(LAYOUT.names)), np.float32))
    text = metrics.exposition().decode()
    assert "slidr_slow_age_seconds 3600.0" in text
    assert 'slidr_slow_unknown_total{cause="missing"} 1.0' in text
    assert 'slidr_slow_unknown_total{cause="stale"} 1.0' in text


def test_only_the_serving_bundle_is_named() -> None:
    """When another bundle takes over, the one before is no longer shown."""
    metrics = Metrics()
    metrics.serving("b1")
    metrics.serving("b2")
    text = metrics.exposition().decode()
    assert 'slidr_bundle_info{bundle="b2"} 1.0' in text
    assert "b1" not in text


def test_two_services_do_not_share_metrics() -> None:
    """Each has a registry of its own, or the one it is given."""
    registry = CollectorRegistry()
    one, two = Metrics(registry), Metrics()
    one.request("200").inc()
    assert registry.get_sample_value("slidr_requests_total", {"status": "200"}) == 1.0
    assert b'status="200"' not in two.exposition()


def test_distributions_are_exposed_as_prometheus_counts_them() -> None:
    """Each bucket holds all values up to its bound, the last one all; sum and count go along."""
    metrics = Metrics()
    for clicks in (1, 2, 3, 5000):
        metrics.batch.observe(clicks)
    metrics.journal.observe(2e-5)
    text = metrics.exposition().decode()
    for line in (
        'slidr_batch_clicks_bucket{le="1.0"} 1.0',
        'slidr_batch_clicks_bucket{le="4.0"} 3.0',
        'slidr_batch_clicks_bucket{le="1024.0"} 3.0',
        'slidr_batch_clicks_bucket{le="+Inf"} 4.0',
        "slidr_batch_clicks_count 4.0",
        "slidr_batch_clicks_sum 5006.0",
        'slidr_stage_seconds_bucket{le="2e-05",stage="journal"} 1.0',
        'slidr_stage_seconds_count{stage="door"} 0.0',
    ):
        assert line in text
