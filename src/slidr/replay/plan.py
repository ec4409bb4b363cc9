"""Plans: what a replay is to do, in the audit log before anything else, so that a killed one can be finished."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from slidr.audit import Audit, Draft, Record, differences
from slidr.errors import ReplayError
from slidr.slices import ROOT

KIND = "replay"
"""The kind of a replay's record in the audit log."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FOUND = frozenset(("at", "rows"))
"""What is found when a plan is declared, and not asked for."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay is to do.

    Attributes:
        id: names the replay; one that is run again under its id adds nothing.
        method: `rescore`, the rows of the journal through the bundle; or `recompute`, the clicks folded again.
        bundle: what decides.
        start: clicks made from then on are decided again, microseconds UTC.
        end: those made from then on are not.
        slice: only clicks of this slice.
        campaign: only clicks of this campaign; None for all.
        incomplete: whether it may go over what is there where rows of clicks that were folded are missing.
        rows: Delta version of ROWS whose clicks it reads: what is shipped later is not part of it.
        at: when it was declared, microseconds UTC; the time of its decisions.
    """

    id: str
    method: Literal["rescore", "recompute"]
    bundle: str
    start: int
    end: int
    slice: str = ROOT
    campaign: str | None = None
    incomplete: bool = False
    rows: int = 0
    at: int = 0

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ReplayError("the replay ends before it begins; give it a span of time with --from and --until")
        if not _NAME.fullmatch(self.id):
            raise ReplayError(
                f"{self.id!r} is no id of a replay: up to 64 letters, digits, '.', '_' and '-', beginning with a letter"
                " or digit"
            )

    @property
    def cause(self) -> str:
        """The cause that its decisions carry."""
        return f"{KIND}:{self.id}"


def default_id(plan: Plan) -> str:
    """Return an id made of what a replay is to do, so that the same command given again is the same replay.

    >>> plan = Plan(id="x", method="rescore", bundle="b1", start=0, end=1)
    >>> default_id(plan)
    'rescore-482e4d84'
    """
    asked = {key: value for key, value in msgspec.to_builtins(plan).items() if key not in {"id", *_FOUND}}
    digest = hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:8]
    return f"{plan.method}-{digest}"


def declared(audit: Audit, plan: Plan, *, who: str, why: str) -> Plan:
    """Write a plan into the audit log, and return it; where one of its id stands there already, return that one.

    Raises:
        ReplayError: a replay of this id was to do something else.
        RegistryError: the log cannot be read or written.
    """
    known = known_plan(audit, plan)
    if known is not None:
        return known

    def missing(newest_first: Iterator[Record]) -> list[Draft]:
        if _record(newest_first, plan.id) is not None:
            return []
        return [Draft(KIND, plan.id, plan.at, who, why, msgspec.to_builtins(plan))]

    audit.extend(missing)
    return known_plan(audit, plan) or plan


def known_plan(audit: Audit, plan: Plan) -> Plan | None:
    """Return what a replay of this id was declared to do, or None where there is none.

    Raises:
        ReplayError: it was to do something else.
        RegistryError: the log cannot be read.
    """
    record = _record(reversed(audit.records()), plan.id)
    if record is None:
        return None
    known = msgspec.convert(record.details, Plan)
    asked = msgspec.structs.replace(plan, rows=known.rows, at=known.at)
    if asked != known:
        changed = differences(msgspec.to_builtins(known), msgspec.to_builtins(asked))
        told = ", ".join(f"{name} was {was!r} and is {now!r}" for name, (was, now) in changed.items())
        raise ReplayError(f"replay {plan.id} was declared otherwise: {told}; give the new one another --id")
    return known


def _record(newest_first: Iterator[Record], identity: str) -> Record | None:
    return next((one for one in newest_first if (one.kind, one.subject) == (KIND, identity)), None)
