"""What the files of deploy ask Prometheus for, and what a service at work shows it."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.service.making import click, make_bundle, make_parts
from tests.service.running import ask, started

from slidr.monitor.exposition import text_of

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana.json"
_METRIC = re.compile(r"\b(?:(?:slidr|process)_[a-z_0-9]+|slidr:[a-z_0-9:]+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_OUTSIDE = {"job", "instance"}
"""Labels that Prometheus adds."""


def rules() -> list[dict[str, Any]]:
    """Return the rules of all groups: those that record and those that alert."""
    found: list[dict[str, Any]] = []
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        found += group["rules"]
    return found


def dashboard_expressions() -> list[str]:
    """Return the expressions of the dashboard's panels and annotations, with values for Grafana's variables."""
    document = json.loads(DASHBOARD.read_text("utf-8"))
    found = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    found += [annotation["expr"] for annotation in document["annotations"]["list"]]
    for name, value in (("$__rate_interval", "5m"), ("$job", ".+"), ("$instance", ".+")):
        found = [expression.replace(name, value) for expression in found]
    return found


def metrics_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Return each metric of an expression with the labels that it is selected by."""
    for found in _METRIC.finditer(expression):
        name = found[0].partition("{")[0]
        yield name, set(_MATCHER.findall(_TEXT.sub("", found[1] or ""))) - _OUTSIDE


def balanced(expression: str) -> bool:
    """Return whether the brackets of an expression close in their order, the least that can be said of it."""
    stack = []
    for letter in _TEXT.sub("", expression):
        if letter in "([{":
            stack.append(")]}"["([{".index(letter)])
        elif letter in ")]}" and (not stack or stack.pop() != letter):
            return False
    return not stack


def exposed() -> dict[str, set[str]]:
    """Return the samples' names of a service that has decided a batch and of a monitor, each with its labels."""

    async def work(folder: Path) -> str:
        async with started(make_parts(folder, make_bundle(folder / "bundles"))) as service:
            await ask(service, *range(8), 3)
            _, future = service.accept(json.dumps(click(9, user_agent="Googlebot/2.1")).encode())
            await future
            service.metrics.answered(200, 1e-3, 9)
            return service.metrics.exposition().decode()

    with tempfile.TemporaryDirectory() as folder:
        text = asyncio.run(work(Path(folder)))
    text += text_of({"slidr_monitor_alarm": [({"alarm": "ivr", "slice": "all", "key": "ivr all bundle"}, 1.0)]})
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
