"""Answers and entries: what a request is told of a decision, and what the journal keeps of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from slidr.decide import Decisions
from slidr.features.clicks import Click, ClickBatch
from slidr.features.store import Soundness
from slidr.journal import Entry, Shadow
from slidr.settings import ServiceSettings
from slidr.tables import INVALID, Verdict

LIVE = "live"
LATE = "late"
"""Cause of an entry that tells the place in the fold, and the row, of a click that was answered before."""
DEADLINE = "deadline"
"""Reason of a click that could not be decided in time."""
ORIGINAL_UNKNOWN = (Soundness.ORIGINAL_UNKNOWN.name.lower(),)
"""Reasons of a repeat whose original was folded but is not in this journal, such as one of a backfilled log."""
Enforcement: TypeAlias = Callable[[str | None], bool]
"""Tells of a campaign whether what is decided of its clicks is also answered."""
_WORDS = {verdict: verdict.value for verdict in Verdict}
_INVALID = frozenset(INVALID)
_COLD, _UNAVAILABLE = Soundness.STATE_COLD.name.lower(), Soundness.STORE_UNAVAILABLE.name.lower()


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a request is told of a click; score and threshold stay inside, for they say how far a robot may go.

    Attributes:
        click_id: the click.
        decision_id: identifies the decision; null where the original of a repeat is not known.
        verdict: what was decided, as far as it is enforced.
        invalid: whether the click should not be billed for being robotic.
        reasons: stable codes.
        slice: slice whose threshold was used.
        bundle: bundle that decided.
        sequence: place of the click in the fold; below zero where it was not folded.
        enforced: false where the service only observes: whatever was decided, nothing is answered as invalid.
    """

    click_id: str
    decision_id: str | None
    verdict: str
    invalid: bool
    reasons: tuple[str, ...]
    slice: str
    bundle: str
    sequence: int
    enforced: bool


def answer_of(entry: Entry) -> Answer:
    """Return what a request is told of a journalled decision."""
    invalid = entry.verdict in _INVALID
    silent = invalid and not entry.enforced
    return Answer(
        entry.click_id,
        entry.decision_id,
        Verdict.VALID.value if silent else entry.verdict,
        invalid and not silent,
        () if silent else entry.reasons,
        entry.slice,
        entry.bundle,
        entry.sequence,
        bool(entry.enforced),
    )


def unknown(decisions: Decisions, place: int) -> Answer:
    """Return the answer for a repeat whose original is not known."""
    return Answer(
        decisions.click_ids[place],
        None,
        Verdict.UNMEASURABLE.value,
        invalid=False,
        reasons=ORIGINAL_UNKNOWN,
        slice=decisions.slices[place],
        bundle=decisions.bundle,
        sequence=int(decisions.sequences[place]),
        enforced=True,
    )


def unfolded_once(decisions: Decisions) -> Decisions:
    """Return decisions in which a click that was not folded, and comes again among them, is a repeat."""
    if decisions.sequences.min(initial=0) >= 0:
        return decisions
    repeats, seen = decisions.repeats.copy(), set[str]()
    for place in np.flatnonzero((decisions.sequences < 0) & ~repeats).tolist():
        repeats[place] = decisions.click_ids[place] in seen
        seen.add(decisions.click_ids[place])
    return decisions._replace(repeats=repeats)


def enforcement(service: ServiceSettings) -> Enforcement:
    """Return what tells which campaigns' decisions are enforced: all, none, or a share of them by their hash.

    A campaign stays where it is: it has the same hash in every process, and a larger share holds all of a smaller one.

    >>> from slidr.settings import ServiceSettings
    >>> canary = enforcement(ServiceSettings(mode="canary", canary_share=0.25))
    >>> sum(canary(f"campaign {number}") for number in range(1000))
    251
    """
    mode: Literal["enforce", "canary", "observe"] = service.mode
    if mode != "canary":
        return lambda _campaign: mode == "enforce"
    bound = service.canary_share * 2**32

    @lru_cache(maxsize=1 << 16)
    def enforced(campaign: str | None) -> bool:
        # A click without a campaign is charged to nobody that could be among the first.
        if campaign is None:
            return False
        digest = hashlib.blake2b(campaign.encode("utf-8", "surrogatepass"), digest_size=4).digest()
        return int.from_bytes(digest) < bound

    return enforced


class Recorder:
    """Turns decisions into entries of one journal.

    Args:
        journal: the journal's id, with which the decisions' ids begin.
        enforced: which campaigns' decisions are enforced; all where None.
        next_unfolded: the sequence below zero for the next click that was not folded.
    """

    def __init__(self, journal: str, enforced: Enforcement | None = None, next_unfolded: int = -1) -> None:
        self._journal = journal
        self._enforced: Enforcement = enforced or (lambda _campaign: True)
        self._next_unfolded = next_unfolded

    def entries(
        self, decisions: Decisions, clicks: Sequence[Click], decided_at: int, places: Sequence[int] | None = None
    ) -> list[Entry]:
        """Return what the journal takes of a batch.

        Args:
            decisions: of the clicks.
            clicks: as they were decided.
            decided_at: microseconds UTC.
            places: which of them; all but the repeats where None.
        """
        if places is None:
            repeats = decisions.repeats
            places = np.flatnonzero(~repeats).tolist() if repeats.any() else range(len(clicks))
        keys, size = _keys(decisions.batch)
        rows, features = np.ascontiguousarray(decisions.rows, "<f4").tobytes(), 4 * decisions.rows.shape[1]
        ids, logged_in = decisions.batch.ids.view(np.int64).tolist(), decisions.batch.logged_in.tolist()
        sequences, times = decisions.sequences.tolist(), decisions.batch.times.tolist()
        scores, thresholds = _nullable(decisions.scores), _nullable(decisions.thresholds)
        verdicts, reasons, lists = decisions.verdicts, decisions.reasons, decisions.lists
        slices, bundle = decisions.slices, decisions.bundle
        enforced, journal, context = self._enforced, self._journal, decisions.context
        # A third of what calling the class takes, which stands for every click.
        new, entries = tuple.__new__, []
        for at in places:
            click, sequence = clicks[at], sequences[at]
            row = rows[at * features : (at + 1) * features]
            if sequence < 0:
                sequence, row = self._unfolded(), b""
            entries.append(
                new(
                    Entry,
                    (
                        sequence,
                        f"{journal}-{sequence:x}",
                        click.click_id,
                        times[at],
                        decided_at,
                        _WORDS[verdicts[at]],
                        reasons[at],
                        lists[at],
                        scores[at],
                        thresholds[at],
                        slices[at],
                        bundle,
                        LIVE,
                        context,
                        1 if enforced(click.campaign) else 0,
                        ids[at],
                        logged_in[at],
                        keys[at * size : (at + 1) * size],
                        row,
                        click.campaign,
                        click.advertiser,
                        click.cost,
                        click.currency,
                    ),
                )
            )
        return entries

    def late(self, decisions: Decisions, clicks: Sequence[Click], decided_at: int) -> list[Entry]:
        """Return entries of where clicks stand in the fold that were answered, as not measured, before it was known.

        What they were told holds, and replay settles it; without these entries the fold would have a gap.
        """
        return [
            entry._replace(
                verdict=_WORDS[Verdict.UNMEASURABLE],
                reasons=(DEADLINE,),
                lists=(),
                score=None,
                threshold=None,
                cause=LATE,
            )
            for entry in self.entries(decisions, clicks, decided_at)
            if entry.sequence >= 0
        ]

    def _unfolded(self) -> int:
        self._next_unfolded -= 1
        return self._next_unfolded + 1


def shadows_of(champion: Decisions, challenger: Decisions, entries: Sequence[Entry]) -> list[Shadow]:
    """Return what the journal takes of a challenger's decisions, for the entries of folded clicks."""
    # Of clicks with one sequence the first was decided, and the others repeat it.
    places: dict[int, int] = {}
    for place, sequence in enumerate(champion.sequences.tolist()):
        if sequence >= 0:
            places.setdefault(sequence, place)
    same = champion.rows.shape == challenger.rows.shape and bool((champion.rows == challenger.rows).all())
    rows = np.ascontiguousarray(challenger.rows, "<f4")
    scores, thresholds = _nullable(challenger.scores), _nullable(challenger.thresholds)
    return [
        Shadow(
            entry.sequence,
            challenger.context,
            challenger.bundle,
            challenger.verdicts[at].value,
            challenger.reasons[at],
            scores[at],
            thresholds[at],
            challenger.slices[at],
            None if same else rows[at].tobytes(),
        )
        for entry in entries
        if (at := places.get(entry.sequence)) is not None
    ]


def _keys(batch: ClickBatch) -> tuple[bytes, int]:
    """Return the columns of the key matrix one behind the other, and the bytes of each."""
    matrix = batch.keys
    if batch.beside is not None:
        matrix = np.concatenate([matrix, batch.beside.keys, batch.beside.ids[None]])
    return np.ascontiguousarray(matrix.T, "<u8").tobytes(), 8 * len(matrix)


def _nullable(values: NDArray[np.float32]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def cause_of(fault: str, entries: list[Entry]) -> str:
    """Return how the store failed, as far as a batch tells: it did not answer, or what it holds cannot be used."""
    if "damaged" in fault:
        return "damaged"
    reasons = {reason for entry in entries for reason in entry.reasons}
    return "lost" if _COLD in reasons and _UNAVAILABLE not in reasons else "unavailable"
