"""Shortening: entries that are in the lake, and in a snapshot of the state, leave the journal.

The service holds the journal's lock, so that it shortens its own; `slidr ship` tells it, by a file beside the journal,
up to where the lake has the entries, and where processes share a store `slidr fold` tells them up to where the state of
all of their journals has them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from slidr.errors import JournalError


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


def marker(journal: Path) -> Path:
    """Return the file that tells what of a journal is shipped.

    >>> marker(Path("journal.sqlite")).name
    'journal.sqlite.shipped'
    """
    return journal.with_name(f"{journal.name}.shipped")


def tell_shipped(journal: Path, name: str, shipped: Shipped) -> None:
    """Write down what of a journal, with this id, is shipped; whole or not at all."""
    _tell(marker(journal), name, shipped._asdict())


def told_shipped(journal: Path, name: str) -> Shipped:
    """Return what of a journal, with this id, was told to be shipped; nothing where nothing was.

    Raises:
        JournalError: the file was changed by another hand, or tells of another journal.
    """
    told = _told(marker(journal), name, "slidr ship")
    return Shipped(told["sequence"], told["number"]) if told else Shipped()


def tell_held(journal: Path, name: str, held: int) -> None:
    """Write down how many clicks the state of all journals of a store holds; whole or not at all."""
    _tell(_held_marker(journal), name, {"held": held})


def told_held(journal: Path, name: str) -> int:
    """Return how many clicks a state of all journals was told to hold; zero where nothing was.

    Raises:
        JournalError: the file was changed by another hand, or tells of another journal.
    """
    told = _told(_held_marker(journal), name, "slidr fold")
    return told["held"] if told else 0


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


def _held_marker(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.held")


def _tell(path: Path, name: str, numbers: dict[str, int]) -> None:
    told = {"journal": name, **numbers}
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.write_text(json.dumps({**told, "check": _check(told)}) + "\n")
    part.replace(path)


def _told(path: Path, name: str, command: str) -> dict[str, int] | None:
    """Return the numbers that a command wrote down; None where it has not."""
    try:
        told = json.loads(path.read_bytes())
        check = told.pop("check")
        whose = told["journal"]
        numbers = {key: int(value) for key, value in told.items() if key != "journal"}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        check = whose = told = None
        numbers = {}
    if told is None or check != _check(told):
        raise JournalError(f"{path} is not as `{command}` wrote it; delete it, and the next `{command}` writes it anew")
    if whose != name:
        raise JournalError(f"{path} tells of journal {whose}, not of {name}, beside which it lies; delete it")
    return numbers


def _check(told: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
