"""The history of a click, for disputes: who may see what of the decisions that a journal holds, and why they are so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from slidr.bundle import Bundle, read_bundle
from slidr.errors import JournalError, SlidrError
from slidr.journal import Context, Entry, Journal
from slidr.reasons import MODEL, Explainer, Reason, explain
from slidr.service.answers import answer_of

Moment = Annotated[datetime, Meta(tz=True)]
View = Literal["advertiser", "auditor", "admin"]
_MOST = 4  # bundles that are kept ready to explain
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AdvertiserDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What an advertiser is told of a decision: codes alone, as they were answered.

    Attributes:
        decision_id: identifies the decision.
        decided_at: when it was decided.
        verdict: what was answered.
        invalid: whether the click should not be billed for being robotic.
        reasons: stable codes; none for a valid click.
    """

    decision_id: str
    decided_at: Moment
    verdict: str
    invalid: bool
    reasons: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """One reason of a decision in words.

    Attributes:
        code: stable.
        words: what was measured, and what is usual.
    """

    code: str
    words: str


class WeighedExplanation(Explanation, frozen=True):
    """One reason of a decision in words, with its weight.

    Attributes:
        log_odds: what it adds to the log-odds of the score; null where the model did not decide by it.
    """

    log_odds: float | None


class AuditorDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What an auditor is told of a decision: all but how near the threshold was.

    Attributes:
        decision_id: identifies the decision.
        time: when the click was made.
        decided_at: when it was decided.
        verdict: what was decided.
        reasons: stable codes of the verdict; none for a valid click.
        explanations: why, the weightiest first.
        answered: the verdict that was answered; `valid` where an invalid one was not enforced.
        invalid: whether the click should not be billed for being robotic, as it was answered.
        enforced: false where the service only observed.
        lists: list rules that the click hit.
        slice: slice whose threshold was used.
        bundle: bundle that decided.
        cause: `live`, or what decided it later.
        sequence: place of the click in the fold; below zero where it was not folded.
        campaign: campaign that the click is charged to.
        advertiser: advertiser that pays.
        cost: price of the click in micros.
        currency: of the cost.
    """

    decision_id: str
    time: Moment
    decided_at: Moment
    verdict: str
    reasons: tuple[str, ...]
    explanations: tuple[Explanation, ...]
    answered: str
    invalid: bool
    enforced: bool
    lists: tuple[str, ...]
    slice: str
    bundle: str
    cause: str
    sequence: int
    campaign: str | None
    advertiser: str | None
    cost: int | None
    currency: str | None


class AdminDecision(AuditorDecision, frozen=True, kw_only=True):
    """What who runs the service is told of a decision.

    Attributes:
        score: the model's score; null where the model was not asked.
        threshold: the slice's threshold; null likewise.
        explanations: why, the weightiest first.
    """

    explanations: tuple[WeighedExplanation, ...]
    score: float | None
    threshold: float | None


_Decision = TypeVar("_Decision", AdvertiserDecision, AuditorDecision, AdminDecision)


class History(msgspec.Struct, Generic[_Decision], frozen=True):
    """All decisions of a click.

    Attributes:
        click_id: the click.
        decisions: oldest first; the last one holds.
    """

    click_id: str
    decisions: list[_Decision]


AnyHistory = History[AdvertiserDecision] | History[AuditorDecision] | History[AdminDecision]


class Archive:
    """Tells the history of clicks from journals, with the bundles that decided.

    Args:
        journal: the file of this process.
        bundles: the folder where bundles are, each under its name.
        others: the files of processes beside it, which may have decided what this one has not.
    """

    def __init__(self, journal: Path, bundles: Path, others: Sequence[Path] = ()) -> None:
        self._journals = (journal, *others)
        self._bundles = bundles
        self._explainers: dict[str, Explainer | None] = {}

    def elsewhere(self, click_id: str) -> list[Entry]:
        """Return the decisions of a click that other processes have journalled, oldest first; reads them whole.

        Raises:
            JournalError: a journal cannot be read.
        """
        found: list[Entry] = []
        for path in self._journals[1:]:
            if path.exists():
                with Journal(path, write=False) as journal:
                    found += journal.history(click_id)
        return sorted(found, key=lambda entry: entry.decided_at)

    def history(self, entries: Sequence[Entry], view: View, deciding: Mapping[str, Bundle]) -> AnyHistory:
        """Return what somebody may see of a click's decisions.

        It takes as long as deciding some hundred clicks, so that it is better done on another thread.

        Args:
            entries: of one click, oldest first; at least one.
            view: who asks.
            deciding: bundles that are at hand, by name.

        Raises:
            JournalError: the journal cannot be read.
        """
        click_id = entries[0].click_id
        if view == "advertiser":
            return History(click_id, [_for_advertiser(entry) for entry in entries])
        why = [
            explain(entry, self._context(entry.context), self._explainer(entry.bundle, deciding)) for entry in entries
        ]
        pairs = zip(entries, why, strict=True)
        if view == "auditor":
            return History(click_id, [_for_auditor(entry, reasons) for entry, reasons in pairs])
        return History(click_id, [_for_admin(entry, reasons) for entry, reasons in pairs])

    def _context(self, name: str) -> Context:
        """Return what entries have in common; it is the same in every journal that has it."""
        for path in self._journals:
            if path.exists():
                with Journal(path, write=False) as journal, suppress(JournalError):
                    return journal.context(name)
        raise JournalError(f"{self._journals[0]} and those beside it have no entries of context {name!r}")

    def _explainer(self, name: str, deciding: Mapping[str, Bundle]) -> Explainer | None:
        """Return what explains the decisions of a bundle; None where the bundle is not here any more."""
        if name not in self._explainers:
            if len(self._explainers) >= _MOST:
                del self._explainers[next(iter(self._explainers))]
            try:
                bundle = deciding.get(name) or read_bundle(self._bundles / name)
                self._explainers[name] = Explainer(bundle)
            except (SlidrError, OSError):
                self._explainers[name] = None
        return self._explainers[name]


def _for_advertiser(entry: Entry) -> AdvertiserDecision:
    told = answer_of(entry)
    return AdvertiserDecision(
        decision_id=entry.decision_id,
        decided_at=_moment(entry.decided_at),
        verdict=told.verdict,
        invalid=told.invalid,
        reasons=told.reasons,
    )


def _for_auditor(entry: Entry, reasons: Sequence[Reason]) -> AuditorDecision:
    # How near the threshold was is not for everybody: who sees scores beside verdicts learns how far a robot may go.
    above = f"the score is above the threshold of the slice {entry.slice}"
    words = [Explanation(one.code, above if one.code == MODEL else one.words) for one in reasons]
    return AuditorDecision(**_told(entry), explanations=tuple(words))


def _for_admin(entry: Entry, reasons: Sequence[Reason]) -> AdminDecision:
    words = tuple(WeighedExplanation(*one) for one in reasons)
    return AdminDecision(**_told(entry), explanations=words, score=entry.score, threshold=entry.threshold)


def _told(entry: Entry) -> dict[str, Any]:
    told = answer_of(entry)
    return {
        **{name: getattr(entry, name) for name in AuditorDecision.__struct_fields__ if name in Entry._fields},
        "time": _moment(entry.time),
        "decided_at": _moment(entry.decided_at),
        "answered": told.verdict,
        "invalid": told.invalid,
        "enforced": bool(entry.enforced),
    }


def _moment(time: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time)
