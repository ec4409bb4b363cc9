from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.deploy.expressions import ALERTS, ROOT, balanced, dashboard_expressions, exposed, metrics_in, rules

PAGES = ROOT / "docs" / "runbooks"
WANTED = ("What it means", "What to look at", "What to do", "When it is safe to ignore")
SLOW = 'slidr_request_seconds_{}{{job="slidr",clicks="one"{}}}'
REQUESTS = 'slidr_requests_total{{job="slidr",status="{}"}}'
DECISIONS = 'slidr_decisions_total{{job="slidr",slice="all",verdict="{}"}}'
ONE = '{job="slidr",instance="a"}'
FIRING: dict[str, dict[str, str]] = {
    "SlidrUnavailable": {
        REQUESTS.format(200): "0+990x3000",
        REQUESTS.format(503): "0+10x3000",
        f"slidr_overloaded_total{ONE}": "0x3000",
    },
    "SlidrSlow": {SLOW.format("bucket", ',le="0.005"'): "0+97x3000", SLOW.format("count", ""): "0+100x3000"},
    "SlidrUnmeasurable": {
        DECISIONS.format("unmeasurable"): "0+100x3000",
        'slidr_unmeasurable_total{job="slidr",cause="store_unavailable"}': "0+2x3000",
    },
    "SlidrDown": {f"up{ONE}": "0x3000"},
    "SlidrNotReady": {f"slidr_ready{ONE}": "0x3000"},
    "SlidrWorkerMissing": {
        'slidr_ready{job="slidr",instance="a",worker="0"}': "1x3000",
        'slidr_ready{job="slidr",instance="a",worker="1"}': "0x3000",
        'slidr_workers{job="slidr",instance="a",worker="0"}': "2x3000",
    },
    "SlidrJournalErrors": {f"slidr_journal_errors_total{ONE}": "0x178 1x100"},
    "SlidrDiskFilling": {f"slidr_journal_disk_free_bytes{ONE}": "60000000000-60000000x3000"},
    "SlidrStoreErrors": {'slidr_store_errors_total{job="slidr",instance="a",cause="lost"}': "0+1x3000"},
    "SlidrOverloaded": {f"slidr_overloaded_total{ONE}": "0+6x3000"},
    "SlidrConnectionsRefused": {'slidr_refused_connections_total{job="slidr",instance="a",cause="slow"}': "0+120x3000"},
    "SlidrFilesRunOut": {f"process_open_fds{ONE}": "900x3000", f"process_max_fds{ONE}": "1024x3000"},
    "SlidrMemoryGrows": {
        f"process_resident_memory_bytes{ONE}": "100+1x3000",
        f"slidr_live_entities{ONE}": "5x3000",
    },
    "SlidrInvalidShare": {
        DECISIONS.format("valid"): "0+90x3000",
        DECISIONS.format("invalid_general"): "0+2x1480 3000+60x1500",
    },
    "SlidrNoClicks": {DECISIONS.format("valid"): "0+100x150 15000x1000"},
    "SlidrMalformedClicks": {
        DECISIONS.format("valid"): "0+90x3000",
        f"slidr_malformed_clicks_total{ONE}": "0+2x3000",
    },
    "SlidrEventTimeLag": {f"slidr_event_time_lag_seconds{ONE}": "400x3000"},
    "SlidrBundlesDiffer": {
        'slidr_bundle_info{job="slidr",instance="a",bundle="1",role="champion"}': "1x3000",
        'slidr_bundle_info{job="slidr",instance="b",bundle="2",role="champion"}': "1x3000",
    },
    "SlidrSwapFailed": {f"slidr_swap_errors_total{ONE}": "0x170 1x100"},
    "SlidrBundleOld": {f"slidr_bundle_age_seconds{ONE}": "300000x3000"},
    "SlidrShadowDisagrees": {
        f"slidr_shadow_disagreements_total{ONE}": "0+6x3000",
        'slidr_shadow_decisions_total{job="slidr",instance="a",verdict="valid"}': "0+100x3000",
    },
    "SlidrListStale": {'slidr_list_stale{job="slidr",instance="a",list="crawlers"}': "1x3000"},
    "SlidrListRefused": {f"slidr_list_refused{ONE}": "1x3000"},
    "SlidrSlowTableOld": {f"slidr_slow_age_seconds{ONE}": "140000x3000"},
    "SlidrStateEvicted": {f"slidr_evicted_entities{ONE}": "0+1x3000"},
    "SlidrMonitorAlarm": {'slidr_monitor_alarm{job="slidr",instance="a",alarm="fpr",slice="all",key="k"}': "1x3000"},
    "SlidrMonitorStalled": {f"slidr_monitor_looked_seconds{ONE}": "0x3000"},
}
"""Alert -> series, a value a minute, that make it fire after three hours, or 26 where it looks at the day before."""
DAY_BEFORE = {"SlidrInvalidShare", "SlidrMemoryGrows"}
HEALTHY: dict[str, str] = {
    f"up{ONE}": "1x3000",
    f"slidr_ready{ONE}": "1x3000",
    f"slidr_workers{ONE}": "1x3000",
    REQUESTS.format(200): "0+1000x3000",
    REQUESTS.format(422): "0+10x3000",
    # Of one client that sends too much.
    REQUESTS.format(429): "0+100x3000",
    f"slidr_limited_total{ONE}": "0+100x3000",
    f"slidr_overloaded_total{ONE}": "0x3000",
    SLOW.format("bucket", ',le="0.005"'): "0+9995x3000",
    SLOW.format("count", ""): "0+10000x3000",
    DECISIONS.format("valid"): "0+900x3000",
    DECISIONS.format("invalid_general"): "0+100x3000",
    'slidr_unmeasurable_total{job="slidr",cause="no_identifiers"}': "0+50x3000",
    'slidr_bundle_info{job="slidr",instance="a",bundle="1",role="champion"}': "1x3000",
    'slidr_bundle_info{job="slidr",instance="a",bundle="2",role="challenger"}': "1x3000",
    f"slidr_bundle_age_seconds{ONE}": "60+60x1440 60+60x1440",
    f"slidr_slow_age_seconds{ONE}": "3600+60x3000",
    f"slidr_journal_disk_free_bytes{ONE}": "90000000000-1000x3000",
    f"process_resident_memory_bytes{ONE}": "300000000x3000",
    f"slidr_live_entities{ONE}": "5x3000",
    f"slidr_event_time_lag_seconds{ONE}": "0.2x3000",
    f"slidr_swaps_total{ONE}": "0x1440 1x1500",
    f"slidr_list_age_seconds{ONE}": "60+60x3000",
    f"slidr_list_refused{ONE}": "0x3000",
    'slidr_list_stale{job="slidr",instance="a",list="crawlers"}': "0x3000",
    f"slidr_monitor_looked_seconds{ONE}": "0+60x3000",
}


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """What a service shows that has decided a batch."""
    return exposed()


def promtool(*arguments: str) -> None:
    """Have Prometheus itself check something; where it is not installed, say so in the test's report."""
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not here (apt-get install prometheus): only names and brackets were checked")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 ours
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_what_a_reader_needs() -> None:
    """A rule records or alerts; an alert has a severity, a summary and its page; brackets close."""
    for rule in rules():
        assert balanced(rule["expr"])
        assert ("record" in rule) != ("alert" in rule)
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert set(rule["annotations"]) == {"summary", "runbook_url"}
            assert (ROOT / rule["annotations"]["runbook_url"]).stem == rule["alert"]


def test_every_alert_has_its_page_and_every_page_an_alert() -> None:
    """A page says what an alert means, what to look at and to do, and when to leave it."""
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {page.stem for page in PAGES.glob("*.md")} == alerts
    for name in alerts:
        text = (PAGES / f"{name}.md").read_text("utf-8")
        assert text.startswith(f"# {name}\n")
        assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == WANTED


def test_what_rules_and_dashboard_ask_for_is_there(shown: dict[str, set[str]]) -> None:
    """Every metric, and every label that selects from it, is shown by a service that has decided a batch."""
    shown = shown | {"up": set()}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [
        found for text in [rule["expr"] for rule in rules()] + dashboard_expressions() for found in metrics_in(text)
    ]
    assert len({name for name, _ in asked}) > 30
    assert {name for name, _ in asked} - set(shown) - recorded == set()
    assert [(name, labels) for name, labels in asked if name in shown and not labels <= shown[name]] == []
    assert all(balanced(text) for text in dashboard_expressions())


def test_pages_name_metrics_that_are_there(shown: dict[str, set[str]]) -> None:
    """What a page tells to look at can be looked at."""
    for page in PAGES.glob("*.md"):
        for name, _ in metrics_in(page.read_text("utf-8").replace("up", "")):
            assert name in shown, (page.name, name)


def test_prometheus_reads_the_rules_and_the_dashboard(tmp_path: Path) -> None:
    """Its own tool finds no fault in them, nor in the configuration that loads them."""
    promtool("check", "rules", str(ALERTS))
    promtool("check", "config", "--syntax-only", str(ALERTS.parent / "prometheus.yml"))
    asked = [{"record": f"panel:{place}", "expr": text} for place, text in enumerate(dashboard_expressions())]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}), "utf-8")
    promtool("check", "rules", str(path))


def test_every_alert_fires_when_it_should_and_none_otherwise(tmp_path: Path) -> None:
    """Prometheus evaluates the rules over made-up series: each alert once over a fault, and all over a healthy day."""
    assert {rule["alert"] for rule in rules() if "alert" in rule} == set(FIRING)

    def story(series: dict[str, str], expression: str, at: str, *, fires: bool) -> dict[str, object]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": expression,
                    "eval_time": at,
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }

    stories = [
        story(series, f'sgn(count(ALERTS{{alertname="{name}", alertstate="firing"}}))', at, fires=True)
        for name, series in FIRING.items()
        for at in ("26h" if name in DAY_BEFORE else "3h",)
    ]
    stories.append(story(HEALTHY, 'ALERTS{alertstate="firing"}', "26h", fires=False))
    path = tmp_path / "stories.yml"
    document = {
        "rule_files": [str(ALERTS)],
        # Far fewer evaluations than in life; what is recorded must then be there before what alerts on it.
        "evaluation_interval": "10m",
        "group_eval_order": [group["name"] for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]],
        "tests": stories,
    }
    path.write_text(yaml.safe_dump(document, width=1000), "utf-8")
    promtool("test", "rules", str(path))
