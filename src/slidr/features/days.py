"""Backfill of a lake: its clicks folded day by day, each day whole or not at all, on from where the last run ended."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slidr.clock import DAY, midnight
from slidr.errors import FeatureError
from slidr.features.backfill import Part, features_table, fold_log, usable_threads
from slidr.features.catalogue import Catalogue, catalogue_hash
from slidr.features.checkpoints import Checkpoint, Checkpoints, chain
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import compile_catalogue
from slidr.features.slow import SlowDay, SlowTables, built_days
from slidr.features.store import EmbeddedStore
from slidr.lake.delta import Lake
from slidr.settings import Settings, duration
from slidr.tables import CLICKS, FEATURES


class Moment(NamedTuple):
    """An instant, microseconds UTC, and the file for the state as it is before the clicks from then on."""

    instant: int
    state: Path


class Backfilled(NamedTuple):
    """What a backfill did.

    Attributes:
        clicks: clicks in the lake.
        folded: clicks that this run folded; the others were folded before.
        days: days that this run folded.
        unsound: clicks of this run whose row does not say what it should, as where an entity was dropped at the cap.
    """

    clicks: int
    folded: int
    days: int
    unsound: int


@dataclass(frozen=True)
class Backfill:
    """Folds the CLICKS of a lake into FEATURES, the tables of the slow features, and the state behind the last click.

    Every day is one commit, and behind it stands a checkpoint: the state, and what it was made from. A run goes on
    behind the newest checkpoint that still holds, so it may be killed at any moment, and a lake with one more day costs
    that day alone.

    Attributes:
        lake: where CLICKS are read and FEATURES are written.
        settings: threads and limits of the fold, and the folders of state.
        catalogue: the features.
        pseudonymiser: hashes the identifiers.
        now: time that the tables of slow features are dated with, microseconds UTC.
    """

    lake: Lake
    settings: Settings
    catalogue: Catalogue
    pseudonymiser: Pseudonymiser
    now: int

    def run(
        self, progress: Callable[[int, int], None], *, since: int | None = None, moment: Moment | None = None
    ) -> Backfilled:
        """Fold what is not folded yet, and leave the state behind the newest click in `storage.seed`.

        Args:
            progress: called with the clicks done and the clicks in all, after each chunk.
            since: days that end before it only warm the state, and their rows are not written; None for all rows.
            moment: where the state is wanted besides.

        Raises:
            TableError: the lake has no clicks, or cannot be read or written.
        """
        version = self.lake.version(CLICKS)
        contents = self.lake.contents(CLICKS, version=version)
        links = chain(((day, content.hash) for day, content in contents.items()), self._origin)
        kept = [day for day in contents if since is None or midnight(day) + DAY > since]
        checkpoints = Checkpoints(Path(self.settings.storage.backfill))
        days = _Days(self, version, moment, sum(content.rows for content in contents.values()), progress)
        last = days.resume(checkpoints.found(links), list(contents), kept)
        rest = [day for day in contents if last is None or day > last.day]
        days.tell(sum(contents[day].rows for day in contents if day not in rest))
        before = days.done
        for day in rest:
            written = dict(last.written) if last else {}
            days.fold(day, keep=day in kept)
            if day in kept:
                written[day] = _held(self.lake)[day]
            last = Checkpoint(day, links[day], checkpoints.state(day, links[day]), written)
            days.save(last.state)
            checkpoints.note(last)
        days.end(last)
        return Backfilled(days.done, days.done - before, len(rest), days.unsound)

    @property
    def _origin(self) -> str:
        """A hash of what decides the state besides the clicks."""
        features = self.settings.features
        blocks = [block.key for block in compile_catalogue(self.catalogue).blocks]
        made_from = [catalogue_hash(self.catalogue), self.pseudonymiser.fingerprint, features.slow_age, *blocks]
        return hashlib.sha256(" ".join([*made_from, str(features.most_entities)]).encode()).hexdigest()


class _Days:
    """A backfill at work: the store, and how far it is."""

    def __init__(
        self,
        backfill: Backfill,
        version: int,
        moment: Moment | None,
        total: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self.done = self.unsound = 0
        self._backfill, self._version, self._moment, self._total = backfill, version, moment, total
        self._progress = progress
        self._fingerprint = backfill.pseudonymiser.fingerprint
        self._layout = compile_catalogue(backfill.catalogue)
        features = backfill.settings.features
        self._threads = usable_threads(features.threads)
        self._looks_back = max((column.days for column in self._layout.slow), default=0)
        self._slow_folder = Path(backfill.settings.storage.slow)
        self._slow = SlowTables(self._slow_folder, duration(features.slow_age), self._fingerprint)
        self._store = EmbeddedStore(self._layout, most=features.most_entities, threads=self._threads, slow=self._slow)

    def tell(self, clicks: int) -> None:
        """Count clicks as done."""
        self.done += clicks
        self._progress(self.done, self._total)

    def resume(self, checkpoints: list[Checkpoint], days: list[date], kept: list[date]) -> Checkpoint | None:
        """Take over the newest state whose tables are all there; None where the fold begins anew.

        Args:
            checkpoints: of this log, the newest first.
            days: the days of the log.
            kept: the days whose rows are wanted.
        """
        rows = _held(self._backfill.lake)
        built = built_days(self._slow_folder, self._layout, self._fingerprint)
        for checkpoint in checkpoints:
            before = [day for day in days if day <= checkpoint.day]
            written = all(rows[day] == checkpoint.written.get(day) for day in kept if day in before)
            tables = built.issuperset(day for day in before if (checkpoint.day - day).days < self._looks_back)
            early = self._moment is None or midnight(checkpoint.day) + DAY <= self._moment.instant
            if written and tables and early and self._restored(checkpoint.state):
                return checkpoint
        return None

    def _restored(self, state: Path) -> bool:
        try:
            return not self._store.restore(state, fingerprint=self._fingerprint)
        except FeatureError:
            # A damaged checkpoint is as good as none.
            return False

    def fold(self, day: date, *, keep: bool) -> None:
        """Fold a day; write its rows where they are to be kept, and its table of slow features."""
        lake = self._backfill.lake
        with ExitStack() as opened:
            add = opened.enter_context(lake.replacing(FEATURES, day)) if keep else None
            slow = None
            if self._layout.slow:
                slow = opened.enter_context(SlowDay(self._slow_folder, day, self._layout, self._fingerprint))
            for part in self._parts(day):
                if add:
                    add(features_table(part.clicks, self._backfill.catalogue, part.folded.sequences, part.folded.rows))
                if slow:
                    slow.add(part.batch)
                self.unsound += int(np.count_nonzero(part.folded.soundness))
            if slow:
                slow.write(self._backfill.now)
                self._slow.refresh()

    def _parts(self, day: date) -> Iterator[Part]:
        """Yield the clicks of a day as they are folded."""
        begin, end = midnight(day), midnight(day) + DAY
        edges = {begin, end} | ({min(max(self._moment.instant, begin), end)} if self._moment else set())
        for start, stop in pairwise(sorted(edges)):
            if self._moment and self._moment.instant <= start:
                self._take_moment(self._moment)
            clicks = self._backfill.lake.batches(CLICKS, start=start, end=stop, version=self._version)
            yield from fold_log(
                clicks,
                self._layout,
                self._backfill.pseudonymiser,
                self._store,
                threads=self._threads,
                progress=self.tell,
            )

    def _take_moment(self, moment: Moment) -> None:
        self._store.snapshot(moment.state, fingerprint=self._fingerprint)
        self._moment = None

    def save(self, state: Path) -> None:
        """Write the state behind a day."""
        self._store.snapshot(state, fingerprint=self._fingerprint)
        # A run that goes on from the file must do so from the same arrays, to the bit, as this one.
        for block in self._store.blocks:
            block.restore(block.arrays())

    def end(self, last: Checkpoint | None) -> None:
        """Write the state behind the newest click to where a new service looks for it."""
        if self._moment:
            self._take_moment(self._moment)
        seed = Path(self._backfill.settings.storage.seed)
        if last is None:
            self._store.snapshot(seed, fingerprint=self._fingerprint)
            return
        part = seed.with_name(f"{seed.name}.part")
        seed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(last.state, part)
        part.replace(seed)


def _held(lake: Lake) -> defaultdict[date, str]:
    """Return a hash of the rows that FEATURES holds of each day; empty where there are none."""
    return defaultdict(str, {day: content.hash for day, content in lake.contents(FEATURES).items()})
