"""Running: a look at the journals, at what deviates, and at what is to be done about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slidr.clock import DAY, MINUTE, SECOND, Clock
from slidr.errors import SlidrError
from slidr.features.keys import Pseudonymiser
from slidr.lake.delta import Lake
from slidr.monitor.alarms import Alarm, Alarms, Wrong
from slidr.monitor.daytime import by_hour
from slidr.monitor.deviations import Counted, Deviation, Watch, counted
from slidr.monitor.expected import Expected, expected_of
from slidr.monitor.exposition import Sample, write
from slidr.monitor.intake import Intake, Taken
from slidr.monitor.rollback import WHO, Rules, blamed, refused
from slidr.monitor.state import State
from slidr.monitor.webhook import Webhook
from slidr.posting import Receiver, webhook_secret
from slidr.registry import HistoryEntry, Registry
from slidr.settings import Settings
from slidr.slices import ROOT

_log = logging.getLogger("slidr.monitor")
_AGAIN = 10 * MINUTE
"""After which a rollback that the registry refused is tried again."""


class Seen(NamedTuple):
    """What a look saw and did.

    Attributes:
        champion: the bundle that decides; empty where there is none.
        taken: what was read.
        deviations: everything that is watched of the champion.
        open: the alarms that are open.
        rolled_back: the bundle that decides instead from now on; empty where nothing was rolled back.
        held_back: why nothing was, where a deviation is reason enough; else empty.
    """

    champion: str
    taken: Taken
    deviations: tuple[Deviation, ...]
    open: tuple[Alarm, ...]
    rolled_back: str
    held_back: str


class Monitor:
    """Watches what the services of one registry decide.

    Args:
        settings: all of them.
        clock: tells the time.
        registry: names the champion, and is told of what is found.
        journals: returns the journals that are there.
        hashes: hashes accounts as the services do at a time.
        lake: whose purchases count; None for none.

    Raises:
        ServiceError: its state cannot be used.
        SettingsError: the webhook is no address, or its secret none.
    """

    def __init__(
        self, settings: Settings, clock: Clock, registry: Registry, journals: Callable[[], Sequence[Path]],
        hashes: Callable[[int], Pseudonymiser], lake: Lake | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._clock, self._registry = settings, clock, registry
        self._journals, self._hashes = journals, hashes
        path = Path(settings.storage.monitor)
        address, secret = settings.monitor.webhook, webhook_secret()
        self.webhook = Webhook(Receiver(address, clock, setting="monitor.webhook", secret=secret) if address else None)
        self.state = State(path)
        self._shown = path.with_suffix(".prom")
        self._intake = Intake(self.state, settings, lake)
        self._watch = Watch(self.state, settings.monitor, settings.calibration.fpr_budget)
        self._alarms = Alarms(self.state, self.webhook.send)
        self._rules = Rules.of(settings)
        self._expected: Expected | None = None
        self._tried: tuple[str, int] = ("", 0)

    def look(self) -> Seen:
        """Read what is new, work out what deviates, tell of it, and roll back where that is allowed and due.

        What cannot be read is an alarm, and everything else goes on.

        Raises:
            ServiceError: the state cannot be written: without it, nothing would be counted once.
        """
        now = self._clock.now()
        taken = self._intake.take(self._journals(), self._hashes(now), now)
        wrong = list(taken.wrong)
        deviations: list[Deviation] = []
        champion: HistoryEntry | None = None
        try:
            champion = self._registry.champion()
            if champion is not None:
                deviations = self._watch.deviations(self._expectation(champion, wrong), champion.at, now)
        except (SlidrError, OSError) as fault:
            wrong.append(Wrong("registry", "registry", str(fault)))
        bundle = champion.bundle if champion else ""
        self._alarms.update(deviations, wrong, bundle, now)
        done, held = ("", "") if champion is None else self._act(deviations, champion, now)
        self._show(bundle, now)
        return Seen(bundle, taken, tuple(deviations), tuple(self._alarms.open.values()), done, held)

    def _expectation(self, champion: HistoryEntry, wrong: list[Wrong]) -> Expected:
        """Return what the champion expects; where it cannot be read, the earlier weeks and the budget must do."""
        if self._expected is None or self._expected.bundle != champion.bundle:
            try:
                self._expected = expected_of(self._registry, champion.bundle)
            except (SlidrError, OSError) as fault:
                wrong.append(Wrong("bundle", "registry", str(fault)))
                return Expected(champion.bundle, {}, {})
        return self._expected

    def _act(self, deviations: list[Deviation], champion: HistoryEntry, now: int) -> tuple[str, str]:
        """Keep a champion that is to be blamed from being stable, and roll back; return to what, or why not."""
        cause = blamed(deviations, champion, now, self._rules)
        if cause is None:
            return "", ""
        why = self._alarms.open[cause.key].message if cause.key in self._alarms.open else cause.key
        try:
            history = self._registry.history()
            alarmed = [e for e in history if e.kind in {"alarm", "clear"} and e.bundle == champion.bundle]
            if not alarmed:
                self._registry.alarm(champion.bundle, at=now, who=WHO, why=why)
            if not self._settings.monitor.rollback:
                return "", "monitor.rollback is false"
            last = int(self.state.newest() + 1) * MINUTE
            if held := refused(cause, history, champion, (last, now), self._rules):
                return "", held
            if self._tried[0] == champion.bundle and 0 <= now - self._tried[1] < _AGAIN:
                return "", "the registry refused a short while ago"
            self._tried = (champion.bundle, now)
            entry = self._registry.rollback(at=now, who=WHO, why=why, of=champion.bundle)
        except (SlidrError, OSError) as fault:
            _log.error("nothing is rolled back: %s", fault)
            return "", str(fault)
        words = f"{champion.bundle} is rolled back, {entry.bundle} decides: {why}"
        self.state.note("rollbacks", int(self.state.meta("rollbacks", 0)) + 1)
        self._alarms.report(Alarm(key="rollback", kind="rollback", at=now, message=words, bundle=champion.bundle))
        return entry.bundle, ""

    def _show(self, bundle: str, now: int) -> None:
        """Write what Prometheus reads; where that fails the monitor goes on, and the file's age tells."""
        minute = now // MINUTE
        day = self.state.rows("minutes", minute - DAY // MINUTE, bought=True)
        hour = [row for row in self.state.rows("minutes", minute - 60) if row.start < minute]
        samples: dict[str, list[Sample]] = {
            "slidr_monitor_looked_seconds": [({}, now / SECOND)],
            "slidr_monitor_decided_seconds": [({}, self.state.newest() * 60.0)],
            "slidr_monitor_webhook_failures_total": [({}, self.webhook.failed)],
            "slidr_monitor_rollbacks_total": [({}, int(self.state.meta("rollbacks", 0)))],
            "slidr_monitor_alarm": [
                ({"alarm": one.metric or one.kind, "slice": one.slice, "key": one.key}, 1.0)
                for one in self._alarms.open.values()
            ],
        }
        samples["slidr_monitor_expected_share"] = [
            ({"slice": where}, share) for where, share in self._usual_shares(bundle, minute - 60, minute).items()
        ]
        for where in sorted({row.slice for row in hour} | {ROOT}):
            part = counted([row for row in hour if where in {row.slice, ROOT}])
            bought = counted([row for row in day if where in {row.slice, ROOT}])
            for name, value in (
                ("clicks", float(part.of("clicks").sum())),
                ("invalid_share", _share(part, "marked", "judged")),
                ("unmeasurable_share", _share(part, "unmeasurable", "clicks")),
                ("trusted_invalid_share", _share(part, "trusted_marked", "trusted")),
                ("purchasing_clicks", float(bought.of("bought").sum())),
                ("false_positive_rate", _share(bought, "bought_marked", "bought")),
            ):
                if value is not None:
                    samples.setdefault(f"slidr_monitor_{name}", []).append(({"slice": where}, value))
        try:
            write(self._shown, samples)
        except OSError as fault:
            _log.warning("%s cannot be written: %s", self._shown, fault)

    def _usual_shares(self, bundle: str, first: int, end: int) -> dict[str, float]:
        """Return the shares that a bundle expects by slice, over some minutes of the day."""
        expected = self._expected
        if expected is None or expected.bundle != bundle:
            return {}
        if expected.hours is None:
            return expected.ivr
        starts, moves = np.arange(first, end, dtype=np.float64), expected.hours
        return {
            where: float(by_hour(np.full(len(starts), share), starts, moves)[0].mean())
            for where, share in expected.ivr.items()
        }

    def close(self, seconds: float = 10.0) -> None:
        """Wait for alarms that are on their way, at most for so long, and close the state."""
        self.webhook.close(seconds)
        self.state.close()


def _share(counts: Counted, hits: str, among: str) -> float | None:
    total = float(counts.of(among).sum())
    return float(counts.of(hits).sum()) / total if total else None
