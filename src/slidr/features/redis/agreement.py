"""Agreement: what the processes that share a partition have agreed on, and whether its data can be trusted.

It is one key of the partition, and every call names the agreement that it expects: a server that lost its data has
none, one that was seeded again has another, and neither can give a row that looks right and is wrong.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from slidr.errors import StoreError

LEFT_OUT = 60_000_000
"""Microseconds of the clicks' time after which a block that a process left out is begun anew by those who read it."""


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for a partition.

    Attributes:
        epoch: names the data; every seeding makes a new one, and no key of another epoch is ever read.
        run: the id of the server's process that holds the data. One that started anew has another, and may have lost
            what it had not written to its disk.
        partitions: how many partitions the entities are spread over.
        secret: fingerprint of the secret key that hashed the entities; empty where nobody said.
        blocks: since when every click was added to a block, by its key: microseconds of the clicks' time, 0
            where it was so from the beginning; below zero, the time at which a process left it out.
    """

    epoch: str
    run: str
    partitions: int
    secret: str
    blocks: dict[str, int]

    def encoded(self) -> bytes:
        """Return the agreement as Redis keeps it; equal agreements are equal bytes."""
        return msgspec.json.encode(self, order="sorted")


def read_agreement(held: bytes) -> Agreement:
    """Return the agreement that Redis keeps.

    Raises:
        StoreError: it is none, or of another version of slidr.
    """
    try:
        return msgspec.json.decode(held, type=Agreement)
    except msgspec.MsgspecError as fault:
        raise StoreError(
            f"what redis holds was not written by this version of slidr ({fault}); run `slidr seed`"
        ) from None


def agreed_blocks(held: dict[str, int], own: Collection[str], joining: Collection[str], newest: int) -> dict[str, int]:
    """Return the blocks to be agreed on.

    A block that this process does not add to falls behind, and must not be read by any that does. One that it begins
    to add to starts now; so does, after a while, one that was left out: the process that did may be gone, and if it is
    not, it leaves it out again.

    >>> agreed_blocks({"a": 0, "b": 5}, ["a"], [], 9)
    {'b': -9, 'a': 0}
    >>> agreed_blocks({"a": 0, "b": -9}, ["a", "b"], [], 10 + LEFT_OUT) == {"a": 0, "b": 10 + LEFT_OUT}
    True

    Args:
        held: what is agreed on so far.
        own: keys of the blocks that this process adds to.
        joining: those of them that it did not add to until now.
        newest: the newest time of its clicks, microseconds.
    """
    start = max(newest, 1)
    found = {key: since if since < 0 else -start for key, since in held.items() if key not in own}
    for key in own:
        since = held.get(key, start)
        found[key] = start if key in joining or (since < 0 and start >= LEFT_OUT - since) else since
    return found
