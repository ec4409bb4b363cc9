"""Seeding: the state of another store, such as backfill's, becomes the state that Redis holds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from slidr.clock import DAY
from slidr.errors import StoreError
from slidr.features.block import BlockState
from slidr.features.redis.agreement import Agreement, read_agreement
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
            written += _write_all(nodes, _entities(state, epoch, partitions, expiry, source.sequence - 1))
        _write_all(nodes, _claims(source, epoch, partitions))
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


def sequence_of(urls: Sequence[str], *, partitions: int = 1, timeout: float = 5.0) -> int | None:
    """Return the sequence that Redis gives the next click, or None where it holds no state that says so.

    Raises:
        StoreError: a server cannot be used.
    """
    nodes = Nodes(urls, partitions, timeout)
    nodes.connect()
    try:
        held = _one(nodes, ("GET", agreement_key(0)))
        try:
            epoch = read_agreement(held or b"").epoch
        except StoreError:
            # There is none, or of another version: that is what a seeding mends.
            return None
        taken = _one(nodes, ("GET", counter_key(0, epoch))) or b""
        return int(taken) if taken.isdigit() else None
    finally:
        nodes.close()


def _one(nodes: Nodes, command: Command) -> bytes | None:
    answer = nodes.run({0: [command]})[0]
    if isinstance(answer, StoreError):
        raise answer
    held: bytes | None = answer[0]
    return held


def _entities(
    state: BlockState, epoch: str, partitions: int, expiry: int, through: int
) -> Iterator[tuple[int, Command]]:
    """Yield the partition of each entity of a block, and the command that sets its value."""
    pairs = state.index.reshape(-1, 2)
    taken = pairs[pairs[:, 0] != 0]
    for key, record in zip(taken[:, 0].view(np.uint64).tolist(), taken[:, 1].tolist(), strict=True):
        home = key % partitions
        name = f"{entity_key(home, epoch, state.block.key)}{key:016x}"
        yield home, ("SET", name, pack_record(state, record, through), "PX", expiry)


def _claims(source: EmbeddedStore, epoch: str, partitions: int) -> Iterator[tuple[int, Command]]:
    """Claim the clicks that the source remembers, so that their repeats are known."""
    for key, time, sequence in source.recent.entries():
        home = key % partitions
        name = f"{click_key(home, epoch)}{key:016x}"
        yield home, ("SET", name, f"{sequence} {time} seed", "EX", CLAIM_SECONDS)


def _write_all(nodes: Nodes, commands: Iterator[tuple[int, Command]]) -> int:
    """Send commands to their partitions, some at once, and return how many there were."""
    sent = 0
    while piece := list(islice(commands, _PIECE)):
        by_partition: dict[int, list[Command]] = {}
        for partition, command in piece:
            by_partition.setdefault(partition, []).append(command)
        _write(nodes, by_partition)
        sent += len(piece)
    return sent


def _write(nodes: Nodes, commands: dict[int, list[Command]]) -> None:
    for answer in nodes.run(commands).values():
        if isinstance(answer, StoreError):
            raise answer
