"""Metrics: what a service tells Prometheus. Stages are fed once a batch, requests and decisions one by one."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from math import nan
from pathlib import Path

from slidr.clock import SECOND, Clock, SystemClock
from slidr.decide import Decisions
from slidr.features.doubts import NO_IDENTIFIERS
from slidr.features.slow import SlowTables
from slidr.features.store import Soundness
from slidr.journal import Entry
from slidr.rules import ListRule
from slidr.service.exposition import Counter, Distribution, Family, Gauge, Histogram, exposition
from slidr.tables import Verdict

_SECONDS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 1.0)
_CLICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_STAGES = ("door", "wait", "rules", "fold", "score", "journal")
_FEW = 64
"""Clicks of a request that is still answered as fast as one with a single click."""
_MOST_SLICES = 1_000
"""Slices that are shown apart: a scrape holds requests up, and takes four lines of each."""
OTHER = "other"
"""The slices beyond the most that are shown apart."""
_CAUSES = (NO_IDENTIFIERS, "deadline", *(one.name.lower() for one in Soundness if one is not Soundness.SOUND))
_VERDICTS = tuple(verdict.value for verdict in Verdict)


class Metrics:
    """The metrics of one service.

    Args:
        clock: tells how old things are; the machine's where None.

    Attributes:
        door: seconds of parsing a batch's clicks.
        wait: seconds that a batch's first click has waited.
        rules: seconds of the list rules over a batch.
        fold: seconds of the feature store over a batch.
        score: seconds of model and thresholds over a batch.
        journal: seconds of writing a batch to the journal.
        batch: clicks decided at once.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.door, self.wait, self.rules, self.fold, self.score, self.journal = (
            Distribution(_SECONDS) for _ in _STAGES
        )
        self.batch = Distribution(_CLICKS)
        self._latencies = {size: Distribution(_SECONDS) for size in ("one", "few", "many")}
        self._slices: dict[str, str] = {}
        self._clock: Clock = SystemClock() if clock is None else clock
        self._families: list[Family] = []
        self._declare_requests()
        self._declare_decisions()
        self._declare_versions()
        self._declare_faults()
        self._declare_state()
        self._declare_process()

    @property
    def families(self) -> Sequence[Family]:
        """All that is shown."""
        return tuple(self._families)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return exposition(self._families)

    def _counter(
        self, name: str, meaning: str, labels: Sequence[str] = (), known: Iterable[tuple[str, ...]] = ()
    ) -> Counter:
        counter = Counter(name, meaning, labels, known)
        self._families.append(counter)
        return counter

    def _gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        gauge = Gauge(name, meaning, labels)
        self._families.append(gauge)
        return gauge

    def _declare_requests(self) -> None:
        self._requests = self._counter(
            "slidr_requests_total",
            "Requests answered, by HTTP status.",
            ["status"],
            [(status,) for status in ("200", "429", "500", "503")],
        )
        self._families.append(
            Histogram(
                "slidr_request_seconds",
                f"Time from a request for decisions to its answer, by its clicks: one, few (2 to {_FEW}) or many.",
                "clicks",
                self._latencies,
            )
        )
        self.malformed = self._counter("slidr_malformed_clicks_total", "Clicks refused at the door.")
        self._purchases = self._counter(
            "slidr_purchases_total",
            "Purchases reported, by what became of them: new, known before, or malformed.",
            ["outcome"],
            [(outcome,) for outcome in ("new", "known", "malformed")],
        )
        self._refused = self._counter(
            "slidr_refused_connections_total",
            "Connections refused or cut off, by cause.",
            ["cause"],
            [(cause,) for cause in ("connections", "head", "malformed", "pipelined", "slow", "slow_reader")],
        )
        self.overloaded = self._counter("slidr_overloaded_total", "Requests refused since the queue was full.")
        self.limited = self._counter(
            "slidr_limited_total", "Requests refused since their client sends more than service.client_rate."
        )
        self.queue = self._gauge("slidr_queue_clicks", "Clicks that wait.")
        self._families.append(
            Histogram(
                "slidr_stage_seconds",
                f"Time that a batch spends in a stage: {', '.join(_STAGES)}.",
                "stage",
                {stage: getattr(self, stage) for stage in _STAGES},
            )
        )
        self._families.append(Histogram("slidr_batch_clicks", "Clicks decided at once.", "", {"": self.batch}))

    def _declare_decisions(self) -> None:
        self._decisions = self._counter(
            "slidr_decisions_total", "Clicks decided, without repeats.", ["verdict", "slice"]
        )
        self._unmeasurable = self._counter(
            "slidr_unmeasurable_total",
            "Clicks decided without being measured, by cause.",
            ["cause"],
            [(cause,) for cause in _CAUSES],
        )
        self._enforced = self._counter(
            "slidr_enforced_total",
            "Clicks decided, by whether the answer said what was decided (1) or the service only observed (0).",
            ["enforced"],
            [("0",), ("1",)],
        )
        self.repeats = self._counter("slidr_repeats_total", "Clicks answered with their original's decision.")
        self.deadline_missed = self._counter(
            "slidr_deadline_missed_total", "Clicks answered as unmeasurable since their decision did not come in time."
        )
        self._hits = self._counter("slidr_list_hits_total", "Clicks that a list rule names.", ["list"])
        self._list_age = self._gauge("slidr_list_age_seconds", "Clock less the last change of a list.", ["list"])
        self._list_stale = self._gauge("slidr_list_stale", "1 for a list older than rules.stale_after.", ["list"])
        self._list_info = self._gauge("slidr_list_info", "1 for the version of a rule's lists.", ["list", "version"])
        self.list_changes = self._counter("slidr_list_changes_total", "Times that changed list files were taken over.")
        self.list_refused = self._gauge(
            "slidr_list_refused", "1 while a changed list file cannot be used; the one before stays."
        )
        self.lag = self._gauge("slidr_event_time_lag_seconds", "Clock less the newest click of the last batch.")

    def _declare_versions(self) -> None:
        self._bundle = self._gauge(
            "slidr_bundle_info", "1 for the bundle that decides, and for its challenger.", ["bundle", "role"]
        )
        self._bundle_age = self._gauge("slidr_bundle_age_seconds", "Clock less the making of the bundle that decides.")
        self._bundle_age.follow(lambda: nan)
        self.swaps = self._counter("slidr_swaps_total", "Times that another bundle took over.")
        self.swap_errors = self._counter(
            "slidr_swap_errors_total", "Bundles that could not take over; the one before went on deciding."
        )
        self._shadows = self._counter(
            "slidr_shadow_decisions_total",
            "Clicks that the challenger decided in the shadow.",
            ["verdict"],
            [(verdict,) for verdict in _VERDICTS],
        )
        self._disagreements = self._counter(
            "slidr_shadow_disagreements_total", "Clicks of which the challenger's verdict is another."
        )

    def _declare_faults(self) -> None:
        self._store_errors = self._counter(
            "slidr_store_errors_total",
            "Calls of the feature store that failed, by cause.",
            ["cause"],
            [(cause,) for cause in ("unavailable", "lost", "damaged")],
        )
        self.journal_errors = self._counter("slidr_journal_errors_total", "Failed writes of the journal.")
        self.ready = self._gauge("slidr_ready", "1 while the service decides.")
        self.workers = self._gauge("slidr_workers", "Processes that there should be.")
        self.workers.set(1)
        self._disk = self._gauge("slidr_journal_disk_free_bytes", "Free space of the disk that has the journal.")
        self._disk.follow(lambda: nan)

    def _declare_state(self) -> None:
        self._entities = self._gauge("slidr_live_entities", "Entities that the store holds.")
        self._evicted = self._gauge("slidr_evicted_entities", "Entities that the store dropped at its cap.")
        self._slow_age = self._gauge(
            "slidr_slow_age_seconds", "Clock less the end of the day of the newest table of slow features."
        )
        self._slow_age.follow(lambda: nan)
        self._slow_unknown = Counter(
            "slidr_slow_unknown_total",
            "Clicks with slow features not known, their table missing or stale.",
            ["cause"],
            [("missing",), ("stale",)],
        )
        self._families.append(self._slow_unknown)

    def _declare_process(self) -> None:
        build = self._gauge("slidr_build_info", "1, with the version of slidr.", ["version"])
        build.replace({(version("slidr"),): 1.0})
        start = self._gauge("process_start_time_seconds", "When the service began, in seconds since 1970.")
        start.set(self._clock.now() / SECOND)
        self._families.append(_ProcessorTime())
        self._gauge("process_resident_memory_bytes", "Memory of the process.").follow(_memory)
        self._gauge("process_open_fds", "Open files and connections.").follow(_open_files)
        self._gauge("process_max_fds", "Most files and connections that may be open.").follow(
            lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        )

    def watch(self, *, queue: Callable[[], float], entities: Callable[[], float], evicted: Callable[[], float]) -> None:
        """Read the length of the queue and the numbers of entities whenever somebody asks."""
        self.queue.follow(queue)
        self._entities.follow(entities)
        self._evicted.follow(evicted)

    def watch_disk(self, journal: Path) -> None:
        """Read the free space of the journal's disk whenever somebody asks."""
        self._disk.follow(lambda: shutil.disk_usage(journal.parent).free)

    def watch_slow(self, tables: Callable[[], SlowTables | None], clock: Clock | None = None) -> None:
        """Read the age of the tables of slow features, and what they could not tell, whenever somebody asks."""
        self._clock = self._clock if clock is None else clock

        def age() -> float:
            found = tables()
            for cause in ("missing", "stale"):
                self._slow_unknown.at(cause).value = float(getattr(found, cause, 0))
            return nan if found is None or found.newest is None else self._age(found.newest)

        self._slow_age.follow(age)

    def watch_lists(self, rules: Sequence[ListRule], stale_after: int) -> None:
        """Show the version of each list; how old it is and whether that is too old, whenever somebody asks.

        Args:
            rules: those that run.
            stale_after: microseconds.
        """
        updated = {(rule.name,): rule.updated for rule in rules if rule.updated is not None}
        for rule in rules:
            self._hits.at(rule.name)
        self._list_info.replace({(rule.name, rule.version): 1.0 for rule in rules})
        limit = stale_after / SECOND
        self._list_age.follow_all(lambda: {name: self._age(at) for name, at in updated.items()})
        self._list_stale.follow_all(lambda: {name: float(self._age(at) > limit) for name, at in updated.items()})

    def serving(self, champion: str, created_at: int, challenger: str | None) -> None:
        """Name the bundle that decides and the one that decides in its shadow.

        Args:
            champion: the identity of the bundle that decides.
            created_at: when it was made, microseconds UTC.
            challenger: the identity of the other one.
        """
        roles: dict[tuple[str, ...], float] = {(champion, "champion"): 1.0}
        if challenger is not None:
            roles[challenger, "challenger"] = 1.0
        self._bundle.replace(roles)
        self._bundle_age.follow(lambda: self._age(created_at))

    def answered(self, status: int, seconds: float, clicks: int) -> None:
        """Count a request; the time of those that had clicks decided is kept."""
        self._requests.at(str(status)).value += 1
        if clicks:
            self._latencies["one" if clicks == 1 else "few" if clicks <= _FEW else "many"].observe(seconds)

    def journalled(self, entries: Iterable[Entry]) -> None:
        """Count the decisions of a batch as the journal has them."""
        decisions, enforced, slices = self._decisions.at, self._enforced.at, self._slices
        for entry in entries:
            decisions(entry.verdict, slices.get(entry.slice) or self._shown(entry.slice)).value += 1
            enforced("1" if entry.enforced else "0").value += 1
            for name in entry.lists:
                self._hits.at(name).value += 1
            if entry.verdict == Verdict.UNMEASURABLE:
                for reason in entry.reasons:
                    self._unmeasurable.at(reason).value += 1

    def shadowed(self, champion: Decisions, challenger: Decisions) -> None:
        """Count what the challenger decided of a batch, without repeats, and where it disagrees."""
        for first, second, repeat in zip(
            champion.verdicts, challenger.verdicts, champion.repeats.tolist(), strict=True
        ):
            if not repeat:
                self._shadows.at(second.value).value += 1
                if first is not second:
                    self._disagreements.inc()

    def reported(self, new: int, known: int, malformed: int) -> None:
        """Count purchases that were reported."""
        for outcome, purchases in (("new", new), ("known", known), ("malformed", malformed)):
            self._purchases.at(outcome).value += purchases

    def refused(self, cause: str) -> None:
        """Count a connection that was refused or cut off."""
        self._refused.at(cause).value += 1

    def store_error(self, cause: str) -> None:
        """Count a call of the feature store that failed."""
        self._store_errors.at(cause).value += 1

    def _age(self, since: int) -> float:
        return (self._clock.now() - since) / SECOND

    def _shown(self, name: str) -> str:
        """Return the name under which a slice is counted."""
        if len(self._slices) >= _MOST_SLICES:
            return OTHER
        return self._slices.setdefault(name, name)


class _ProcessorTime:
    """The processor time that the process has taken."""

    name = "process_cpu_seconds_total"
    kind = "counter"
    meaning = "Processor time that the process has taken."

    def lines(self) -> Iterator[str]:
        """Return its line."""
        times = os.times()
        yield f"{self.name} {times.user + times.system!r}"


def _memory() -> float:
    # The second figure of statm is the resident pages; where there is no such file, the most that there ever was.
    with suppress(OSError):
        return float(int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize())
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _open_files() -> float:
    try:
        return float(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    except OSError:
        return nan
