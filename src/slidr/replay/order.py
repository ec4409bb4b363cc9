"""Order: journalled clicks of a stretch of the fold, in the order in which they are folded again.

That is the order of their sequences. A click that was not folded is put where it was decided, and one whose place in
the fold was found out later stands at that place alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slidr.clock import DAY, SECOND, midnight
from slidr.errors import ReplayError
from slidr.features.clicks import ClickBatch
from slidr.features.keys import Pseudonymiser
from slidr.features.layout import Layout
from slidr.features.recent import REPEAT_WINDOW
from slidr.features.store import TERM
from slidr.lake.delta import Lake
from slidr.lake.parts import Part, parts_of, read_part
from slidr.replay.plan import Plan
from slidr.replay.rows import Contexts, key_matrix
from slidr.tables import ROWS

_COLUMNS = ["click_id", "time", "sequence", "decided_at", "context", "click_key", "logged_in", "keys"]
_RANGES = 5  # named in an error


class Stretch(NamedTuple):
    """A stretch of the fold, and the days whose rows hold all of it.

    Attributes:
        days: first and last UTC day.
        needed: the first sequence of the clicks asked for, or of what was folded behind the first of them.
        first: the first sequence; nothing before it is folded again.
        last: the last sequence; below `first` where nothing was folded.
        missing: ranges of sequences in between that no row has.
    """

    days: tuple[date, date]
    needed: int
    first: int
    last: int
    missing: tuple[tuple[int, int], ...]


class Clicks(NamedTuple):
    """Journalled clicks, as the fold takes them.

    Attributes:
        parts: how ROWS was read, and the clicks of each part.
        batch: n clicks, in that order.
        order: places of the clicks to fold, in that order.
        same: the place of the click whose row is this one's too, int64[n]; of most its own.
        folded: whether each was folded when it was decided, bool[n].
    """

    parts: tuple[tuple[Part, int], ...]
    batch: ClickBatch
    order: NDArray[np.int64]
    same: NDArray[np.int64]
    folded: NDArray[np.bool_]


class Folded(NamedTuple):
    """When clicks were made, their places in the fold, and when they were decided; int64[n] each."""

    times: NDArray[np.int64]
    sequences: NDArray[np.int64]
    decided: NDArray[np.int64]


_NONE = Folded(*(np.empty(0, np.int64) for _ in Folded._fields))


class Sequences:
    """The sequences of the rows of each day, read once.

    Args:
        lake: has the rows.
        version: Delta version of ROWS.
    """

    def __init__(self, lake: Lake, version: int) -> None:
        self._lake, self._version = lake, version
        self._days = sorted(lake.contents(ROWS, version=version))
        self._read: dict[date, Folded] = {}

    def of(self, day: date) -> Folded:
        """Return what is known of the rows of a day."""
        if day not in self._read:
            part, columns = Part(day, (None, None)), ["time", "sequence", "decided_at"]
            found = read_part(self._lake, ROWS, part, columns, version=self._version)
            times, decided = (found[name].cast(pa.int64()).to_numpy() for name in ("time", "decided_at"))
            self._read[day] = Folded(times, found["sequence"].to_numpy(), decided)
        return self._read[day]

    def before(self, day: date) -> Iterator[date]:
        """Yield the days with rows before a day, the newest first."""
        return (one for one in reversed(self._days) if one < day)

    def behind(self, day: date) -> Iterator[date]:
        """Yield the days with rows behind a day, in their order."""
        return (one for one in self._days if one > day)

    def between(self, days: tuple[date, date]) -> Folded:
        """Return what is known of the rows from one day to another one."""
        found = [self.of(day) for day in self._days if days[0] <= day <= days[1]] or [_NONE]
        return Folded(*(np.concatenate(column) for column in zip(*found, strict=True)))


def asked_for(known: Sequences, plan: Plan) -> Stretch:
    """Return the stretch of the fold that the clicks of a plan are of.

    Raises:
        ReplayError: the lake has no rows of the span.
        TableError: the lake cannot be read.
    """
    days = (_day(plan.start), _day(plan.end - 1))
    rows = known.between(days)
    inside = (rows.times >= plan.start) & (rows.times < plan.end)
    if not inside.any():
        raise ReplayError(
            f"no rows of clicks from {_told(plan.start)} to {_told(plan.end)} are in the lake; give the span of what"
            " was decided, or `slidr ship` the journals of that time first"
        )
    sequences = rows.sequences[inside]
    folded = sequences[sequences >= 0]
    before = _last_before(known, days[0], int(rows.decided[inside].min()))
    first, last = (int(folded.min()), int(folded.max())) if len(folded) else (before + 1, before)
    needed = min(before + 1, first) if before >= 0 else first
    return Stretch(days, needed, needed, last, ())


def check_complete(lake: Lake, plan: Plan) -> Stretch:
    """Return the stretch of the fold that a plan's clicks are of, with what is missing of it.

    Raises:
        ReplayError: clicks that were folded are missing, and the plan is not to go over what is there; or the lake
            has no rows of the plan.
        TableError: the lake cannot be read.
    """
    known = Sequences(lake, plan.rows)
    stretch = asked_for(known, plan)
    stretch = reaching(known, stretch, stretch.needed)
    if stretch.missing and not plan.incomplete:
        raise missing_error(stretch)
    return stretch


def reaching(known: Sequences, stretch: Stretch, first: int) -> Stretch:
    """Return a stretch that begins at an earlier sequence, with all days that hold its clicks, and what is missing.

    Raises:
        TableError: the lake cannot be read.
    """
    earliest, latest = stretch.days
    for day in known.before(earliest):
        if not (known.of(day).sequences >= first).any():
            break
        earliest = day
    for day in known.behind(latest):
        sequences = known.of(day).sequences
        if not ((sequences >= 0) & (sequences <= stretch.last)).any():
            break
        latest = day
    held = known.between((earliest, latest)).sequences
    held = held[(held >= first) & (held <= stretch.last)]
    return stretch._replace(days=(earliest, latest), first=first, missing=_gaps(held, first))


def from_time(known: Sequences, stretch: Stretch, start: int) -> Stretch:
    """Return a stretch that begins with the first of the clicks made from a time on.

    Raises:
        TableError: the lake cannot be read.
    """
    rows = known.between((_day(start), stretch.days[1]))
    earlier = rows.sequences[(rows.times >= start) & (rows.sequences >= 0) & (rows.sequences < stretch.needed)]
    return reaching(known, stretch, int(earlier.min(initial=stretch.needed)))


def read_clicks(
    lake: Lake, stretch: Stretch, layout: Layout, contexts: Contexts, pseudonymiser: Pseudonymiser, version: int
) -> Clicks:
    """Return the clicks of a stretch's days and the order in which those of the stretch are folded.

    Raises:
        ReplayError: rows lack keys that are counted by, or two clicks have one sequence.
        TableError: the lake cannot be read.
    """
    parts: list[tuple[Part, int]] = []
    batches: list[ClickBatch] = []
    columns: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    start, end = span_of(stretch)
    for part in parts_of(lake, ROWS, start, end, version=version):
        rows = read_part(lake, ROWS, part, _COLUMNS, version=version)
        keys = key_matrix(rows, layout.keys, contexts, pseudonymiser)
        times, decided = (rows[name].cast(pa.int64()).to_numpy() for name in ("time", "decided_at"))
        batch = ClickBatch(
            np.ascontiguousarray(keys[:, 0]), times, rows["logged_in"].to_numpy(), np.ascontiguousarray(keys[:, 1:].T)
        )
        parts.append((part, rows.num_rows))
        batches.append(batch)
        columns.append((rows["sequence"].to_numpy(), decided))
    whole = ClickBatch(
        np.concatenate([one.ids for one in batches]),
        np.concatenate([one.times for one in batches]),
        np.concatenate([one.logged_in for one in batches]),
        np.concatenate([one.keys for one in batches], axis=1),
    )
    sequences, decided = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Clicks(tuple(parts), whole, *ordered(stretch, whole, sequences, decided), sequences >= 0)


def ordered(
    stretch: Stretch, batch: ClickBatch, sequences: NDArray[np.int64], decided: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `order` and `same` of `Clicks`.

    Args:
        stretch: what is to be folded.
        batch: n clicks.
        sequences: of each, int64[n]; below zero where it was not folded.
        decided: when each was decided, microseconds UTC, int64[n].

    Raises:
        ReplayError: two clicks have one sequence.
    """
    same = np.arange(len(batch))
    folded = np.flatnonzero((sequences >= stretch.first) & (sequences <= stretch.last))
    folded = folded[np.argsort(sequences[folded], kind="stable")]
    twice = np.flatnonzero(np.diff(sequences[folded]) == 0) + 1
    if (batch.ids[folded[twice]] != batch.ids[folded[twice - 1]]).any():
        number = sequences[folded[twice[0]]]
        raise ReplayError(
            f"click {number:,} of the fold is two clicks: the journals are of stores that do not belong together; give"
            " a span of time in which one of them decided"
        )
    # Journalled by two processes: the first place stands for both.
    for place in twice.tolist():
        same[folded[place]] = same[folded[place - 1]]
    folded = np.delete(folded, twice)
    unfolded = np.flatnonzero(sequences < 0)
    unfolded = unfolded[~_placed_later(batch, folded, unfolded, same)]
    before = decided[(sequences >= 0) & (sequences < stretch.first)]
    if len(before):
        unfolded = unfolded[decided[unfolded] > before.max()]
    # Of one batch, in the order of the journal: below zero, sequences count down.
    unfolded = unfolded[np.lexsort((-sequences[unfolded], decided[unfolded]))]
    # A process that was slower to decide does not move a click forward.
    moments = np.maximum.accumulate(decided[folded]) if len(folded) else decided[folded]
    order = np.insert(folded, np.searchsorted(moments, decided[unfolded], side="right"), unfolded)
    return order, same


def _placed_later(
    batch: ClickBatch, folded: NDArray[np.int64], unfolded: NDArray[np.int64], same: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which clicks have their place among those folded, and note whose row is theirs."""
    if not len(folded) or not len(unfolded):
        return np.zeros(len(unfolded), np.bool_)
    by_id = folded[np.argsort(batch.ids[folded], kind="stable")]
    at = np.minimum(np.searchsorted(batch.ids[by_id], batch.ids[unfolded]), len(by_id) - 1)
    found = by_id[at]
    placed = batch.ids[found] == batch.ids[unfolded]
    placed &= np.abs(batch.times[found] - batch.times[unfolded]) <= REPEAT_WINDOW
    same[unfolded[placed]] = found[placed]
    return np.asarray(placed)


def span_of(stretch: Stretch) -> tuple[int, int]:
    """Return the first instant of a stretch's days and the instant after them, microseconds UTC."""
    return midnight(stretch.days[0]), midnight(stretch.days[1]) + DAY


def missing_error(stretch: Stretch) -> ReplayError:
    """Return the error that tells which clicks of a stretch no row holds."""
    count = sum(last - first + 1 for first, last in stretch.missing)
    named = ", ".join(f"{first:,} to {last:,}" for first, last in stretch.missing[:_RANGES])
    more = f" and {len(stretch.missing) - _RANGES:,} more ranges" if len(stretch.missing) > _RANGES else ""
    return ReplayError(
        f"{count:,} clicks that were folded are missing, places {named}{more} of the fold: a part of a journal was"
        " not shipped, or is lost; `slidr ship` the journals of every process, or go over what is there with"
        " --incomplete"
    )


def _gaps(held: NDArray[np.int64], first: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges that sequences leave out; a term begins anew, and what came before it is not known."""
    if not len(held):
        return ()
    # A day is mostly in order, which a stable sort is quick with; a click journalled twice leaves no gap.
    held = np.sort(held, kind="stable")
    expected = np.maximum(np.append(first, held[:-1] + 1), held // TERM * TERM)
    gaps = np.flatnonzero(held > expected)
    return tuple(zip(expected[gaps].tolist(), (held[gaps] - 1).tolist(), strict=True))


def _last_before(known: Sequences, day: date, moment: int) -> int:
    """Return the greatest sequence that was decided before a moment; below zero where none was."""
    for one in (day, *known.before(day)):
        rows = known.of(one)
        earlier = rows.sequences[(rows.decided < moment) & (rows.sequences >= 0)]
        if len(earlier):
            return int(earlier.max())
    return -1


def _day(time: int) -> date:
    return datetime.fromtimestamp(time // SECOND, UTC).date()


def _told(time: int) -> str:
    return datetime.fromtimestamp(time / SECOND, UTC).isoformat(timespec="seconds")
