from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tests.features.slow import days
from tests.service.asking import DECISIONS, answer, ask, run
from tests.service.making import SECRET, body, click, make_bundle

from slidr.clock import DAY, HOUR, SECOND, ManualClock
from slidr.decide import Decider
from slidr.features.clicks import Click
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.slow import SlowTables
from slidr.features.store import EmbeddedStore
from slidr.journal import Entry
from slidr.rules import ListRule
from slidr.service.app import App
from slidr.service.lifecycle import Parts
from slidr.service.metrics import Metrics
from slidr.settings import ServiceSettings
from slidr.tables import Verdict


def entry(verdict: str, where: str = "all", reasons: tuple[str, ...] = (), **changes: Any) -> Entry:
    """Return a journalled decision, of which only what is counted matters."""
    blank = Entry(
        0, "", "", 0, 0, verdict, reasons, (), None, None, where, "b", "live", "", 1, click_key=0, logged_in=0,
        keys=b"", row=b"",
    )  # fmt: skip
    return blank._replace(**changes)


def test_decisions_are_counted_by_verdict_and_slice() -> None:
    """A batch adds to the counters of its verdicts and slices, of causes, of lists, and of what was enforced."""
    metrics = Metrics()
    for _ in range(2):
        metrics.journalled(
            [
                entry("valid"),
                entry("valid", enforced=0),
                entry("unmeasurable", "device=app", ("no_identifiers",)),
                entry("invalid_general", reasons=("crawlers",), lists=("crawlers", "allowed")),
            ]
        )
    text = metrics.exposition().decode()
    for line in (
        'slidr_decisions_total{verdict="valid",slice="all"} 4.0',
        'slidr_decisions_total{verdict="unmeasurable",slice="device=app"} 2.0',
        'slidr_unmeasurable_total{cause="no_identifiers"} 2.0',
        'slidr_unmeasurable_total{cause="deadline"} 0.0',
        'slidr_list_hits_total{list="crawlers"} 2.0',
        'slidr_list_hits_total{list="allowed"} 2.0',
        'slidr_enforced_total{enforced="0"} 2.0',
        'slidr_enforced_total{enforced="1"} 6.0',
    ):
        assert f"{line}\n" in text


def test_a_challenger_is_compared_where_it_decided_for_itself(tmp_path: Path) -> None:
    """Its verdicts are counted without repeats, and those that are another than the champion's."""
    bundle = make_bundle(tmp_path)
    found = Decider(bundle, EmbeddedStore(compile_catalogue(bundle.catalogue), 1024), Pseudonymiser(SECRET)).decide(
        msgspec.convert([click(place) for place in (1, 2, 3, 1)], list[Click])
    )
    assert found.repeats.tolist() == [False, False, False, True]
    first = found._replace(verdicts=[Verdict.VALID] * 4)
    second = found._replace(verdicts=[Verdict.VALID, *[Verdict.INVALID_SOPHISTICATED] * 3])
    metrics = Metrics()
    metrics.shadowed(first, second)
    text = metrics.exposition().decode()
    assert 'slidr_shadow_decisions_total{verdict="valid"} 1.0' in text
    assert 'slidr_shadow_decisions_total{verdict="invalid_sophisticated"} 2.0' in text
    assert "slidr_shadow_disagreements_total 2.0" in text


def test_the_disk_of_the_journal_is_watched(tmp_path: Path) -> None:
    """What is left on it is shown, whether the journal is there yet or not."""
    metrics = Metrics()
    metrics.watch_disk(tmp_path / "journal.sqlite")
    (line,) = re.findall(r"^slidr_journal_disk_free_bytes (.+)$", metrics.exposition().decode(), re.MULTILINE)
    assert float(line) > 0


def test_slices_without_end_are_counted_together() -> None:
    """Beyond the most that are shown apart, slices have one name, so that a scrape stays short."""
    metrics = Metrics()
    metrics.journalled(entry("valid", f"device={number}") for number in range(1_200))
    text = metrics.exposition().decode()
    assert 'slidr_decisions_total{verdict="valid",slice="other"} 200.0' in text
    assert text.count("slidr_decisions_total{") == 1_001


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
    days.one_day(tmp_path, 10, 2)
    tables = SlowTables(tmp_path, 2 * DAY, days.KEY)
    metrics.watch_slow(lambda: tables, ManualClock(11 * DAY + HOUR))
    for day in (11, 10, 13, 14):
        tables.fill(days.LAYOUT, days.click(day * DAY, ip=7), np.zeros((1, len(days.LAYOUT.names)), np.float32))
    text = metrics.exposition().decode()
    assert "slidr_slow_age_seconds 3600.0" in text
    assert 'slidr_slow_unknown_total{cause="missing"} 1.0' in text
    assert 'slidr_slow_unknown_total{cause="stale"} 1.0' in text


def test_only_the_serving_bundles_are_named() -> None:
    """When another bundle takes over, the one before is no longer shown; the age is that of the one that decides."""
    metrics = Metrics(ManualClock(10 * HOUR))
    assert "slidr_bundle_age_seconds NaN" in metrics.exposition().decode()
    metrics.serving("b1", 0, None)
    metrics.serving("b2", 9 * HOUR, "b3")
    text = metrics.exposition().decode()
    assert 'slidr_bundle_info{bundle="b2",role="champion"} 1.0' in text
    assert 'slidr_bundle_info{bundle="b3",role="challenger"} 1.0' in text
    assert "slidr_bundle_age_seconds 3600.0" in text
    assert "b1" not in text


def test_lists_have_an_age_and_grow_stale() -> None:
    """A list is stale once it is older than the settings allow; a rule without a list has no age."""
    clock = ManualClock(30 * DAY)
    metrics = Metrics(clock)
    rules = [ListRule(name, "1", (), lambda _: [], updated=updated) for name, updated in (("old", 0), ("none", None))]
    metrics.watch_lists(rules, 30 * DAY)
    assert 'slidr_list_stale{list="old"} 0.0' in metrics.exposition().decode()
    clock.advance(SECOND)
    text = metrics.exposition().decode()
    assert f'slidr_list_age_seconds{{list="old"}} {30 * 86_400 + 1}.0' in text
    assert 'slidr_list_stale{list="old"} 1.0' in text
    assert 'slidr_list_hits_total{list="none"} 0.0' in text
    assert 'age_seconds{list="none"}' not in text


def test_requests_are_counted_by_status_and_timed_by_size() -> None:
    """Only requests that had clicks decided are timed: by themselves, a few or many."""
    metrics = Metrics()
    for status, clicks in ((200, 1), (200, 64), (200, 65), (404, 0)):
        metrics.answered(status, 1e-3, clicks)
    text = metrics.exposition().decode()
    assert 'slidr_requests_total{status="200"} 3.0' in text
    assert 'slidr_requests_total{status="404"} 1.0' in text
    for size in ("one", "few", "many"):
        assert f'slidr_request_seconds_count{{clicks="{size}"}} 1.0' in text


def test_two_services_do_not_share_metrics() -> None:
    """Each counts for itself."""
    one, two = Metrics(), Metrics()
    one.answered(404, 0.0, 0)
    assert b'status="404"' in one.exposition()
    assert b'status="404"' not in two.exposition()


def test_what_is_shown_is_what_prometheus_reads() -> None:
    """The client library's parser finds every family, its kind and all of its samples."""
    metrics = Metrics()
    metrics.journalled([entry("valid", 'device="a\\b\n"')])
    metrics.store_error("timeout")
    found = {one.name: one for one in text_string_to_metric_families(metrics.exposition().decode())}
    for family in metrics.families:
        one = found[family.name.removesuffix("_total") if family.kind == "counter" else family.name]
        assert (one.type, one.documentation) == (family.kind, family.meaning)
        assert len(one.samples) == sum(1 for _ in family.lines())
    assert found["slidr_decisions"].samples[0].labels["slice"] == 'device="a\\b\n"'


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
        'slidr_stage_seconds_bucket{stage="journal",le="2e-05"} 1.0',
        'slidr_stage_seconds_count{stage="door"} 0.0',
    ):
        assert line in text


def test_a_service_shows_what_it_did(parts: Parts) -> None:
    """Requests, their time, decisions, enforcement and stages are counted as they happen; a full queue is counted."""
    small = parts._replace(settings=msgspec.structs.replace(parts.settings, service=ServiceSettings(queue=1, port=0)))

    async def work(app: App) -> None:
        await answer(app, "POST", DECISIONS, body(1))
        await answer(app, "POST", DECISIONS, body(2, 3))
        first, second = await asyncio.gather(*(ask(app, "POST", DECISIONS, body(place)) for place in (4, 5)))
        assert [one.status for one in (first, second) if one is not None] == [200, 429]
        text = (await answer(app, "GET", "/metrics")).body.decode()
        for line in (
            'slidr_requests_total{status="200"} 3.0',
            'slidr_requests_total{status="429"} 1.0',
            "slidr_overloaded_total 1.0",
            'slidr_request_seconds_count{clicks="one"} 2.0',
            'slidr_request_seconds_count{clicks="few"} 1.0',
            'slidr_enforced_total{enforced="1"} 4.0',
            *(
                f'slidr_stage_seconds_count{{stage="{stage}"}} 3.0'
                for stage in ("door", "wait", "rules", "fold", "score", "journal")
            ),
            f'slidr_bundle_info{{bundle="{parts.bundle.id}",role="champion"}} 1.0',
            "slidr_ready 1.0",
        ):
            assert f"{line}\n" in text

    run(small, work)
