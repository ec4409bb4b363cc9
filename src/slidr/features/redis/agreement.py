"""Agreement: what the processes that share a partition have agreed on, and whether its data can be trusted.

It is one key of the partition, and every call names the agreement that it expects: a server that lost its data has
none, one that was seeded again has another, and neither can give a row that looks right and is wrong.
"""

from __future__ import annotations

import msgspec

from slidr.errors import StoreError


class Agreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for a partition.

    Attributes:
        epoch: names the data; every seeding makes a new one, and no key of another epoch is ever read.
        run: the id of the server's process that holds the data. One that started anew has another, and may have lost
            what it had not written to its disk.
        partitions: how many partitions the entities are spread over.
        secret: fingerprint of the secret key that hashed the entities; empty where nobody said.
        blocks: since when every click was added to a block, by its key: microseconds of the clicks' time, 0
            where it was so from the beginning.
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
