"""Membership: a process's part in the agreement of those who share a store, partition by partition."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from slidr.errors import StoreError
from slidr.features.layout import HORIZON, Layout
from slidr.features.redis.agreement import LEFT_OUT, Agreement, agreed_blocks, read_agreement
from slidr.features.redis.call import agree, agreement_key
from slidr.features.redis.nodes import Command, Identity, Nodes

_ATTEMPTS = 3
NEVER = 2**62
"""A time that does not come."""


class Membership:
    """What a process has agreed on with those who share its store.

    Args:
        nodes: connections to the servers.
        layout: the blocks that this process adds to.
        partitions: parts that the entities are spread over.
        secret: fingerprint of the secret key that hashes the clicks; a state of another key is not used.
        joining: keys of blocks that this process has not added to so far, while others may have: they start now.

    Attributes:
        epoch: names the data that is agreed on; empty before the first agreement.
        expected: the agreement of each partition, as every call to it names it.
        warm: the time of the clicks from which each block of the layout is as old as its horizon; 0 where it always
            was, int64[blocks].
        failovers: how often a replica took over.
        fault: why there is no agreement; empty where there is one.
    """

    def __init__(
        self, nodes: Nodes, layout: Layout, partitions: int, *, secret: str, joining: Collection[str] = ()
    ) -> None:
        self.epoch = ""
        self.expected = [b""] * partitions
        self.warm = np.zeros(len(layout.blocks), np.int64)
        self.failovers = 0
        self.fault = ""
        self._nodes = nodes
        self._layout = layout
        self._partitions = partitions
        self._secret = secret
        self._joining = frozenset(joining)
        self._generation = -1
        self._revives = NEVER
        self._settled = [False] * partitions
        self._agreed: list[Agreement | None] = [None] * partitions
        self._served: list[Identity | None] = [None] * partitions

    @property
    def whole(self) -> bool:
        """Whether every partition was agreed on."""
        return all(agreement is not None for agreement in self._agreed)

    def doubt(self, partition: int) -> None:
        """Ask again what a partition's agreement is, before the next call."""
        self._settled[partition] = False

    def agree(self, newest: int) -> bool:
        """Make sure of the agreement on every partition; False where the state of any is lost or was never there.

        Args:
            newest: the newest time of the clicks, microseconds.

        Raises:
            StoreError: a server cannot be used, or the state is of other partitions or of another secret key.
        """
        self._nodes.connect()
        if newest >= self._revives:
            self._settled = [False] * self._partitions
        if all(self._settled) and self._generation == self._nodes.generation:
            return True
        self.fault = ""
        for partition in range(self._partitions):
            identity = self._nodes.identity(partition)
            if not self._settled[partition] or self._served[partition] != identity:
                self._settled[partition] = self._settle(partition, identity, newest)
        epochs = {agreed.epoch for agreed in self._agreed if agreed is not None}
        if not all(self._settled) or len(epochs) != 1:
            self._settled = [False] * self._partitions
            self.fault = self.fault or "redis holds no whole state; run `slidr seed`"
            return False
        (self.epoch,) = epochs
        self._generation = self._nodes.generation
        return True

    def _settle(self, partition: int, identity: Identity, newest: int) -> bool:
        """Agree on a partition with those who share it; False where its state is lost or was never there."""
        key = agreement_key(partition)
        for _ in range(_ATTEMPTS):
            held = self._answer(partition, ("GET", key))
            if not held:
                return False
            agreed = read_agreement(held)
            self._check(agreed)
            wanted = self._wanted(partition, agreed, identity, newest)
            if wanted is None:
                return False
            text = wanted.encoded()
            if text == held or self._answer(partition, agree(partition, agreed, wanted)) == text:
                self._agreed[partition], self.expected[partition] = wanted, text
                self._served[partition] = identity
                self._take_times()
                return True
        raise StoreError(f"the processes that share partition {partition} of redis do not agree on its blocks")

    def _check(self, agreed: Agreement) -> None:
        """Refuse a state that is not this process's.

        Raises:
            StoreError: it is of other partitions, or of another secret key.
        """
        if agreed.partitions != self._partitions:
            raise StoreError(
                f"redis holds the state in {agreed.partitions} partitions, and this process was set to"
                f" {self._partitions}; set the same number, or run `slidr seed` again"
            )
        if self._secret and agreed.secret and agreed.secret != self._secret:
            raise StoreError(
                f"redis holds the state of secret key {agreed.secret}, and this process hashes with {self._secret}:"
                " use the key file of the seed, or run `slidr seed` again"
            )

    def _wanted(self, partition: int, held: Agreement, identity: Identity, newest: int) -> Agreement | None:
        """Return what this process needs to be agreed on, or None where the server may have lost data."""
        run, before, served = held.run, self._agreed[partition], self._served[partition]
        if held.run != identity.run:
            took_over = served is not None and served.address != identity.address
            if not took_over or before is None or before.epoch != held.epoch:
                self.fault = f"redis at {identity.address[0]}:{identity.address[1]} started anew; run `slidr seed`"
                return None
            # A replica: it has all that its master sent, which is all but the last moments.
            run = identity.run
            self.failovers += 1
        joining = () if before is not None else self._joining
        blocks = agreed_blocks(held.blocks, [block.key for block in self._layout.blocks], joining, newest)
        return Agreement(held.epoch, run, held.partitions, held.secret, blocks)

    def _take_times(self) -> None:
        """Note from when each block is warm, and when one that was left out is begun anew."""
        agreed = [one.blocks for one in self._agreed if one is not None]
        warm, left = [], []
        for block in self._layout.blocks:
            since = [blocks[block.key] for blocks in agreed]
            left += [-one for one in since if one < 0]
            latest = NEVER if min(since, default=0) < 0 else max(since, default=0)
            warm.append(latest and latest + int(block.layout[HORIZON]))
        self._revives = min(left) + LEFT_OUT if left else NEVER
        self.warm = np.array(warm, np.int64)

    def _answer(self, partition: int, command: Command) -> Any:
        answer = self._nodes.run({partition: [command]})[partition]
        if isinstance(answer, StoreError):
            raise answer
        return answer[0]
