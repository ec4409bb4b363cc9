"""Shortening: entries that are in the lake, and in a snapshot of the state, leave the journal.

Purchases that were reported leave once they are in the lake. The service holds the journal's lock, so that it shortens
its own; it is told up to where, see `told`.
"""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple


class Shipped(NamedTuple):
    """Up to where entries of a journal are in the lake; see `Journal.in_order` and `Journal.apart`.

    Attributes:
        sequence: of those in order.
        number: of those apart.
    """

    sequence: int = -1
    number: int = 0


class _Shortened(NamedTuple):
    upto: Shipped
    lowest: int


def shortened(connection: sqlite3.Connection) -> _Shortened:
    """Return up to where entries were removed, and the lowest sequence that was."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'shortened'").fetchone()
    if found is None:
        return _Shortened(Shipped(), 0)
    sequence, number, lowest = json.loads(found[0])
    return _Shortened(Shipped(sequence, number), lowest)


def shorten(connection: sqlite3.Connection, shipped: Shipped, last: int, before: int, most: int) -> int:
    """Remove entries up to the sequence `last`; see `Journal.shorten`."""
    rows = connection.execute(
        "SELECT sequence, 0 FROM (SELECT sequence, decided_at FROM decisions WHERE sequence BETWEEN 0 AND ?"
        " AND sequence NOT IN (SELECT sequence FROM apart) ORDER BY sequence LIMIT ?) WHERE decided_at < ?",
        (min(shipped.sequence, last), most, before),
    ).fetchall()
    rows += connection.execute(
        "SELECT sequence, number FROM (SELECT sequence, number FROM apart WHERE number <= ? ORDER BY number LIMIT ?)"
        " JOIN decisions USING (sequence) WHERE decided_at < ? AND sequence <= ?",
        (shipped.number, most - len(rows), before, last),
    ).fetchall()
    if not rows:
        return 0
    sequences = [(sequence,) for sequence, _ in rows]
    for table in ("decisions", "shadows", "apart"):
        connection.executemany(f"DELETE FROM {table} WHERE sequence = ?", sequences)  # noqa: S608 our own names
    upto, lowest = shortened(connection)
    in_order = max([upto.sequence, *(sequence for sequence, number in rows if not number)])
    apart = max([upto.number, *(number for _, number in rows)])
    kept = json.dumps([in_order, apart, min([lowest, *(sequence for sequence, _ in rows)])])
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('shortened', ?)", (kept,))
    return len(rows)


def shorten_purchases(connection: sqlite3.Connection, collected: int, before: int, most: int) -> int:
    """Remove purchases up to the number `collected`; see `Journal.shorten`."""
    numbers = connection.execute(
        "SELECT number FROM (SELECT number, reported_at FROM purchases WHERE number <= ? ORDER BY number LIMIT ?)"
        " WHERE reported_at < ?",
        (collected, most, before),
    ).fetchall()
    if numbers:
        connection.executemany("DELETE FROM purchases WHERE number = ?", numbers)
        upto = max(shortened_purchases(connection), *numbers[-1])
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('shortened purchases', ?)", (str(upto),))
    return len(numbers)


def shortened_purchases(connection: sqlite3.Connection) -> int:
    """Return up to which number purchases were removed."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'shortened purchases'").fetchone()
    return int(found[0]) if found else 0
