"""The Redis store: one state of the features for any number of processes.

A batch costs one call for each partition that it touches, pipelined by server. With one partition that call is all
there is: it numbers the clicks, adds them to their entities and returns what those hold, atomically, so the sequence is
the order of the fold. With several, sequences are taken first, then the clicks are claimed, then they are added: each
entity is atomic, and clicks that two processes add to one entity in the same moment may be folded in another order than
that of their sequences.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slidr.errors import StoreError
from slidr.features.clicks import ClickBatch
from slidr.features.fold import fold_click
from slidr.features.layout import Block, Layout
from slidr.features.redis.beginnings import MOST, Beginnings
from slidr.features.redis.call import Call, Terms, agreement_key, digest, function, without_twins
from slidr.features.redis.decided import Decided
from slidr.features.redis.membership import Membership
from slidr.features.redis.nodes import Command, Nodes
from slidr.features.redis.values import Reader
from slidr.features.slow import SlowTables, fill_slow
from slidr.features.store import Folded, Soundness

_ATTEMPTS = 3
_MADE_UP = 1024  # clicks of the warm-up
_MOST_REPLACED = 64
"""Records put back with one call."""
_MOST_UNFINISHED = 1000
"""Calls put off until all servers answer again; beyond them the oldest are given up, as their rows were."""


class RedisStore:
    """The store of any number of processes.

    Args:
        layout: the compiled catalogue, or the union of several.
        urls: addresses of the servers, see `Nodes`.
        partitions: parts that the entities are spread over: one for one server, for a cluster about four a server.
        timeout: seconds that an answer may take; the row of a click whose answer does not come is not sound.
        secret: fingerprint of the secret key that hashes the clicks; a state of another key is not used.
        slow: where the slow features are looked up; where None, they are not known.
        joining: keys of blocks that this process has not added to so far, while others may have: they start now.

    Attributes:
        decided: what was decided of each click_id, within an hour.
        fault: why the last clicks were not folded; empty once they are again.

    Raises:
        StoreError: a server cannot be used; the message says why.
    """

    def __init__(
        self,
        layout: Layout,
        urls: Sequence[str],
        *,
        partitions: int = 1,
        timeout: float = 0.05,
        secret: str = "",
        slow: SlowTables | None = None,
        joining: Collection[str] = (),
    ) -> None:
        self.layout = layout
        self.partitions = partitions
        self.slow = slow
        self.fault = ""
        self.nodes = Nodes(urls, partitions, timeout)
        self.nodes.connect()
        self.decided = Decided(self.nodes, partitions)
        self._membership = Membership(self.nodes, layout, partitions, secret=secret, joining=joining)
        self._reader = Reader(layout)
        # At least two horizons, as event time and the server's may differ; every touch begins it anew.
        self._expiry = 2 * layout.horizon // 1000
        self._newest = 0
        self._unfinished: deque[Call] = deque(maxlen=_MOST_UNFINISHED)
        self._heavy: list[dict[str, tuple[int, str, bytes]]] = [{} for _ in range(partitions)]
        self._beginnings = [Beginnings(b"", MOST // partitions) for _ in range(partitions)]

    def fold(self, clicks: ClickBatch) -> Folded:
        """Fold clicks in the order given; a row that cannot be trusted is marked, and nothing is raised."""
        folded = self.fold_by_block(clicks)
        return folded._replace(soundness=folded.soundness.max(axis=0, initial=0))

    def fold_by_block(self, clicks: ClickBatch) -> Folded:
        """Fold clicks, and tell the soundness of every block by itself: uint8[blocks, n]."""
        self.fault, count = "", len(clicks)
        folded = Folded(
            np.zeros((count, len(self.layout.names)), np.float32),
            np.full(count, -1, np.int64),
            np.zeros(count, np.bool_),
            np.zeros((len(self.layout.blocks), count), np.uint8),
        )
        for places in without_twins(clicks.ids):
            self._fold(clicks, places, folded)
        layout = self.layout
        fold_click(layout.clock, layout.missing, clicks.times, clicks.logged_in, clicks.keys, folded.rows)
        fill_slow(self.slow, layout, clicks, folded.rows)
        unread = folded.repeats & folded.soundness.any(axis=0)
        folded.rows[unread], folded.soundness[:, unread] = 0, Soundness.ORIGINAL_UNKNOWN
        return folded

    @property
    def failovers(self) -> int:
        """How often a replica took over while this process was at work."""
        return self._membership.failovers

    def settle(self, now: int) -> bool:
        """Agree with those who share the store; False where its state is lost or was never there.

        Raises:
            StoreError: a server cannot be used.
        """
        return self._membership.agree(now)

    def cold_blocks(self, layout: Layout, now: int) -> tuple[Block, ...]:
        """Return the blocks of a layout that are missing, or younger than their horizon at a time."""
        membership = self._membership
        warm = {block.key: since for block, since in zip(self.layout.blocks, membership.warm.tolist(), strict=True)}
        return tuple(block for block in layout.blocks if not membership.whole or now < warm.get(block.key, now + 1))

    def warm_up(self) -> None:
        """Compile what a call needs, over clicks that are made up and sent nowhere."""
        ids = np.arange(1, _MADE_UP + 1, dtype=np.uint64)
        keys = np.tile(np.where(ids % 2 == 0, ids, np.uint64(1)), (len(self.layout.keys), 1))
        times, logged_in = np.arange(_MADE_UP, dtype=np.int64) * 1_000_000 + 1, np.zeros(_MADE_UP, np.int8)
        for size in (1, _MADE_UP):
            batch = ClickBatch(ids[:size], times[:size], logged_in[:size], np.ascontiguousarray(keys[:, :size]))
            call = Call(batch, self.layout.blocks, self._reader.rows, 1, "")
            call.fold(Terms(0, "", b"", 0, Beginnings(b"", 0)))
            call.sequences = np.arange(size)
            call.entities.wanted(call.sequences)
            # As Redis answers a call whose entities are new: what was sent, behind the first sequence.
            values = [struct.pack("<q", 0) + chunk for chunk in call.entities.chunks()]
            self._reader.read(call.entities, values, call.sequences)

    def close(self) -> None:
        """Close the connections."""
        self.nodes.close()

    def _fold(self, clicks: ClickBatch, places: NDArray[np.int64], folded: Folded) -> None:
        """Fold clicks of which none has the click_id of another."""
        call = self._call(clicks if len(places) == len(clicks) else clicks.take(places))
        for _ in range(_ATTEMPTS):
            try:
                if not self._membership.agree(_newest(call)):
                    self.fault = self._membership.fault
                    folded.soundness[:, places] = Soundness.STATE_COLD
                    return
                if call.epoch != self._membership.epoch:
                    # Seeded anew meanwhile: what the call knows is of the state before.
                    call = self._call(call.batch)
                self._catch_up()
                others = self._number(call)
                if (others >= 0).any():
                    self._part(clicks, places, (call.sequences, others), folded)
                    return
                self._add(call)
                break
            except StoreError as fault:
                self.fault = str(fault)
        else:
            self._put_off(call)
        self._finish(call, places, folded)

    def _call(self, batch: ClickBatch) -> Call:
        return Call(batch, self.layout.blocks, self._reader.rows, self.partitions, self._membership.epoch)

    def _put_off(self, call: Call) -> None:
        """Keep a call that claimed its clicks and could not add them: sent again, they are repeats to all others."""
        if call.claimed:
            self._unfinished.append(call)

    def _catch_up(self) -> None:
        """Add the clicks of the calls that were put off.

        Raises:
            StoreError: a partition did not answer; the calls stay.
        """
        while self._unfinished:
            call = self._unfinished[0]
            if call.epoch == self._membership.epoch:
                others = self._number(call)
                if (others >= 0).any():
                    own = others < 0
                    call = self._call(call.batch.take(own)).resumed(call.sequences[own])
                self._add(call)
            self._unfinished.popleft()

    def _part(
        self,
        clicks: ClickBatch,
        places: NDArray[np.int64],
        sequences: tuple[NDArray[np.int64], NDArray[np.int64]],
        folded: Folded,
    ) -> None:
        """Fold clicks of which others have claimed some: those are repeats, and are read again."""
        own, others = sequences
        repeats, rest = others >= 0, others < 0
        folded.repeats[places[repeats]] = True
        self._repair(clicks, places[repeats], others[repeats], folded, repeats=True)
        if rest.any() and (own[rest] >= 0).all():
            self._repair(clicks, places[rest], own[rest], folded)
        elif rest.any():
            self._fold(clicks, places[rest], folded)

    def _repair(
        self,
        clicks: ClickBatch,
        places: NDArray[np.int64],
        sequences: NDArray[np.int64],
        folded: Folded,
        *,
        repeats: bool = False,
    ) -> None:
        """Read what clicks with these sequences read when they were folded, and add them where they are missing.

        A repeat is never added: who repeats a click_id may give it other entities.
        """
        call = self._call(clicks.take(places)).resumed(sequences, repeats=repeats)
        for _ in range(_ATTEMPTS):
            try:
                if not self._membership.agree(_newest(call)) or call.epoch != self._membership.epoch:
                    break
                self._add(call)
                break
            except StoreError as fault:
                self.fault = str(fault)
        else:
            self._put_off(call)
        self._finish(call, places, folded)

    def _number(self, call: Call) -> NDArray[np.int64]:
        """Give the clicks their sequences; returns those that other calls had claimed before, -1 for the others.

        Where there is one partition, this adds the clicks too.

        Raises:
            StoreError: a partition did not answer, or there is another agreement.
        """
        others = np.full(len(call.batch), -1, np.int64)
        if (call.sequences >= 0).all():
            return others
        if self.partitions == 1:
            answer = self._whole(self._run({0: call.fold(self._terms(0))}))[0]
            if answer[0] == b"known":
                self._take_claims(call, answer[1], np.arange(len(others)), others)
            else:
                call.sequences = int(answer[1]) + np.arange(len(others))
                call.hear(self._terms(0), answer[2])
            return others
        if call.base < 0:
            call.base = int(self._whole(self._run({0: call.number(self._terms(0))}))[0][1])
        homes = (call.batch.ids % np.uint64(self.partitions)).astype(np.int64)
        mine = {home: np.flatnonzero(homes == home) for home in np.unique(homes).tolist()}
        commands = {home: call.claim(self._terms(home), places, self._newest) for home, places in mine.items()}
        call.sequences = call.base + np.arange(len(others))
        call.claimed = True
        try:
            for home, answer in self._whole(self._run(commands)).items():
                self._take_claims(call, answer[1], mine[home], others)
        except StoreError:
            call.sequences[:] = -1
            raise
        call.sequences[others >= 0] = -1
        self._newest = max(self._newest, int(call.batch.times[others < 0].max(initial=0)))
        return others

    @staticmethod
    def _take_claims(call: Call, claims: Sequence[bytes], places: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        """Write the sequences that others claimed, and take over what this call had claimed before."""
        for place, claim in zip(places.tolist(), claims, strict=True):
            if claim:
                sequence, _, token = claim.decode().split()
                (call.sequences if token == call.token else others)[place] = int(sequence)
                call.tried |= token == call.token

    def _add(self, call: Call) -> None:
        """Add the clicks to the entities of those partitions that have not answered, and never twice.

        Raises:
            StoreError: a partition did not answer, or there is another agreement.
        """
        commands = {
            partition: (call.repair if call.tried else call.add)(self._terms(partition))
            for partition in sorted(call.unheard)
        }
        call.tried = True
        answers = self._run(commands)
        for partition, answer in answers.items():
            if not isinstance(answer, StoreError):
                call.hear(self._terms(partition), answer[-1])
        self._whole(answers)

    def _run(self, commands: dict[int, Command]) -> dict[int, list[Any] | StoreError]:
        """Send one command to each partition, behind the records that it should put back."""
        sent = {}
        remembered = self.decided.commands()
        for partition, command in commands.items():
            heavy = self._heavy[partition]
            names = list(heavy)[:_MOST_REPLACED]
            parts = [part for name in names for part in heavy.pop(name)]
            about = [self._membership.expected[partition], self._expiry, *parts]
            replace = [function("replace", [agreement_key(partition), *names], about)] if names else []
            sent[partition] = [*remembered.get(partition, ()), *replace, command]
        answers: dict[int, list[Any] | StoreError] = {}
        ran = self.nodes.run(remembered | sent)
        self.decided.wait({home: held for home, held in remembered.items() if isinstance(ran[home], StoreError)})
        for partition in commands:
            answer = ran[partition]
            if not isinstance(answer, StoreError) and answer[-1][0] == b"agreement":
                self._membership.doubt(partition)
                answers[partition] = StoreError(f"partition {partition} of redis holds another state than before")
            else:
                answers[partition] = answer if isinstance(answer, StoreError) else answer[-1]
        return answers

    @staticmethod
    def _whole(answers: dict[int, list[Any] | StoreError]) -> dict[int, list[Any]]:
        """Return the answers if every partition gave one.

        Raises:
            StoreError: the first fault.
        """
        good: dict[int, list[Any]] = {}
        for partition, answer in answers.items():
            if isinstance(answer, StoreError):
                raise answer
            good[partition] = answer
        return good

    def _terms(self, partition: int) -> Terms:
        expected = self._membership.expected[partition]
        if self._beginnings[partition].agreement != expected:
            self._beginnings[partition] = Beginnings(expected, MOST // self.partitions)
        return Terms(partition, self._membership.epoch, expected, self._expiry, self._beginnings[partition])

    def _finish(self, call: Call, places: NDArray[np.int64], folded: Folded) -> None:
        """Fold what the entities hold, write the rows, and note whose record should be packed again."""
        read = self._reader.read(call.entities, call.values, call.sequences)
        folded.sequences[places] = call.sequences
        folded.rows[places] = read.rows
        soundness, times = read.soundness, call.batch.times
        soundness[~read.found | (call.sequences < 0)] = Soundness.STORE_UNAVAILABLE
        if len(read.damaged):
            self.fault = f"redis holds a damaged value of entity {call.names[read.damaged[0]]}"
            soundness[np.isin(call.entities.of, read.damaged)] = Soundness.STATE_COLD
        warm = self._membership.warm
        if warm.any():
            soundness[(times < warm[:, None]) & (soundness == Soundness.SOUND)] = Soundness.STATE_COLD
        folded.soundness[:, places] = soundness
        for entity, packed in read.packed.items():
            value = call.values[entity]
            home = int(call.entities.homes[entity])
            self._heavy[home][call.names[entity]] = (len(value), digest(value), packed)


def _newest(call: Call) -> int:
    return int(call.batch.times.max(initial=0))
