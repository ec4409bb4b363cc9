"""Ship: decisions go from the journals of services into the lake, each exactly once.

A range of entries is one commit to each of SHADOWS, ROWS and DECISIONS, in this order, under the journal's id and the
last entry's number as Delta's application transaction. What DECISIONS holds is shipped: a shipper that ends between two
commits leaves rows that the next one finds by their numbers and does not write again, and of two shippers at once the
later commit of a range is refused, and its shipper goes on behind the other's. Entries that came out of order, such as
those of clicks that were not folded, have a row of numbers of their own; see `Journal.in_order`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from slidr.clock import Clock
from slidr.errors import JournalError
from slidr.journal import Entry, Journal, Shipped
from slidr.journal.told import tell_shipped, told_collected, told_held
from slidr.journals import Journals
from slidr.lake.delta import Lake
from slidr.lake.schema import arrow_schema
from slidr.tables import CONTEXTS, DECISIONS, ROWS, SHADOWS, Table

RANGE = 50_000
"""Entries of one commit, which bounds the memory."""
_ATTEMPTS = 50  # to get a range in before other shippers, each of which gets one in where this one does not
_REMOVED = 1_000  # entries removed from a journal at once

Step = Callable[[str], None]
"""Told what comes next, before it is done."""


class JournalShipped(NamedTuple):
    """What was shipped of one journal.

    Attributes:
        journal: its id.
        path: its file.
        entries: shipped by this call.
        shipped: up to where the lake has its entries now.
        removed: entries that were removed from the journal, or None where a service holds it and does so itself.
    """

    journal: str
    path: Path
    entries: int
    shipped: Shipped
    removed: int | None


class Done(NamedTuple):
    """What a shipping did.

    Attributes:
        journals: one by one.
        entries: shipped by this call.
        latest: newest time of decision among them, microseconds UTC; None where there were none.
    """

    journals: tuple[JournalShipped, ...]
    entries: int
    latest: int | None


class _Range(NamedTuple):
    """Entries with their growing numbers, all greater than zero."""

    entries: list[Entry]
    numbers: list[int]


class _Part(NamedTuple):
    """Entries of a journal that have one row of numbers."""

    application: str
    read: Callable[[int], _Range]
    removed: int


def ship(
    lake: Lake,
    journals: Sequence[Journal],
    *,
    clock: Clock,
    keep: int,
    state: Path | None = None,
    step: Step = lambda _name: None,
) -> Done:
    """Ship what journals hold behind what the lake has of them, and let them be shortened.

    Args:
        lake: where to.
        journals: open to be read, beside the services that write them.
        clock: tells how old entries are.
        keep: entries younger than this stay in the journal, microseconds.
        state: the snapshot that the service goes on from; a journal that no service holds is shortened up to it. None:
            up to where it was told by `slidr fold` that the state of all journals holds it.
        step: told each step before it is taken.

    Raises:
        JournalError: a journal cannot be read, lacks entries that the lake has not got, or is an old copy.
        TableError: the lake cannot be written; what was committed stays, and the next call goes on behind it.
    """
    Journals(journals)
    done, latest = [], None
    for journal in journals:
        entries = 0
        for part in _parts(journal):
            shipped, newest = _ship(lake, journal, part, step)
            entries += shipped
            latest = newest if latest is None else max(latest, newest or latest)
        upto = shipped_of(lake, journal.id)
        step(f"tell {journal.path.name}")
        removed = _shorten(journal, upto, clock.now() - keep, state)
        done.append(JournalShipped(journal.id, journal.path, entries, upto, removed))
    return Done(tuple(done), sum(one.entries for one in done), latest)


def shipped_of(lake: Lake, journal: str) -> Shipped:
    """Return up to where the lake has the entries of a journal, by its id.

    Raises:
        TableError: the lake cannot be read.
    """
    in_order, apart = (lake.transaction(DECISIONS, f"{journal}:{part}") or 0 for part in ("order", "apart"))
    return Shipped(in_order - 1, apart)


def _parts(journal: Journal) -> tuple[_Part, _Part]:
    def in_order(after: int) -> _Range:
        entries = journal.in_order(after - 1, RANGE)
        return _Range(entries, [entry.sequence + 1 for entry in entries])

    def apart(after: int) -> _Range:
        found = journal.apart(after, RANGE)
        return _Range([entry for _, entry in found], [number for number, _ in found])

    removed = journal.shortened
    return (
        _Part(f"{journal.id}:order", in_order, removed.sequence + 1),
        _Part(f"{journal.id}:apart", apart, removed.number),
    )


def _ship(lake: Lake, journal: Journal, part: _Part, step: Step) -> tuple[int, int | None]:
    """Ship one part of a journal; returns how many entries, and when the newest was decided."""
    shipped, latest, refused = 0, None, 0
    while True:
        after = lake.transaction(DECISIONS, part.application) or 0
        _refuse_gap(lake, journal, part, after)
        found = part.read(after)
        if not found.entries:
            return shipped, latest
        if _commit(lake, journal, part.application, found, after, step):
            shipped += len(found.entries)
            newest = max(entry.decided_at for entry in found.entries)
            latest = newest if latest is None else max(latest, newest)
            refused = 0
        elif (refused := refused + 1) >= _ATTEMPTS:
            raise JournalError(f"{journal.path} is being shipped by others all the time; let one of them do it")


def _refuse_gap(lake: Lake, journal: Journal, part: _Part, after: int) -> None:
    if after < part.removed:
        raise JournalError(
            f"{journal.path} was shortened up to number {part.removed} of {part.application}, and"
            f" {lake.address(DECISIONS)} has it up to {after} alone: it is not the lake that it was shipped to, or an"
            " older copy; bring that lake back, or ship to an empty journal's lake"
        )
    if part.application.endswith(":order") and after > journal.last_sequence + 1:
        raise JournalError(
            f"{journal.path} ends at click {journal.last_sequence}, and {lake.address(DECISIONS)} has its entries up to"
            f" click {after - 1}: this is an older copy of the journal {journal.id}; what the service adds to it would"
            " pass for shipped: bring back the newer one"
        )


def _commit(lake: Lake, journal: Journal, application: str, found: _Range, after: int, step: Step) -> bool:
    """Commit a range to each table; returns whether it is this call's, and not that of another shipper."""
    last = found.numbers[-1]
    step("contexts")
    _declare(lake, journal, {entry.context for entry in found.entries})
    shadows = _shadows(journal, found)
    tables: list[tuple[Table, _Range, Callable[[Journal, _Range], pa.Table]]] = [(ROWS, found, _rows)]
    if shadows.entries:
        tables.insert(0, (SHADOWS, shadows, _shadow_rows))
    for table, part, made in (*tables, (DECISIONS, found, _decisions)):
        step(table.name)
        held = after if table is DECISIONS else lake.transaction(table, application) or 0
        due = [(entry, number) for entry, number in zip(*part, strict=True) if number > held]
        if not due:
            continue
        rest = _Range([entry for entry, _ in due], [number for _, number in due])
        if not lake.append(table, made(journal, rest), (application, last), after=held):
            return False
    return True


def _declare(lake: Lake, journal: Journal, names: set[str]) -> None:
    """Add contexts that the lake lacks, each by a transaction of its own, so that it is there once."""
    held = set(lake.read(CONTEXTS, columns=["context"])["context"].to_pylist()) if lake.exists(CONTEXTS) else set()
    for name in sorted(names - held):
        row = {"context": name, "document": journal.context(name).encoded()}
        lake.append(CONTEXTS, pa.Table.from_pylist([row], schema=arrow_schema(CONTEXTS)), (f"context:{name}", 1))


def _shorten(journal: Journal, shipped: Shipped, before: int, state: Path | None) -> int | None:
    """Shorten a journal that no service holds, and tell the service that holds it, or will, what is shipped."""
    tell_shipped(journal.path, journal.id, shipped)
    # What a file beside it tells wrong is told by the service, which does not believe it either.
    with suppress(JournalError):
        held = told_held(journal.path, journal.id) if state is None else _held(state)
        collected = told_collected(journal.path, journal.id)
        if not (held or collected):
            return None
        with Journal(journal.path) as own:
            removed = 0
            while some := own.shorten(shipped, held=held, before=before, most=_REMOVED, collected=collected):
                removed += some
            own.checkpoint()
            return removed
    return None


def _held(state: Path) -> int:
    """Return how many clicks a snapshot holds."""
    try:
        with state.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return int(file["numbers"][1])
    except (OSError, ValueError, KeyError, EOFError):
        return 0


def _shadows(journal: Journal, found: _Range) -> _Range:
    """Return the entries of a range that a challenger was asked for."""
    sequences = [entry.sequence for entry in found.entries]
    held = journal.shadowed(min(sequences), max(sequences))
    pairs = [pair for pair in zip(*found, strict=True) if pair[0].sequence in held]
    return _Range([entry for entry, _ in pairs], [number for _, number in pairs])


def _times(values: list[int]) -> pa.Array[Any]:
    return pa.array(values, pa.int64()).cast(pa.timestamp("us", "UTC"))


def _decisions(journal: Journal, found: _Range) -> pa.Table:
    entries = found.entries
    plain = ("decision_id", "click_id", "verdict", "reasons", "score", "threshold", "slice", "bundle", "lists")
    further = ("cause", "context", "campaign", "advertiser", "cost", "currency")
    columns = {name: [getattr(entry, name) for entry in entries] for name in (*plain, *further)}
    return _table(
        DECISIONS,
        {
            **columns,
            "time": _times([entry.time for entry in entries]),
            "decided_at": _times([entry.decided_at for entry in entries]),
            "supersedes": pa.nulls(len(entries), pa.string()),
            "sequence": [entry.sequence if entry.sequence >= 0 else None for entry in entries],
            "journal": [journal.id] * len(entries),
            "enforced": [bool(entry.enforced) for entry in entries],
        },
    )


def _rows(journal: Journal, found: _Range) -> pa.Table:
    entries = found.entries
    plain = ("click_id", "decision_id", "sequence", "context", "click_key", "logged_in", "keys", "row")
    columns = {name: [getattr(entry, name) for entry in entries] for name in plain}
    times = {name: _times([getattr(entry, name) for entry in entries]) for name in ("time", "decided_at")}
    return _table(ROWS, {**columns, **times, "journal": [journal.id] * len(entries)})


def _shadow_rows(journal: Journal, found: _Range) -> pa.Table:
    shadows = journal.shadows(entry.sequence for entry in found.entries)
    pairs = [(entry, shadows[entry.sequence]) for entry in found.entries]
    plain = ("sequence", "context", "bundle", "verdict", "reasons", "score", "threshold", "slice", "row")
    columns = {name: [getattr(shadow, name) for _, shadow in pairs] for name in plain}
    return _table(
        SHADOWS,
        {
            **columns,
            "click_id": [entry.click_id for entry, _ in pairs],
            "time": _times([entry.time for entry, _ in pairs]),
            "journal": [journal.id] * len(pairs),
        },
    )


def _table(table: Table, columns: dict[str, Any]) -> pa.Table:
    schema = arrow_schema(table)
    return pa.table(
        [pa.array(columns[field.name], field.type) for field in schema],
        schema=schema,
    )
