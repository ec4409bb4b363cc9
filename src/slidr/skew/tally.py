"""Tally: clicks and differences added up, feature by feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.errors import FeatureError, JournalError
from slidr.features.store import TERM, Soundness
from slidr.journal import Context, Entry

_UNSOUND = frozenset(soundness.name.lower() for soundness in Soundness if soundness)


class Example(msgspec.Struct, frozen=True):
    """One click whose feature differs: its id, its time in microseconds UTC, its sequence, and both values."""

    click_id: str
    time: int
    sequence: int
    journalled: float
    expected: float


class FeatureSkew(msgspec.Struct, frozen=True):
    """How a feature's journalled values differ from the expected ones.

    Attributes:
        name: the feature.
        compared: clicks that have it on both sides.
        different: clicks whose values differ in any bit.
        mean_absolute: mean absolute difference of those that differ, in the feature's unit; 0 where none does.
        max_absolute: the largest.
        mean_relative: mean of the same over the larger magnitude of both values, between 0 and 2.
        max_relative: the largest.
        worst: the clicks with the largest absolute difference, largest first.
    """

    name: str
    compared: int
    different: int
    mean_absolute: float
    max_absolute: float
    mean_relative: float
    max_relative: float
    worst: tuple[Example, ...]


class Skew(msgspec.Struct, frozen=True):
    """What a comparison found.

    Attributes:
        compared: clicks whose rows stand on both sides and are sound.
        different: those that differ in any bit of any feature.
        only_journal: clicks that the reference does not know.
        only_lake: clicks of the same span of time in the lake that no journal holds.
        unsound: clicks that could not be measured or, as `erased`, have no row any more, by reason; not compared.
        repeated: entries of a click_id journalled within an hour before; they are not compared.
        missing: sequences between the first and the last that no journal holds; where a replica took over, how many
            its master gave out last is not known, and those are not counted.
        another_key: clicks hashed with another secret key; they are not compared.
        features: those that both sides have, in the order of the reference.
        features_only_journal: features that the reference lacks for these clicks.
        features_only_reference: features that no journalled row has.
    """

    compared: int
    different: int
    only_journal: int
    only_lake: int
    unsound: dict[str, int]
    repeated: int
    missing: int
    another_key: int
    features: tuple[FeatureSkew, ...]
    features_only_journal: tuple[str, ...]
    features_only_reference: tuple[str, ...]

    @property
    def share(self) -> float | None:
        """Share of the compared clicks that differ; None where nothing was compared."""
        return self.different / self.compared if self.compared else None


class _Sums(NamedTuple):
    """What is added up for each feature, arrays of one item a feature."""

    compared: NDArray[np.int64]
    different: NDArray[np.int64]
    absolute: NDArray[np.float64]
    relative: NDArray[np.float64]
    largest_absolute: NDArray[np.float64]
    largest_relative: NDArray[np.float64]


class Tally:
    """Counts clicks and differences."""

    def __init__(self, names: tuple[str, ...], examples: int) -> None:
        self._names = names
        self._examples = examples
        counts, sums = np.zeros((2, len(names)), np.int64), np.zeros((4, len(names)))
        self._sums = _Sums(*counts, *sums)
        self._worst: list[list[tuple[float, Example]]] = [[] for _ in names]
        self._journalled: dict[str, None] = {}
        self._unsound: Counter[str] = Counter()
        self._comparable = np.zeros(0, np.bool_)
        self._seen = self._compared = self._different = self._only = 0
        self._repeated = self._missing = self._foreign = 0
        self._following: int | None = None

    def sort_out(
        self,
        entries: Sequence[Entry],
        wanted: NDArray[np.bool_],
        ours: NDArray[np.bool_],
        repeats: NDArray[np.bool_],
    ) -> None:
        """Count the entries of a group that cannot be compared, and remember which can."""
        for entry in entries:
            if entry.sequence >= 0:
                if self._following is not None:
                    begun = entry.sequence // TERM * TERM
                    self._missing += max(0, entry.sequence - max(self._following, begun))
                self._following = max(entry.sequence + 1, self._following or 0)
        reasons = [_unsound(entry) for entry in entries]
        sound = np.fromiter((not reason for reason in reasons), np.bool_, len(entries))
        fresh = wanted & ~repeats
        self._unsound.update(reasons[place] for place in np.flatnonzero(fresh & ~sound))
        self._seen += int(np.count_nonzero(wanted))
        self._repeated += int(np.count_nonzero(wanted & repeats))
        self._foreign += int(np.count_nonzero(fresh & sound & ~ours))
        self._comparable = fresh & sound & ours

    def add(
        self, entries: Sequence[Entry], known: NDArray[np.bool_], expected: NDArray[np.float32], names: Context
    ) -> None:
        """Add the differences of the comparable entries of a group."""
        self._only += int(np.count_nonzero(self._comparable & ~known))
        chosen = np.flatnonzero(self._comparable & known).tolist()
        self._journalled |= dict.fromkeys(names.features)
        shared = [name for name in self._names if name in names.features]
        columns = [self._names.index(name) for name in shared]
        if not chosen or not shared:
            return
        joined = b"".join(entries[place].row for place in chosen)
        rows = np.frombuffer(joined, "<f4").reshape(len(chosen), len(names.features))
        ours = np.ascontiguousarray(rows[:, [names.features.index(name) for name in shared]], np.float32)
        theirs = np.ascontiguousarray(expected[chosen][:, columns])
        there = ~np.isnan(theirs)
        differs = (ours.view(np.uint32) != theirs.view(np.uint32)) & there
        self._compared += len(chosen)
        self._different += int(np.count_nonzero(differs.any(axis=1)))
        absolute = np.where(differs, np.abs(ours.astype(np.float64) - theirs), 0.0)
        larger = np.maximum(np.abs(ours), np.abs(theirs)).astype(np.float64)
        relative = np.divide(absolute, larger, out=np.zeros_like(absolute), where=differs & (larger > 0))
        sums = self._sums
        for total, values in (
            (sums.compared, there),
            (sums.different, differs),
            (sums.absolute, absolute),
            (sums.relative, relative),
        ):
            total[columns] += values.sum(axis=0)
        for most, values in ((sums.largest_absolute, absolute), (sums.largest_relative, relative)):
            most[columns] = np.maximum(most[columns], values.max(axis=0))
        for place in np.flatnonzero(differs.any(axis=0)):
            self._keep_worst(columns[place], [entries[at] for at in chosen], absolute[:, place],
                             (differs[:, place], ours[:, place], theirs[:, place]))  # fmt: skip

    def _keep_worst(
        self,
        feature: int,
        entries: Sequence[Entry],
        absolute: NDArray[np.float64],
        values: tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]],
    ) -> None:
        differs, ours, theirs = values
        found = np.flatnonzero(differs)
        largest = found[np.argsort(-absolute[found], kind="stable")[: self._examples]]
        kept = self._worst[feature]
        kept += [
            (
                float(absolute[at]),
                Example(
                    entries[at].click_id, entries[at].time, entries[at].sequence, float(ours[at]), float(theirs[at])
                ),
            )
            for at in largest.tolist()
        ]
        kept.sort(key=lambda pair: -pair[0])
        del kept[self._examples :]

    def result(self, only_lake: int) -> Skew:
        """Return what was counted, with the clicks that the lake alone has."""
        if not self._seen:
            raise JournalError("the journal holds no decision of the time asked for; widen --from and --until")
        if self._foreign == self._seen - self._repeated - sum(self._unsound.values()) > 0:
            raise JournalError(
                "the journal's clicks were hashed with another secret key than that of the settings; use the key file"
                " of the service (storage.key_file), or its SLIDR_KEY"
            )
        counted = dict(zip(self._names, self._sums.compared.tolist(), strict=True))
        if not set(self._names) & set(self._journalled):
            raise FeatureError(
                "the journalled rows and the reference have no feature in common; run `slidr backfill` with the"
                " catalogue of the bundle that serves"
            )
        lacking = [name for name in self._journalled if self._compared and not counted.get(name)]
        return Skew(
            compared=self._compared,
            different=self._different,
            only_journal=self._only,
            only_lake=only_lake,
            unsound=dict(self._unsound),
            repeated=self._repeated,
            missing=self._missing,
            another_key=self._foreign,
            features=tuple(
                self._feature(place)
                for place, name in enumerate(self._names)
                if name in self._journalled and name not in lacking
            ),
            features_only_journal=tuple(lacking),
            features_only_reference=tuple(name for name in self._names if name not in self._journalled),
        )

    def _feature(self, place: int) -> FeatureSkew:
        compared, different, absolute, relative, largest_absolute, largest_relative = (
            total[place].item() for total in self._sums
        )
        return FeatureSkew(
            self._names[place],
            compared,
            different,
            absolute / max(different, 1),
            largest_absolute,
            relative / max(different, 1),
            largest_relative,
            tuple(example for _, example in self._worst[place]),
        )


def _unsound(entry: Entry) -> str:
    """Return why an entry has no row that tells something; empty where it has one."""
    erased = "" if entry.row or entry.sequence < 0 else "erased"
    return next((reason for reason in entry.reasons if reason in _UNSOUND), erased)
