"""What the monitor shows Prometheus: a text file that node_exporter's textfile collector reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

Sample = tuple[dict[str, str], float]


class Family(NamedTuple):
    """One metric: its name, kind and meaning."""

    name: str
    kind: str
    meaning: str


FAMILIES = (
    Family("slidr_monitor_looked_seconds", "gauge", "When the monitor last looked at everything, seconds since 1970."),
    Family("slidr_monitor_decided_seconds", "gauge", "When the newest click that it has counted was decided."),
    Family("slidr_monitor_clicks", "gauge", "Clicks of the last hour, by slice."),
    Family("slidr_monitor_invalid_share", "gauge", "Share of the last hour's judged clicks that the model marked."),
    Family(
        "slidr_monitor_expected_share",
        "gauge",
        "The same share as the champion expects it at that hour of the day.",
    ),
    Family("slidr_monitor_unmeasurable_share", "gauge", "Share of the last hour's clicks that are unmeasurable."),
    Family(
        "slidr_monitor_trusted_invalid_share", "gauge", "Share of trusted accounts' clicks marked in the last hour."
    ),
    Family(
        "slidr_monitor_false_positive_rate", "gauge", "Purchasing clicks of the last day that were marked, a share."
    ),
    Family("slidr_monitor_purchasing_clicks", "gauge", "Purchasing clicks that became known in the last day."),
    Family("slidr_monitor_alarm", "gauge", "1 for each alarm that is open."),
    Family("slidr_monitor_webhook_failures_total", "counter", "Alarms that the webhook did not take."),
    Family("slidr_monitor_rollbacks_total", "counter", "Rollbacks of its own since it began."),
)
"""Every metric of the monitor, in the order of the file."""


def text_of(samples: Mapping[str, Iterable[Sample]]) -> str:
    """Return samples in the text format of Prometheus; a family without samples has its heading alone."""
    lines = []
    for family in FAMILIES:
        lines += [f"# HELP {family.name} {family.meaning}", f"# TYPE {family.name} {family.kind}"]
        for labels, value in samples.get(family.name, ()):
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{family.name}{{{inside}}} {value:.10g}" if inside else f"{family.name} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(path: Path, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Replace the file at once, so that nobody reads half of it.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    part.write_text(text_of(samples), encoding="utf-8")
    os.replace(part, path)  # noqa: PTH105 the same on every system
