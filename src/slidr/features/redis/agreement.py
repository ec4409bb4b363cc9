"""Agreement: what the processes that share a partition have agreed on, and whether its data can be trusted.

It is one key of the partition, and every call names the agreement that it expects: a server that lost its data has
none, one that was seeded again has another, and neither can give a row that looks right and is wrong.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from slidr.errors import StoreError

NEVER = 2**62
"""The time since which clicks were added to a block that some process leaves out."""


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for a partition.

    Attributes:
        epoch: names the data; every seeding makes a new one, and no key of another epoch is ever read.
        run: the id of the server's process that holds the data. One that started anew has another, and may have lost
            what it had not written to its disk.
        partitions: how many partitions the entities are spread over.
        secret: fingerprint of the secret key that hashed the entities; empty where nobody said.
        blocks: since when every click was added to a block, by its key: microseconds of the clicks' time, 0
            where it was so from the beginning, NEVER where some process does not add to it.
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
    to add to now, since nobody did or it did not so far, starts now.

    >>> agreed_blocks({"a": 0, "b": 5}, ["a"], [], 9) == {"a": 0, "b": NEVER}
    True
    >>> agreed_blocks({"a": 0, "b": NEVER}, ["a", "b"], ["b"], 9)
    {'a': 0, 'b': 9}

    Args:
        held: what is agreed on so far.
        own: keys of the blocks that this process adds to.
        joining: those of them that it did not add to until now.
        newest: the newest time of its clicks, microseconds.
    """
    start = max(newest, 1)
    mine = {key: start if key in joining else held.get(key, start) for key in own}
    return {key: NEVER for key in held if key not in mine} | mine
