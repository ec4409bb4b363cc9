"""Erasing: what an account left in a journal, without a gap in what the journal tells of the fold."""

from __future__ import annotations

import sqlite3
from collections.abc import Set as AbstractSet

import numpy as np

from slidr.journal.records import decode_context

USER = ("user",)
_WORD = 8  # bytes of a key


def erase(connection: sqlite3.Connection, hashes: AbstractSet[int]) -> tuple[int, int]:
    """Zero the keys of an account's entries, empty their rows, and forget who made its purchases; returns how many.

    The click's own hash, which follows the keys while secret keys rotate, stays: by it the entry has its place.

    Args:
        connection: of the journal, in a transaction.
        hashes: keyed hashes of the account, one for each secret key, uint64.
    """
    places = {
        name: decode_context(document).keys
        for name, document in connection.execute("SELECT context, document FROM contexts")
    }
    found = [
        (zeroed(keys, places[context]), sequence)
        for sequence, context, keys in connection.execute("SELECT sequence, context, keys FROM decisions")
        if is_of(keys, places[context], hashes)
    ]
    connection.executemany("UPDATE decisions SET keys = ?, row = x'' WHERE sequence = ?", found)
    # One that is null is the row of the entry.
    connection.executemany(
        "UPDATE shadows SET row = x'' WHERE sequence = ? AND row IS NOT NULL", [one[1:] for one in found]
    )
    signed = [int(np.uint64(one).view(np.int64)) for one in hashes]
    marks = ", ".join("?" * len(signed))
    bought = connection.execute(f"UPDATE purchases SET user_key = NULL WHERE user_key IN ({marks})", signed)  # noqa: S608 marks
    return len(found), bought.rowcount


def zeroed(keys: bytes, names: tuple[tuple[str, ...], ...]) -> bytes:
    """Return the keys of a click as zeros, but for what follows them.

    >>> zeroed(bytes(range(1, 25)), (("user",),)).hex()
    '000000000000000000000000000000001112131415161718'
    """
    kept = keys[2 * _WORD * len(names) :]
    return bytes(len(keys) - len(kept)) + kept


def is_of(keys: bytes, names: tuple[tuple[str, ...], ...], hashes: AbstractSet[int]) -> bool:
    """Return whether the keys of a click are of an account; while secret keys rotate, they stand there twice."""
    if USER not in names:
        return False
    at, words = names.index(USER), np.frombuffer(keys, "<u8")
    return any(int(words[place]) in hashes for place in (at, at + len(names)) if place < len(words))
