"""Seeding: the state of another store, such as backfill's, becomes the state that Redis holds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

import numpy as np

from slidr.clock import DAY
from slidr.errors import StoreError
from slidr.features.block import BlockState
from slidr.features.distinct import LIVE
from slidr.features.redis.agreement import Agreement
from slidr.features.redis.call import CLAIM_SECONDS, agreement_key, click_key, counter_key, entity_key, newest_key
from slidr.features.redis.nodes import Command, Nodes
from slidr.features.redis.values import pack_record
from slidr.features.store import EmbeddedStore

_PIECE = 1000
"""Commands sent at once."""
_LIFE = 30 * DAY // 1000
"""Milliseconds without a click after which agreement and counter expire, as in the library."""


def seed(
    urls: Sequence[str], source: EmbeddedStore, *, partitions: int = 1, timeout: float = 5.0, secret: str = ""
) -> int:
    """Make the state of a store that of Redis, under a new epoch, and return how many entities were written.

    The agreement is written last: until then processes go on with what they had, and from then on they have the new
    state. What Redis held before is never read again and expires.

    Args:
        urls: addresses of the servers, see `Nodes`.
        source: where backfill and the tail of the journals ended; an empty one begins from nothing.
        partitions: parts to spread the entities over.
        timeout: seconds that a server may take to answer.
        secret: fingerprint of the secret key that hashed the entities.

    Raises:
        StoreError: a server cannot be used, or refused a part of the state.
    """
    nodes = Nodes(urls, partitions, timeout)
    nodes.connect()
    try:
        epoch, written = secrets.token_hex(4), 0
        expiry = 2 * source.layout.horizon // 1000
        for state in source.blocks:
            for commands, entities in _entities(state, epoch, partitions, expiry, source.sequence - 1):
                _write(nodes, commands)
                written += entities
        for commands, _ in _claims(source, epoch, partitions):
            _write(nodes, commands)
        for partition in range(partitions):
            blocks = {state.block.key: source.since[state.block.key] for state in source.blocks}
            agreed = Agreement(epoch, nodes.identity(partition).run, partitions, secret, blocks)
            counter: Command = ("SET", counter_key(partition, epoch), source.sequence, "PX", _LIFE)
            newest: Command = ("SET", newest_key(partition, epoch), source.newest, "PX", _LIFE)
            agreement: Command = ("SET", agreement_key(partition), agreed.encoded(), "PX", _LIFE)
            _write(nodes, {partition: [counter, newest, agreement]})
        return written
    finally:
        nodes.close()


Batch = tuple[dict[int, list[Command]], int]


def _entities(state: BlockState, epoch: str, partitions: int, expiry: int, through: int) -> Iterator[Batch]:
    pairs = state.index.reshape(-1, 2)
    taken = pairs[pairs[:, 0] != 0][: int(state.used[LIVE])]
    for start in range(0, len(taken), _PIECE):
        commands: dict[int, list[Command]] = {}
        piece = taken[start : start + _PIECE]
        for key, record in zip(piece[:, 0].view(np.uint64).tolist(), piece[:, 1].tolist(), strict=True):
            home = key % partitions
            value = pack_record(state, record, through)
            name = f"{entity_key(home, epoch, state.block.key)}{key:016x}"
            commands.setdefault(home, []).append(("SET", name, value, "PX", expiry))
        yield commands, len(piece)


def _claims(source: EmbeddedStore, epoch: str, partitions: int) -> Iterator[Batch]:
    """Claim the clicks that the source remembers, so that their repeats are known."""
    clicks = source.recent.entries()
    for start in range(0, len(clicks), _PIECE):
        commands: dict[int, list[Command]] = {}
        for key, time, sequence in clicks[start : start + _PIECE]:
            home = key % partitions
            claim = f"{sequence} {time} seed"
            commands.setdefault(home, []).append(
                ("SET", f"{click_key(home, epoch)}{key:016x}", claim, "EX", CLAIM_SECONDS)
            )
        yield commands, 0


def _write(nodes: Nodes, commands: dict[int, list[Command]]) -> None:
    for answer in nodes.run(commands).values():
        if isinstance(answer, StoreError):
            raise answer
