"""Twenty million decisions: compacted, one click looked up by its id and day, and a period reported for billing.

    python -m benchmarks.operations.records [--decisions 20000000] [--days 10]

Decisions are appended as shipping does, a hundred thousand a commit, in the order of time; their click_ids are in no
order. What a look-up reads of a table depends on a day's files alone: a hundred million decisions are five times as
many days, or as many row groups of a compacted day, of which one is read. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from benchmarks.budgets import show
from benchmarks.machine import peak_rss_mb

from slidr.billing.clicks import billed_clicks
from slidr.billing.figures import figures
from slidr.billing.periods import period
from slidr.clock import DAY, HOUR, midnight
from slidr.lake.delta import Lake
from slidr.lake.schema import conform
from slidr.lake.upkeep import compact, vacuum
from slidr.records.history import history
from slidr.tables import DECISIONS

FIRST = date(2026, 3, 2)
COMMIT = 100_000
LOOKED = 10
_UTC = pa.timestamp("us", "UTC")


def main() -> None:
    """Write, compact, look up, report and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=20_000_000)
    parser.add_argument("--days", type=int, default=10)
    arguments = parser.parse_args()
    show("operations", measured(arguments.decisions, arguments.days))


def measured(decisions: int, days: int) -> dict[str, float]:
    """Return the figures."""
    folder = Path(tempfile.mkdtemp(prefix="slidr-records-"))
    try:
        lake = Lake(str(folder / "lake"))
        began = time.perf_counter()
        sought = written(lake, decisions // days, days)
        filled = time.perf_counter() - began
        shipped, _, _ = looked_up(lake, sought)
        began = time.perf_counter()
        compact(lake, FIRST + timedelta(days=days), (DECISIONS,))
        compacted = time.perf_counter() - began
        vacuum(lake, 0, (DECISIONS,))
        seconds, files, read = looked_up(lake, sought)
        began = time.perf_counter()
        lines = len(figures(billed_clicks(lake, period("2026-03", "UTC")), ("campaign", "day"), "UTC"))
        reported = time.perf_counter() - began
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    finally:
        shutil.rmtree(folder)
    return {
        "decisions": decisions,
        "write_seconds": round(filled, 1),
        "gigabytes": round(size / 1e9, 2),
        "compact_seconds": round(compacted, 1),
        "click_seconds_as_shipped": round(shipped, 3),
        "click_seconds": round(seconds, 3),
        "click_files": files,
        "click_bytes": read,
        "report_seconds": round(reported, 1),
        "report_lines": lines,
        "peak_rss_mb": peak_rss_mb(),
    }


def written(lake: Lake, per_day: int, days: int) -> list[tuple[str, date]]:
    """Fill the table; returns some clicks with their days."""
    generator = np.random.default_rng(1)
    sought: list[tuple[str, date]] = []
    for number in range(days):
        day = FIRST + timedelta(days=number)
        for start in range(0, per_day, COMMIT):
            count = min(COMMIT, per_day - start)
            table = _decisions(generator, day, start, count, per_day)
            lake.append(DECISIONS, table, ("journal", number * per_day + start + count))
            if number < LOOKED and not start:
                sought.append((table["click_id"][count // 2].as_py(), day))
    return sought


def _decisions(generator: np.random.Generator, day: date, start: int, count: int, per_day: int) -> pa.Table:
    numbers = np.arange(start, start + count)
    times = midnight(day) + numbers * DAY // per_day
    keys = generator.integers(0, 2**63, count)
    scores = generator.random(count, np.float32)
    robot = scores > np.float32(0.8)
    words = pa.array(["valid", "invalid_sophisticated"])
    reasons = pa.array([[], ["model"]], pa.list_(pa.string()))
    campaigns = pa.array([f"campaign-{one:03}" for one in range(200)])
    campaign = generator.integers(0, 200, count)
    same = {"slice": "device=desktop", "bundle": "4c1d2a7be0f93d51", "cause": "live", "journal": "0b3863221ec5"}
    columns = {
        "decision_id": [f"0b3863221ec5-{midnight(day) // DAY * per_day + one:x}" for one in numbers.tolist()],
        "click_id": [f"{key:016x}" for key in keys.tolist()],
        "time": pa.array(times).cast(_UTC),
        "decided_at": pa.array(times + HOUR // 3600).cast(_UTC),
        "verdict": words.take(pa.array(robot.astype(np.int8))),
        "reasons": reasons.take(pa.array(robot.astype(np.int8))),
        "score": pa.array(scores),
        "threshold": pa.array(np.full(count, 0.8, np.float32)),
        "lists": pa.array([[]], pa.list_(pa.string())).take(pa.array(np.zeros(count, np.int8))),
        "sequence": pa.array(numbers),
        "context": pa.repeat("698f525fbc6a", count),
        "enforced": pa.repeat(True, count),
        "campaign": campaigns.take(pa.array(campaign)),
        "advertiser": campaigns.take(pa.array(campaign % 40)),
        "cost": pa.array(generator.integers(50_000, 900_000, count)),
        "currency": pa.repeat("EUR", count),
        "supersedes": pa.nulls(count, pa.string()),
        **{name: pa.repeat(value, count) for name, value in same.items()},
    }
    return conform(DECISIONS, pa.table(columns))


def looked_up(lake: Lake, sought: list[tuple[str, date]]) -> tuple[float, int, int]:
    """Return the mean seconds of a look-up, and the most files and bytes that one reads."""
    files, read, seconds = 0, 0, 0.0
    for click_id, day in sought:
        began = time.perf_counter()
        found = history(lake, click_id, day, window=DAY, zone="UTC")
        seconds += time.perf_counter() - began
        assert len(found.decisions) == 1, "the click is there, once"
        files = max(files, sum(one.files for one in found.scanned))
        read = max(read, sum(one.bytes for one in found.scanned))
    return seconds / len(sought), files, read


if __name__ == "__main__":
    main()
