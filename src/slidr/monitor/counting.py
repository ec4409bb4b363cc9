"""Counting: what is kept of decisions, summed by minute, slice and bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slidr.clock import MINUTE
from slidr.journal.records import Context
from slidr.monitor.reading import Part
from slidr.tables import Verdict

Int64s = NDArray[np.int64]
BINS = 20
"""Bins of the score, of equal width from 0 to 1; a score on an edge lies in the lower one, as in a bundle's."""
_EDGES = np.arange(1, BINS) / BINS
SUMS = (
    "clicks", "judged", "marked", "listed", "unmeasurable", "trusted", "trusted_marked",
    *(f"score_{place}" for place in range(BINS)),
)  # fmt: skip
"""What is counted of a minute's clicks in a slice by a bundle.

`judged`: the model gave a score; `marked`: it found them invalid; `listed`: a list rule did; `trusted`: of the most
trusted accounts, those that the model judged; `trusted_marked`: those of them that it found invalid.
"""
_VERDICTS = {verdict.value: place for place, verdict in enumerate(Verdict)}
_MARKED, _LISTED, _UNMEASURABLE = (
    _VERDICTS[verdict.value]
    for verdict in (Verdict.INVALID_SOPHISTICATED, Verdict.INVALID_GENERAL, Verdict.UNMEASURABLE)
)
_USER = ("user",)


class Clicks(NamedTuple):
    """Decided clicks, a column each.

    Attributes:
        click_ids: as the requests gave them.
        sequences: places in the fold.
        click_keys: keyed hashes of the click_ids.
        times: when they were made.
        minutes: when they were decided, whole minutes since 1970.
        verdicts: places in `Verdict`.
        users: keyed hashes of the accounts; 0 where not known.
        groups: which slice and bundle of `names`.
        scores: NaN where the model was not asked.
        names: slices and bundles.
        causes: (click, why it is unmeasurable).
    """

    click_ids: Sequence[str]
    sequences: Int64s
    click_keys: Int64s
    times: Int64s
    minutes: Int64s
    verdicts: Int64s
    users: Int64s
    groups: Int64s
    scores: NDArray[np.float64]
    names: list[tuple[str, str]]
    causes: list[tuple[int, str]]

    def without(self, twins: NDArray[np.bool_]) -> Clicks:
        """Return the clicks but for some, bool[n]."""
        if not twins.any():
            return self
        kept = np.flatnonzero(~twins)
        place = np.cumsum(~twins) - 1
        return self._replace(
            click_ids=[self.click_ids[one] for one in kept.tolist()],
            causes=[(int(place[click]), cause) for click, cause in self.causes if not twins[click]],
            **{name: getattr(self, name)[kept] for name in _ARRAYS},
        )


_ARRAYS = ("sequences", "click_keys", "times", "minutes", "verdicts", "users", "groups", "scores")


class Counts(NamedTuple):
    """Sums of clicks.

    Attributes:
        rows: (minute, slice, bundle, *`SUMS`).
        causes: (minute, slice, cause, clicks) of the unmeasurable ones.
    """

    rows: list[tuple[int | str, ...]]
    causes: list[tuple[int, str, str, int]]


def clicks_of(part: Part, context: Callable[[str], Context], now: int) -> Clicks:
    """Return the clicks of a part of a journal.

    Args:
        part: not empty.
        context: returns the context of a name.
        now: microseconds UTC; what was decided later, by a clock that is ahead, counts to this minute.
    """
    click_id, time, decided, verdict, reasons, score, slice_, bundle, contexts, key, keys, sequence = part.columns
    minutes = np.minimum(np.array(decided, np.int64), now) // MINUTE
    found: dict[tuple[str, str], int] = {}
    groups = [found.setdefault(pair, len(found)) for pair in zip(slice_, bundle, strict=True)]
    verdicts = np.array([_VERDICTS[one] for one in verdict], np.int64)
    # A score that is None reads as NaN.
    scores = np.array(score, np.float64)
    causes = [(int(place), _cause(reasons[place])) for place in np.flatnonzero(verdicts == _UNMEASURABLE).tolist()]
    return Clicks(
        click_id, np.array(sequence, np.int64), np.array(key, np.int64), np.array(time, np.int64), minutes, verdicts,
        _users(contexts, keys, context), np.array(groups, np.int64), scores, list(found), causes,
    )  # fmt: skip


def _cause(reasons: str) -> str:
    codes = json.loads(reasons)
    return str(codes[0]) if codes else "unknown"


def _users(contexts: Sequence[str], keys: Sequence[bytes], context: Callable[[str], Context]) -> Int64s:
    starts = {}
    for name in set(contexts):
        entities = context(name).keys
        starts[name] = 8 * entities.index(_USER) if _USER in entities else None
    if len(starts) == 1 and (start := next(iter(starts.values()))) is not None:
        bounds = slice(start, start + 8)
        found = [one[bounds] for one in keys]
    else:
        found = [
            b"" if (start := starts[name]) is None else one[start : start + 8]
            for name, one in zip(contexts, keys, strict=True)
        ]
    return np.frombuffer(b"".join(one.ljust(8, b"\0") for one in found), "<i8").astype(np.int64)


def count(clicks: Clicks, trusted: Int64s) -> Counts:
    """Return the sums of clicks.

    Args:
        clicks: to be counted.
        trusted: hashes of the most trusted accounts, sorted.
    """
    if not len(clicks.minutes):
        return Counts([], [])
    first = int(clicks.minutes.min())
    kinds = len(clicks.names)
    groups, places = np.unique((clicks.minutes - first) * kinds + clicks.groups, return_inverse=True)
    judged = ~np.isnan(clicks.scores)
    marked = clicks.verdicts == _MARKED
    known = judged & _among(clicks.users, trusted)
    every, listed = np.ones(len(places), np.bool_), clicks.verdicts == _LISTED
    kinds_of = (every, judged, marked, listed, clicks.verdicts == _UNMEASURABLE, known, known & marked)
    sums = [np.bincount(places[which], minlength=len(groups)) for which in kinds_of]
    bins = np.searchsorted(_EDGES, clicks.scores[judged], side="left")
    histogram = np.bincount(places[judged] * BINS + bins, minlength=len(groups) * BINS).reshape(len(groups), BINS)
    table = np.column_stack([*sums, histogram]).tolist()
    rows: list[tuple[int | str, ...]] = [
        (first + group // kinds, *clicks.names[group % kinds], *row)
        for group, row in zip(groups.tolist(), table, strict=True)
    ]
    causes: dict[tuple[int, str, str], int] = {}
    for click, cause in clicks.causes:
        where = (int(clicks.minutes[click]), clicks.names[int(clicks.groups[click])][0], cause)
        causes[where] = causes.get(where, 0) + 1
    return Counts(rows, [(*where, number) for where, number in causes.items()])


def _among(values: Int64s, known: Int64s) -> NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.asarray(known[places] == values)
