"""Review: a person decides a click, and replays leave it alone from then on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slidr.audit import Audit, Draft, Record
from slidr.errors import BusyError, ReplayError
from slidr.lake.delta import Lake
from slidr.lake.parts import Part
from slidr.replay.adjustments import adjust, refuse_past
from slidr.replay.corrections import commit, superseding
from slidr.replay.held import Held, read_held
from slidr.settings import Settings
from slidr.tables import DECISIONS, Verdict

KIND = "review"
"""The kind of a review's record in the audit log, and the code that its decision carries."""
_ATTEMPTS = 50


class Review(NamedTuple):
    """What a person decided.

    Attributes:
        click_id: the click.
        day: UTC day on which it was made.
        verdict: what the person decided.
        at: when, microseconds UTC.
        who: the person.
        why: the reason.
    """

    click_id: str
    day: date
    verdict: Verdict
    at: int
    who: str
    why: str


class Reviewed(NamedTuple):
    """What a review did.

    Attributes:
        cause: of its decision.
        before: the verdict that held.
        after: the verdict that holds now.
        adjustments: rows of ADJUSTMENTS.
    """

    cause: str
    before: str
    after: str
    adjustments: pa.Table


def review(lake: Lake, audit: Audit, settings: Settings, asked: Review) -> Reviewed:
    """Let a person's verdict supersede the decision of a click, with its adjustment; the same review twice is one.

    Args:
        lake: holds the click's decision.
        audit: takes who and why, before anything else.
        settings: name the cut-off and the time zone of the billing day.
        asked: what the person decided.

    Raises:
        BusyError: others correct all the time.
        ReplayError: the lake holds no such click on that day, or it is past the cut-off.
        TableError: the lake cannot be read or written.
    """
    for _ in range(_ATTEMPTS):
        held = _held(lake, asked.click_id, asked.day)
        standing = held.standing
        time = standing["time"].cast(pa.int64())[0].as_py()
        known = _known(held, asked.verdict)
        if known is None:
            refuse_past(time, asked.at, zone=settings.timezone, days=settings.replay.cut_off_days)
        identity = known or _identity(standing["decision_id"][0].as_py(), asked.verdict)
        cause = f"{KIND}:{identity}"
        before = standing["verdict"][0].as_py()
        _record(audit, identity, asked, before)
        if known is not None or commit(lake, held, _row(held, cause, asked.verdict, asked.at)):
            # A review that was killed behind its decision is finished here.
            owed = adjust(lake, cause, time, time + 1, settings.timezone)
            return Reviewed(cause, before, asked.verdict.value, owed)
    raise BusyError("replays or other reviews correct decisions all the time; review the click when they have ended")


def _held(lake: Lake, click_id: str, day: date) -> Held:
    """Return what the lake holds of one click.

    Raises:
        ReplayError: it has no decision of it on that day.
        TableError: the lake cannot be read.
    """
    # Nothing but this click lies between its id and the next text that is greater.
    held = read_held(lake, Part(day, (None, None), click_id, f"{click_id}\0"))
    place = np.flatnonzero(pc.equal(held.standing["click_id"], click_id).to_numpy())
    if not len(place):
        raise ReplayError(
            f"{lake.address(DECISIONS)} holds no decision of click {click_id!r} on {day} UTC; `slidr ship` puts those"
            " of the journal there, and --day is the day on which the click was made"
        )
    rows = pa.array(place)
    of_click = pc.equal(held.decisions["click_id"], click_id)
    return held._replace(
        decisions=held.decisions.filter(of_click), first=held.first.take(rows), standing=held.standing.take(rows)
    )


def _known(held: Held, verdict: Verdict) -> str | None:
    """Return the identity of the review that holds already, where it came to the same verdict."""
    kind, _, identity = held.standing["cause"][0].as_py().partition(":")
    return identity if kind == KIND and held.standing["verdict"][0].as_py() == verdict.value else None


def _identity(decision_id: str, verdict: Verdict) -> str:
    """Return what names a review: of what it supersedes and decides, so that the same one twice has one name."""
    return hashlib.sha256(f"{decision_id} {verdict.value}".encode()).hexdigest()[:12]


def _row(held: Held, cause: str, verdict: Verdict, now: int) -> pa.Table:
    """Return the decision of a review: verdict and reason are the person's, all else is what it was."""
    standing = held.standing
    decided = standing.set_column(
        standing.column_names.index("verdict"), "verdict", pa.array([verdict.value])
    ).set_column(standing.column_names.index("reasons"), "reasons", pa.array([[KIND]], pa.list_(pa.string())))
    return superseding(standing, held.first["decision_id"], decided, cause=cause, at=now)


def _record(audit: Audit, identity: str, asked: Review, before: str) -> None:
    def missing(newest_first: Iterator[Record]) -> list[Draft]:
        if any((one.kind, one.subject) == (KIND, identity) for one in newest_first):
            return []
        details = {"click_id": asked.click_id, "verdict": asked.verdict.value, "before": before}
        return [Draft(KIND, identity, asked.at, asked.who, asked.why, details)]

    audit.extend(missing)
