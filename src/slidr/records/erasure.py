"""Erasure: a person's fields are removed on request, and everything that was billed stays.

What names an account is its user; where it clicked from, and with what, are fields of it too. They are removed from the
log in the lake, from purchases and labels, and the keyed hashes from the rows and the journals. Decisions and what is
owed for them hold no field of a person. The audit log tells of the erasure and names the account by a keyed hash alone,
so that its chain holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from slidr.audit import Audit, Draft, Record
from slidr.features.keys import KeyRing, Pseudonymiser
from slidr.journal import Journal
from slidr.lake.delta import Lake
from slidr.records.lake_erasure import erase_from_lake, name_of

KIND = "erase"
"""The kind of an erasure's records in the audit log."""


class Erasure(NamedTuple):
    """What is to be erased.

    Attributes:
        user: the account, as the log names it.
        at: microseconds UTC.
        who: erases.
        why: the reason, such as the number of the request.
    """

    user: str
    at: int
    who: str
    why: str


class Erased(NamedTuple):
    """What was erased, or would be.

    Attributes:
        subject: what the audit log names the account by.
        rows: rows changed, by table.
        entries: entries of journals changed.
        purchases: purchases of journals changed.
    """

    subject: str
    rows: dict[str, int]
    entries: int
    purchases: int


def erase(
    lake: Lake, journals: Sequence[Journal], audit: Audit, ring: KeyRing, asked: Erasure, *, dry: bool = False
) -> Erased:
    """Erase an account from the lake and from journals; killed and run again, it goes on.

    The files of the lake that held it are deleted, so that earlier versions of these tables cannot be read any more.

    Args:
        lake: its CLICKS, PURCHASES, LABELS and ROWS.
        journals: of services that do not run.
        audit: is told when it begins and when it is done.
        ring: the secret keys that the account was hashed with.
        asked: what is to be erased.
        dry: only count.

    Raises:
        JournalError: a journal cannot be written.
        TableError: the lake cannot be read or written.
    """
    subject = name_of(asked.user, ring)
    if not dry:
        _record(audit, subject, "begun", asked)
    rows = erase_from_lake(lake, asked.user, ring, dry_run=dry)
    entries = purchases = 0
    if not dry:
        hashes = frozenset(int(Pseudonymiser(key.secret).texts([asked.user])[0]) for key in ring.keys)
        for journal in journals:
            found = journal.erase(hashes)
            entries, purchases = entries + found[0], purchases + found[1]
        _record(audit, subject, "done", asked)
    return Erased(subject, rows, entries, purchases)


def _record(audit: Audit, subject: str, state: str, asked: Erasure) -> None:
    """Tell that an erasure has begun, or is done; what stands there already is not told twice."""

    def missing(newest_first: Iterator[Record]) -> list[Draft]:
        last = next((one.details["state"] for one in newest_first if (one.kind, one.subject) == (KIND, subject)), "")
        return [] if last == state else [Draft(KIND, subject, asked.at, asked.who, asked.why, {"state": state})]

    audit.extend(missing)
