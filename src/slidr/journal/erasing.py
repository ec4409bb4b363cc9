"""Erasing: what an account left in a journal, without a gap in what the journal tells of the fold."""

from __future__ import annotations

import sqlite3
from collections.abc import Set as AbstractSet

import numpy as np

from slidr.journal.records import decode_context

USER = ("user",)


def erase(connection: sqlite3.Connection, hashes: AbstractSet[int]) -> tuple[int, int]:
    """Zero the keys of an account's entries and forget who made its purchases; returns how many of each.

    Args:
        connection: of the journal, in a transaction.
        hashes: keyed hashes of the account, one for each secret key, uint64.
    """
    places = {
        name: decode_context(document).keys
        for name, document in connection.execute("SELECT context, document FROM contexts")
    }
    found = [
        (bytes(len(keys)), sequence)
        for sequence, context, keys in connection.execute("SELECT sequence, context, keys FROM decisions")
        if is_of(keys, places[context], hashes)
    ]
    connection.executemany("UPDATE decisions SET keys = ? WHERE sequence = ?", found)
    signed = [int(np.uint64(one).view(np.int64)) for one in hashes]
    marks = ", ".join("?" * len(signed))
    bought = connection.execute(f"UPDATE purchases SET user_key = NULL WHERE user_key IN ({marks})", signed)  # noqa: S608 marks
    return len(found), bought.rowcount


def is_of(keys: bytes, names: tuple[tuple[str, ...], ...], hashes: AbstractSet[int]) -> bool:
    """Return whether the keys of a click are of an account; while secret keys rotate, they stand there twice."""
    if USER not in names:
        return False
    at, words = names.index(USER), np.frombuffer(keys, "<u8")
    return any(int(words[place]) in hashes for place in (at, at + len(names)) if place < len(words))
