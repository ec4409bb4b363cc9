"""Journals as a service would write them, of clicks drawn from a seed, and a registry with bundles to watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from tests.small import SECRET, parts

from slidr.bundle import write_bundle
from slidr.clock import DAY, HOUR, MINUTE, SECOND, ManualClock
from slidr.features.keys import Pseudonymiser
from slidr.journal import Journal
from slidr.journal.records import Context, Entry, Purchase
from slidr.monitor import Monitor
from slidr.registry import Registry
from slidr.settings import Settings, located, parse_settings
from slidr.tables import Threshold, ThresholdSource

START = 1_773_360_000 * SECOND
"""A Friday, at midnight UTC."""
HASHES = Pseudonymiser(SECRET)
IVR = 0.2


def settings_at(folder: Path, **monitor: object) -> Settings:
    """Return settings whose files lie in a folder."""
    return located(parse_settings({"monitor": monitor, "calibration": {"fpr_budget": 0.01}}), folder)


def registry_with(
    folder: Path, promoted: Sequence[int], metrics: Mapping[str, Any] | None = None
) -> tuple[Registry, list[str]]:
    """Return a registry with a bundle for each time at which one was promoted, and their ids."""
    registry, ids = Registry(folder / "registry"), []
    for place, at in enumerate(promoted):
        limits = [
            Threshold(where, 0.5 + place / 1000, IVR, 0.01, None, 1000, 100, ThresholdSource.OWN)
            for where in ("all", "device=mobile", "device=desktop")
        ]
        bundle = write_bundle(
            folder / "bundles", structs.replace(parts(limits), metrics=dict(metrics or {})), created_at=at, version="0"
        )
        registry.publish(folder / "bundles" / bundle.id)
        registry.promote(bundle.id, at=at, who="ada", why="a test")
        ids.append(bundle.id)
    return registry, ids


def monitor_of(settings: Settings, registry: Registry, clock: ManualClock, *paths: Path) -> Monitor:
    """Return a monitor of some journals, or of that of the settings."""
    watched = paths or (Path(settings.storage.journal),)
    return Monitor(settings, clock, registry, lambda: watched, lambda _now: HASHES)


class Traffic:
    """Clicks of a service, in the order of time; a click's account is one of a hundred.

    Args:
        seed: of what is drawn.
        rate: clicks a minute.
        first: sequence of the first one.
    """

    def __init__(self, seed: int = 1, rate: int = 100, first: int = 0) -> None:
        self._generator, self._rate, self._next = np.random.default_rng(seed), rate, first

    def minutes(self, start: int, count: int, bundle: str, ivr: float = IVR, people: float = 0.005) -> list[Entry]:
        """Return the decisions of some minutes.

        Args:
            start: microseconds UTC.
            count: minutes.
            bundle: that decides.
            ivr: share of the clicks of robots and of nobody known that are invalid.
            people: share of the clicks of the first fifty accounts, who buy, that are invalid.
        """
        context = Context(bundle, (("user",), ("ip",)), ("f",))
        found = []
        for place in range(count * self._rate):
            time = start + place * MINUTE // self._rate
            account = int(self._generator.integers(0, 100))
            marked = bool(self._generator.random() < (people if account < 50 else 2 * ivr))
            found.append(self._entry(time, account, context, marked=marked))
        return found

    def _entry(self, time: int, account: int, context: Context, *, marked: bool) -> Entry:
        sequence, self._next = self._next, self._next + 1
        user = HASHES.texts([f"user-{account}"])
        return Entry(
            sequence=sequence, decision_id=f"d{sequence}", click_id=f"click-{sequence}", time=time, decided_at=time,
            verdict="invalid_sophisticated" if marked else "valid", reasons=(), lists=(),
            score=0.9 if marked else 0.1, threshold=0.5, slice=("device=mobile", "device=desktop")[sequence % 2],
            bundle=context.bundle, cause="live", context=context.id, enforced=1, click_key=sequence, logged_in=1,
            keys=np.array([user[0], 7], np.uint64).tobytes(), row=b"",
        )  # fmt: skip


def purchase(number: int, entry: Entry, *, later: int = 10 * MINUTE, named: bool = False) -> Purchase:
    """Return a purchase of the account of a click, or one that names the click."""
    user = int(np.frombuffer(entry.keys[:8], np.int64)[0])
    at = entry.time + later
    return Purchase(f"p{number}", at, None if named else user, entry.click_id if named else None, 1, "EUR", at)


def append(path: Path, entries: Sequence[Entry], purchases: Sequence[Purchase] = ()) -> None:
    """Append to a journal as its service does."""
    with Journal(path) as journal:
        for bundle in {entry.bundle for entry in entries}:
            journal.declare(Context(bundle, (("user",), ("ip",)), ("f",)))
        if entries:
            journal.append(list(entries))
        if purchases:
            journal.report(list(purchases))


def totals(monitor: Monitor) -> dict[str, int]:
    """Return the sums over all minutes that the monitor keeps."""
    rows = monitor.state.rows("minutes", 0)
    names = ("clicks", "judged", "marked", "listed", "unmeasurable")
    sums = {name: sum(row.numbers[place] for row in rows) for place, name in enumerate(names)}
    return sums | {
        "bought": sum(row.numbers[-3] for row in rows), "bought_marked": sum(row.numbers[-2] for row in rows)
    }  # fmt: skip


__all__ = [
    "DAY", "HASHES", "HOUR", "IVR", "MINUTE", "SECOND", "START", "Traffic", "append", "monitor_of",
    "purchase", "registry_with", "settings_at", "totals",
]  # fmt: skip
